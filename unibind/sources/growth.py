"""Progress of a download that another program makes: the bytes of a growing folder."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from unibind.types import ProgressCallback

__all__ = ["reporting_growth"]

_PERIOD_S = 0.1


@contextlib.contextmanager
def reporting_growth(
    folder: Path, n_bytes: int | None, progress: ProgressCallback | None
) -> Iterator[None]:
    """Call progress with the bytes in folder while the body runs, from a thread of its own.

    Args:
        folder: Where the files grow.
        n_bytes: What they will come to; None if nobody knows, and then nothing is reported.
        progress: Called as ``progress(n_done, n_bytes)``; never with more than n_bytes.
    """
    if progress is None or not n_bytes:
        yield
        return
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_PERIOD_S):
            progress(min(_size_of(folder), n_bytes), n_bytes)

    thread = threading.Thread(target=watch, name="unibind-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
    progress(n_bytes, n_bytes)


def _size_of(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # files come and go while we look
        for file in folder.rglob("*"):
            with contextlib.suppress(OSError):
                total += file.stat().st_size if file.is_file() else 0
    return total
