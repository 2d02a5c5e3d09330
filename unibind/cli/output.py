"""What a command prints: results on stdout, progress and errors on stderr."""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from unibind.errors import UnibindError
from unibind.types import Json, ProgressCallback

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["AsJson", "emit", "printable", "progress", "report_errors", "stop", "warn"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells say it
_INTERRUPTION = "interrupted; what was finished is kept, nothing is half written"

_SECONDS_BETWEEN_LINES = float(os.environ.get("UNIBIND_PROGRESS_S") or 15)
_SECONDS_BEFORE_A_BAR = 0.5

AsJson = Annotated[
    bool, typer.Option("--json", help="Print machine-readable JSON on stdout.", show_default=False)
]


def emit(value: Json, *, as_json: bool, people: Callable[[], None]) -> None:
    """Print a result: as one JSON document, or as `people` prints it."""
    if as_json:
        is_utf8 = (sys.stdout.encoding or "").lower() in ("utf-8", "utf8")
        print(json.dumps(value, ensure_ascii=not is_utf8, indent=2))
    else:
        people()


def warn(message: str) -> None:
    """Print one line on stderr."""
    print(message, file=sys.stderr)


def printable(text: str) -> str:
    """Return text that a terminal shows as it is: what is invisible becomes its escape."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def stop(message: str) -> NoReturn:
    """Leave with exit code 1 and one clear line."""
    warn(printable(f"error: {message}"))
    raise SystemExit(1)


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """Turn what unibind raises on purpose into one line and exit code 1.

    A bug is not caught: its traceback is what its report needs. UNIBIND_TRACEBACK=1 shows the
    traceback of the others too.
    """
    try:
        yield
    except (UnibindError, ImportError) as error:
        if _is_of_interrupt(error):
            warn(_INTERRUPTION)
            raise SystemExit(_INTERRUPTED) from None
        if not isinstance(error, UnibindError) or os.environ.get("UNIBIND_TRACEBACK"):
            raise
        stop(str(error))
    except SystemExit as stopped:
        if stopped.code == _INTERRUPTED:  # typer made it of Ctrl-C, without a word
            warn(_INTERRUPTION)
        raise
    except BrokenPipeError:
        # The reader (head, say) has seen enough; keep Python from failing again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _is_of_interrupt(error: BaseException | None) -> bool:
    """Return whether Ctrl-C is behind an error: compiled modules make an ImportError of it."""
    met: list[BaseException] = []
    while error is not None and error not in met:  # a chain may lead back into itself
        if isinstance(error, KeyboardInterrupt):
            return True
        met.append(error)
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def progress(
    label: str | Callable[[], str], *, in_bytes: bool = False
) -> Iterator[ProgressCallback]:
    """Yield a progress callback that draws a bar with the time left on stderr.

    Where stderr is no terminal, a line now and then says how far it is.

    Args:
        label: What is being done, or a function that says it anew each time.
        in_bytes: Whether the counts are bytes, to be shown as such.
    """
    say = label if callable(label) else partial(str, label)
    if not sys.stderr.isatty():
        yield _now_and_then(say)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task = bar.add_task(say(), total=None)

    def update(n_done: int, n_total: int) -> None:
        bar.update(task, description=say(), completed=n_done, total=n_total)

    with _after_a_moment(bar):
        yield update
        if bar.tasks[task].total is None:  # nothing was counted, so there is nothing to leave
            bar.update(task, visible=False)


@contextlib.contextmanager
def _after_a_moment(bar: "Progress") -> Iterator[None]:
    """Show a bar once the work has lasted a moment: one that comes and goes at once flashes."""
    start = threading.Timer(_SECONDS_BEFORE_A_BAR, bar.start)
    start.daemon = True
    start.start()
    try:
        yield
    finally:
        start.cancel()
        start.join()  # it may be starting the bar right now
        bar.stop()


def _now_and_then(say: Callable[[], str]) -> ProgressCallback:
    last = time.monotonic()

    def update(n_done: int, n_total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES and n_total:
            last = time.monotonic()
            warn(f"{say()}: {n_done / n_total:.0%}")

    return update
