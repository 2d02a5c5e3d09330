"""Builds a knowledge base: many calls at a time, each made once ever, the table written at the end.

A build never keeps more than a few classes in memory. Every answer goes into the journal before
anything else happens; the table is written from there, whole or not at all.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from unibind.errors import InvalidInputError, WriterUnavailableError
from unibind.knowledge.base import is_signed_off
from unibind.knowledge.calls import Calls, Estimate, Prices, Status, estimate_of, replay
from unibind.knowledge.class_program import ClassProgram, ClassResult, Missing, class_program
from unibind.knowledge.journal import Journal, journal_path
from unibind.knowledge.plan import Plan, source_id, source_of
from unibind.knowledge.table import StoredTable, write_table
from unibind.knowledge.values import Line, Source
from unibind.protocols import DescriptionWriter
from unibind.types import Json, WrittenAnswer

__all__ = ["BuildReport", "build", "estimate"]

_N_LISTED: Final = 1000  # missing places that a report names one by one


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        n_lines: Lines of the whole base.
        n_new: Lines written by this build.
        n_calls: Answers that came.
        n_failed: Calls that got none.
        n_waiting: Calls whose answers will be read back later.
        n_prompt_tokens: As counted by the server.
        n_answer_tokens: As counted by the server.
        cost: By the prices.
        refused: Kind of fault to number of answers that had it.
        n_missing: Places that nothing was found for.
        missing: The first of them.
        failures: Message to number of calls that failed with it.
    """

    n_lines: int
    n_new: int
    n_calls: int
    n_failed: int
    n_waiting: int
    n_prompt_tokens: int
    n_answer_tokens: int
    cost: float
    refused: Mapping[str, int]
    n_missing: int
    missing: tuple[Missing, ...]
    failures: Mapping[str, int]


def estimate(
    folder: Path, plan: Plan, writer: DescriptionWriter, *, prices: Prices | None = None
) -> Estimate:
    """Return what a build would take from here; nothing is asked and nothing written.

    Raises:
        ArtifactError: The base that is there is damaged.
        WriterError: Another build is running.
    """
    table = StoredTable(folder)
    path = journal_path(folder)
    if not path.exists():
        return _estimate(table, plan, writer, lambda key: None, prices or Prices())
    with Journal(path) as journal:
        return _estimate(table, plan, writer, journal.get, prices or Prices())


def build(
    folder: Path,
    plan: Plan,
    writer: DescriptionWriter,
    *,
    writer_name: str,
    prices: Prices | None = None,
    on_status: Callable[[Status], None] = lambda status: None,
) -> BuildReport:
    """Ask for every line that the plan wants and the base lacks, then write the base.

    Args:
        folder: The base; it is made, or grows.
        plan: What is wanted.
        writer: Who writes.
        writer_name: Name of the writer, for the provenance.
        prices: For the costs in report and status.
        on_status: Called after each answer.

    Raises:
        InvalidInputError: The base is signed off.
        WriterUnavailableError: No call can work; what came before is kept in the journal.
        WriterError: Another build is running, or the journal cannot be written.
        ArtifactError: The base that is there is damaged, or the place cannot be written.
    """
    prices = prices or Prices()
    if is_signed_off(folder):
        raise InvalidInputError(
            f"{folder} is signed off and takes no unreviewed line; withdraw the signature first: "
            f"`unibind knowledge sign-off {folder} --withdraw`"
        )
    table = StoredTable(folder)
    with Journal(journal_path(folder)) as journal:
        expected = _estimate(table, plan, writer, journal.get, prices)
        run = Calls(
            writer,
            journal,
            prices,
            n_tries=plan.n_attempts,
            n_calls_expected=expected.n_calls,
            on_status=on_status,
        )
        run.all(_program(table, plan, writer, name) for name in plan.classes)
        if not journal.count():
            if run.failures:
                raise WriterUnavailableError(
                    f"no call got an answer; the first failed with: {next(iter(run.failures))}"
                )
            if run.n_waiting:  # a batch was written and nothing has come back yet
                journal.delete()
                return _report(run, _Totals())
        totals = _fold(folder, table, plan, writer, journal, writer_name)
        journal.delete()
    return _report(run, totals)


@dataclass
class _Totals:
    n_lines: int = 0
    n_new: int = 0
    n_missing: int = 0
    missing: list[Missing] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, result: ClassResult) -> None:
        self.n_lines += len(result.lines)
        self.n_new += result.n_new
        self.n_missing += len(result.missing)
        self.missing += result.missing[: max(0, _N_LISTED - len(self.missing))]
        self.refused.update(result.refused)


def _program(
    table: StoredTable, plan: Plan, writer: DescriptionWriter, class_name: str
) -> ClassProgram:
    return class_program(
        class_name,
        plan.wishes(class_name, writer),
        stored=table.lines(class_name),
        aside=table.aside(class_name),
        sources=table.sources,
        group=plan.groups.get(class_name, table.groups.get(class_name, "")),
        lines_per_call=writer.lines_per_call,
        n_attempts=plan.n_attempts,
        base_seed=int(writer.sampling.get("seed", 0)),
        language=plan.language,
        media=plan.media_of(class_name),
    )


def _estimate(
    table: StoredTable,
    plan: Plan,
    writer: DescriptionWriter,
    answer_of: Callable[[str], WrittenAnswer | None],
    prices: Prices,
) -> Estimate:
    programs = (_program(table, plan, writer, name) for name in plan.classes)
    return estimate_of(programs, answer_of, prices)


def _fold(
    folder: Path,
    table: StoredTable,
    plan: Plan,
    writer: DescriptionWriter,
    journal: Journal,
    writer_name: str,
) -> _Totals:
    """Write the base from what was stored and what the journal holds, one class at a time."""
    classes = tuple(dict.fromkeys([*table.classes, *plan.classes]))
    planned = set(plan.classes)
    totals = _Totals()

    def rows() -> Iterator[tuple[Sequence[Line], Sequence[Line]]]:
        for name in classes:
            if name not in planned:
                lines = table.lines(name)
                totals.n_lines += len(lines)
                yield lines, table.aside(name)
                continue
            result = replay(_program(table, plan, writer, name), journal.get)
            totals.add(result)
            yield result.lines, result.aside

    prompts = [prompt for prompt, _ in plan.prompts]
    prompts += [plan.contrast] if plan.contrast is not None else []
    sources: dict[str, Source] = dict(table.sources)
    for prompt in prompts:
        sources.setdefault(
            source_id(prompt, writer), source_of(prompt, writer, writer_name=writer_name)
        )
    told: dict[str, Json] = {"writer": writer_name, "generator": writer.model, **plan.as_json()}
    write_table(
        folder,
        classes=classes,
        groups={**table.groups, **plan.groups},
        sources=sources,
        rows=rows(),
        plan=told,
    )
    return totals


def _report(run: Calls, totals: _Totals) -> BuildReport:
    return BuildReport(
        n_lines=totals.n_lines,
        n_new=totals.n_new,
        n_calls=run.n_calls,
        n_failed=run.n_failed,
        n_waiting=run.n_waiting,
        n_prompt_tokens=run.n_prompt_tokens,
        n_answer_tokens=run.n_answer_tokens,
        cost=run.cost,
        refused=dict(totals.refused),
        n_missing=totals.n_missing,
        missing=tuple(totals.missing),
        failures=dict(run.failures),
    )
