"""Builds a knowledge base: many calls at a time, each made once ever, the table written at the end.

A build never keeps more than a few classes in memory. Every answer goes into the journal before
anything else happens; the table is written from there, whole or not at all.
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from unibind.errors import WriterError, WriterUnavailableError
from unibind.knowledge.base import Line, Source
from unibind.knowledge.class_program import ClassProgram, ClassResult, Missing, class_program
from unibind.knowledge.journal import Journal, journal_path
from unibind.knowledge.plan import Plan, source_id, source_of
from unibind.knowledge.table import StoredTable, write_table
from unibind.protocols import DescriptionWriter
from unibind.types import Json, WritingRequest, WrittenAnswer

__all__ = ["BuildReport", "Estimate", "Prices", "Status", "build", "estimate"]

_TOKENS_PER_LINE: Final = 30
_CHARACTERS_PER_TOKEN: Final = 4.0
_N_LISTED: Final = 1000  # missing places that a report names one by one


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in any currency."""

    prompt: float = 0.0
    answer: float = 0.0

    def of(self, n_prompt_tokens: int, n_answer_tokens: int) -> float:
        """Return what so many tokens cost."""
        return (n_prompt_tokens * self.prompt + n_answer_tokens * self.answer) / 1e6


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a build would take if every answer were good.

    Attributes:
        n_calls: Calls.
        n_lines: Lines that are missing.
        n_prompt_tokens: By length, about four characters a token.
        n_answer_tokens: By the number of lines.
        cost: By the prices.
    """

    n_calls: int
    n_lines: int
    n_prompt_tokens: int
    n_answer_tokens: int
    cost: float


@dataclass(frozen=True, slots=True)
class Status:
    """Where a running build is."""

    n_calls: int
    n_calls_expected: int
    n_prompt_tokens: int
    n_answer_tokens: int
    cost: float


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
        WriterUnavailableError: No call can work; what came before is kept in the journal.
        WriterError: Another build is running, or the journal cannot be written.
        ArtifactError: The base that is there is damaged, or the place cannot be written.
    """
    prices = prices or Prices()
    table = StoredTable(folder)
    with Journal(journal_path(folder)) as journal:
        expected = _estimate(table, plan, writer, journal.get, prices)
        run = _Run(writer, journal, prices, expected.n_calls, on_status)
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


