"""What the commands that have a model write share: its options, the bar, the report."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unibind.cli.option_groups import OptionGroup
from unibind.cli.output import emit, warn

if TYPE_CHECKING:
    from unibind.knowledge.build import BuildReport
    from unibind.knowledge.calls import Estimate, Prices, Status
    from unibind.knowledge.plan import Plan
    from unibind.protocols import DescriptionWriter

__all__ = ["Author", "Spending", "run", "showing_calls", "told", "told_cost"]

_SECONDS_BETWEEN_LINES = 15.0
_N_SHOWN = 20
_N_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Author(OptionGroup):
    """Who writes, and how it is asked."""

    writer: Annotated[str, typer.Option(help="openai, local, file, batch, or a plug-in's.")] = (
        "local"
    )
    model: Annotated[str | None, typer.Option(help="Model of the writer.")] = None
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server, up to /v1.")] = (
        None
    )
    temperature: Annotated[float | None, typer.Option(min=0.0, max=2.0, help="Of the sampler.")] = (
        None
    )
    top_p: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Of the sampler.")] = None
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")] = None
    seed: Annotated[int, typer.Option(help="Each call's own seed is derived from it.")] = 0
    in_flight: Annotated[int | None, typer.Option(min=1, help="Calls at a time.")] = None
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Longest wait for an answer, s.")
    ] = None
    retries: Annotated[int | None, typer.Option(min=0, help="Tries after a failed one.")] = None
    batch: Annotated[Path | None, typer.Option(help="Folder of the writer 'batch'.")] = None

    def open(
        self,
        *,
        from_file: Path | None = None,
        lines_per_call: int | None = None,
        max_tokens: int | None = None,
    ) -> "DescriptionWriter":
        """Return the writer.

        Args:
            from_file: Lines for the writer ``file``.
            lines_per_call: Sentences in one call.
            max_tokens: Longest answer, if the user did not say.
        """
        from unibind import plugins
        from unibind.types import WriterSettings

        files = {"from": from_file, "batch": self.batch}
        settings = WriterSettings(
            model=self.model,
            base_url=self.base_url,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens or max_tokens,
            seed=self.seed,
            n_in_flight=self.in_flight,
            lines_per_call=lines_per_call,
            timeout_s=self.timeout,
            n_retries=self.retries,
            files={role: file for role, file in files.items() if file is not None},
        )
        writer: DescriptionWriter = plugins.load("unibind.writers", self.writer)(settings)
        return writer


@dataclass(frozen=True, slots=True)
class Spending(OptionGroup):
    """What may be spent."""

    attempts: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Rounds before a line is given up: {_N_ATTEMPTS}, more for the writer local.",
        ),
    ] = None
    price_in: Annotated[float, typer.Option(min=0.0, help="Of a million prompt tokens.")] = 0.0
    price_out: Annotated[float, typer.Option(min=0.0, help="Of a million answer tokens.")] = 0.0
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell calls, tokens, cost; ask nothing.")
    ] = False

    @property
    def prices(self) -> "Prices":
        """What a million tokens cost."""
        from unibind.knowledge.calls import Prices

        return Prices(self.price_in, self.price_out)

    def n_attempts(self, writer: "DescriptionWriter") -> int:
        """Return the rounds: as asked for, as the writer finds right, or the usual ones."""
        return self.attempts or int(getattr(writer, "n_attempts", _N_ATTEMPTS))


def run(
    name: str,
    plan: "Plan",
    writer: "DescriptionWriter",
    author: Author,
    spending: Spending,
    *,
    again: str,
    as_json: bool,
) -> None:
    """Tell what a build takes, build, and tell what came of it; exit with 1 if lines lack.

    Args:
        name: Of the base, as the user gave it.
        plan: What is wanted.
        writer: Who writes.
        author: How the writer was asked for.
        spending: Prices, and whether anything is asked.
        again: The command that goes on where this one ends, without the author's options.
        as_json: Whether to print JSON.
    """
    from unibind.knowledge.base import target_folder
    from unibind.knowledge.build import build, estimate

    folder = target_folder(name)
    plan = replace(plan, n_attempts=spending.n_attempts(writer))
    expected = told(estimate(folder, plan, writer, prices=spending.prices), spending.prices)
    if spending.dry_run:
        dry = asdict(estimate(folder, plan, writer, prices=spending.prices))
        emit({"dry_run": dry}, as_json=as_json, people=lambda: print(expected))
        return
    warn(expected)
    with showing_calls(name, spending.prices) as on_status:
        report = build(
            folder,
            plan,
            writer,
            writer_name=author.writer,
            prices=spending.prices,
            on_status=on_status,
        )
    again = f"{again} {author.as_arguments()}".strip()
    result: dict[str, Any] = {"name": folder.name, "path": str(folder), **asdict(report)}

    def people() -> None:
        _print_report(folder, name, report, spending.prices, again)

    emit(result, as_json=as_json, people=people)
    if report.n_missing and not report.n_waiting:
        raise SystemExit(1)


def told(expected: "Estimate", prices: "Prices") -> str:
    """Return an estimate as a line."""
    return (
        f"{expected.n_calls} calls for {expected.n_lines} lines, about {expected.n_prompt_tokens} "
        f"prompt and {expected.n_answer_tokens} answer tokens{told_cost(expected.cost, prices)}"
    )


def told_cost(cost: float, prices: "Prices") -> str:
    """Return the end of a line that tells a cost; nothing where nothing has a price."""
    return f", cost {cost:.4f}" if prices.prompt or prices.answer else ""


@contextlib.contextmanager
def showing_calls(name: str, prices: "Prices") -> "Iterator[Callable[[Status], None]]":
    """Yield what shows calls, tokens, cost and the time left on stderr.

    A bar on a terminal; elsewhere a line now and then.
    """
    if not sys.stderr.isatty():
        yield _lines(name, prices)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("calls, {task.fields[spent]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=None, spent="0 tokens")

        def update(status: "Status") -> None:
            progress.update(
                task,
                completed=status.n_calls,
                total=status.n_calls_expected,
                spent=_spent(status, prices),
            )

        yield update


def _lines(name: str, prices: "Prices") -> "Callable[[Status], None]":
    start = last = time.monotonic()

    def update(status: "Status") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        n_left = status.n_calls_expected - status.n_calls
        left_s = (now - start) / status.n_calls * n_left
        warn(
            f"{name}: {status.n_calls} of {status.n_calls_expected} calls, "
            f"{_spent(status, prices)}, about {left_s:.0f} s left"
        )

    return update


def _spent(status: "Status", prices: "Prices") -> str:
    n_tokens = status.n_prompt_tokens + status.n_answer_tokens
    return f"{n_tokens} tokens{told_cost(status.cost, prices)}"


def _print_report(
    folder: Path, name: str, report: "BuildReport", prices: "Prices", again: str
) -> None:
    n_tokens = report.n_prompt_tokens + report.n_answer_tokens
    print(
        f"{folder}: {report.n_lines} lines, {report.n_new} new; {report.n_calls} calls, "
        f"{n_tokens} tokens{told_cost(report.cost, prices)}"
    )
    for kind, count in sorted(report.refused.items()):
        print(f"refused {count} x {kind}")
    for message, count in report.failures.items():
        print(f"failed {count} x {message}")
    if report.n_waiting:
        print(f"waiting for {report.n_waiting} answers: put the batch's results into its folder")
    for place in report.missing[:_N_SHOWN]:
        pair = f" against {place.against!r}" if place.against else ""
        print(f"missing {place.class_name!r}{pair} {place.prompt} {place.index}: {place.reason}")
    if report.n_missing > _N_SHOWN:
        print(f"... and {report.n_missing - _N_SHOWN} more missing; --json lists them")
    if report.n_missing:
        print(f"unfinished, {report.n_missing} lines missing; to ask for them again: {again}")
    elif not report.n_waiting:
        print(f"next: unibind knowledge lint {name}")