class _Run:
    """Drives class programs: requests to threads, answers to the journal and back."""

    def __init__(
        self,
        writer: DescriptionWriter,
        journal: Journal,
        prices: Prices,
        n_calls_expected: int,
        on_status: Callable[[Status], None],
    ) -> None:
        self.n_calls = self.n_failed = self.n_waiting = 0
        self.n_prompt_tokens = self.n_answer_tokens = 0
        self.failures: Counter[str] = Counter()
        self._writer = writer
        self._journal = journal
        self._prices = prices
        self._n_calls_expected = n_calls_expected
        self._on_status = on_status
        self._in_a_row = 0  # failed calls since the last answer
        self._n_open = 0  # calls handed to threads and not yet answered
        self._done: queue.SimpleQueue[tuple[_Round, str, Future[WrittenAnswer | None]]]
        self._done = queue.SimpleQueue()
        self._stop = threading.Event()

    @property
    def cost(self) -> float:
        return self._prices.of(self.n_prompt_tokens, self.n_answer_tokens)

    def all(self, programs: Iterator[ClassProgram]) -> None:
        """Run programs to their ends, a few at a time, so that the threads never wait."""
        pool = ThreadPoolExecutor(self._writer.n_in_flight, thread_name_prefix="writer")
        try:
            while True:
                while self._n_open < 2 * self._writer.n_in_flight:
                    program = next(programs, None)
                    if program is None:
                        break
                    self._advance(pool, program, None)
                if not self._n_open:
                    return
                self._take(pool)
        finally:
            # Calls that are under way are paid for: their answers are still stored.
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self._drain()

    def _take(self, pool: ThreadPoolExecutor) -> None:
        """Wait for one answer, and go on with its class if it was the round's last."""
        round_, key, future = self._done.get()
        self._n_open -= 1
        round_.answers[key] = self._keep(key, future, round_)
        if len(round_.answers) == round_.n_requests and not round_.is_waiting:
            self._advance(pool, round_.program, round_.answers)

    def _advance(
        self,
        pool: ThreadPoolExecutor,
        program: ClassProgram,
        answers: dict[str, WrittenAnswer | None] | None,
    ) -> None:
        """Send a program its answers until it asks for something that is not in the journal."""
        try:
            while True:
                requests = next(program) if answers is None else program.send(answers)
                answers = {request.key: self._journal.get(request.key) for request in requests}
                missing = [request for request in requests if answers[request.key] is None]
                if missing:
                    round_ = _Round(program, len(answers))
                    round_.answers |= {k: answer for k, answer in answers.items() if answer}
                    for request in missing:
                        self._submit(pool, round_, request)
                    return
        except StopIteration:
            return

    def _submit(self, pool: ThreadPoolExecutor, round_: "_Round", request: WritingRequest) -> None:
        self._n_open += 1
        future = pool.submit(self._write, request)
        future.add_done_callback(lambda done: self._done.put((round_, request.key, done)))

    def _write(self, request: WritingRequest) -> WrittenAnswer | None:
        if self._stop.is_set():
            raise WriterError("the build was stopped")
        return self._writer.write(request)

    def _keep(
        self, key: str, future: "Future[WrittenAnswer | None]", round_: "_Round"
    ) -> WrittenAnswer | None:
        try:
            answer = future.result()
        except WriterUnavailableError:
            raise
        except WriterError as error:
            self.n_failed += 1
            self.failures[str(error)] += 1
            self._in_a_row += 1
            if self._in_a_row >= max(8, 2 * self._writer.n_in_flight):
                raise WriterUnavailableError(
                    f"the last {self._in_a_row} calls failed, the last with: {error}. "
                    f"{self._journal.count()} answers are kept: repair the server and run again"
                ) from error
            return None
        if answer is None:
            self.n_waiting += 1
            round_.is_waiting = True
            return None
        self._in_a_row = 0
        self._journal.put(key, answer)
        self.n_calls += 1
        self.n_prompt_tokens += answer.n_prompt_tokens
        self.n_answer_tokens += answer.n_answer_tokens
        self._on_status(
            Status(
                self.n_calls,
                max(self._n_calls_expected, self.n_calls + self._n_open),
                self.n_prompt_tokens,
                self.n_answer_tokens,
                self.cost,
            )
        )
        return answer

    def _drain(self) -> None:
        """Store the answers of calls that ended after something stopped the build."""
        while not self._done.empty():
            _, key, future = self._done.get()
            if not future.cancelled() and future.exception() is None:
                answer = future.result()
                if answer is not None:
                    self._journal.put(key, answer)


@dataclass
class _Round:
    program: ClassProgram
    n_requests: int
    answers: dict[str, WrittenAnswer | None] = field(default_factory=dict)
    is_waiting: bool = False  # for answers that are read back by another build


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
    )


def _replay(program: ClassProgram, answer_of: Callable[[str], WrittenAnswer | None]) -> ClassResult:
    """Run a program to its end on stored answers."""
    try:
        requests = next(program)
        while True:
            requests = program.send({r.key: answer_of(r.key) for r in requests})
    except StopIteration as end:
        result: ClassResult = end.value
        return result


def _estimate(
    table: StoredTable,
    plan: Plan,
    writer: DescriptionWriter,
    answer_of: Callable[[str], WrittenAnswer | None],
    prices: Prices,
) -> Estimate:
    n_calls = n_lines = n_prompt = 0
    for name in plan.classes:
        for request in _first_unanswered(_program(table, plan, writer, name), answer_of):
            n_calls += 1
            n_lines += int(request.facts["number_of_lines"])
            n_prompt += round(_n_characters(request) / _CHARACTERS_PER_TOKEN)
    n_answer = n_lines * _TOKENS_PER_LINE
    return Estimate(n_calls, n_lines, n_prompt, n_answer, prices.of(n_prompt, n_answer))


def _first_unanswered(
    program: ClassProgram, answer_of: Callable[[str], WrittenAnswer | None]
) -> Sequence[WritingRequest]:
    try:
        requests = next(program)
        while True:
            answers = {request.key: answer_of(request.key) for request in requests}
            missing = [request for request in requests if answers[request.key] is None]
            if missing:
                return missing
            requests = program.send(answers)
    except StopIteration:
        return ()


def _n_characters(request: WritingRequest) -> int:
    turns = [request.facts, *(part for example in request.examples for part in example)]
    return len(request.instruction) + sum(len(str(turn)) for turn in turns)


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
            result = _replay(_program(table, plan, writer, name), journal.get)
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


def _report(run: _Run, totals: _Totals) -> BuildReport:
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
