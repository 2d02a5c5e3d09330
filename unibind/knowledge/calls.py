"""Many calls at a time, each made once ever: programs that ask, and what they are answered.

A program is a generator that yields rounds of requests and is sent their answers. It knows nothing
of threads, files or networks, and the same answers lead it to the same end; so what asked a server
can be run again from the journal, when the results are written or after a crash.
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from unibind.errors import WriterError, WriterUnavailableError
from unibind.knowledge.journal import Journal
from unibind.protocols import DescriptionWriter
from unibind.types import WritingRequest, WrittenAnswer

__all__ = [
    "Answers",
    "Calls",
    "Estimate",
    "Prices",
    "Program",
    "Status",
    "estimate_of",
    "replay",
]

Result = TypeVar("Result")

Answers = Mapping[str, WrittenAnswer | None]
"""Key of a request to its answer; None or absent if there was none."""

Program = Generator[list[WritingRequest], Answers, Result]
"""Yields rounds of requests, is sent their answers, returns what it made of them."""

_TOKENS_PER_LINE: Final = 30
_CHARACTERS_PER_TOKEN: Final = 4.0


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


class Calls:
    """Drives programs: requests to threads, answers to the journal and back.

    Args:
        writer: Who answers.
        journal: What was answered before, and where answers go.
        prices: For `cost`.
        n_tries: How often a call that fails is made.
        n_calls_expected: For the status.
        on_status: Called after each answer.
    """

    def __init__(
        self,
        writer: DescriptionWriter,
        journal: Journal,
        prices: Prices,
        *,
        n_tries: int,
        n_calls_expected: int,
        on_status: Callable[[Status], None],
    ) -> None:
        self.n_calls = self.n_failed = self.n_waiting = 0
        self.n_prompt_tokens = self.n_answer_tokens = 0
        self.failures: Counter[str] = Counter()
        self._writer = writer
        self._journal = journal
        self._prices = prices
        self._n_tries = n_tries
        self._n_calls_expected = n_calls_expected
        self._on_status = on_status
        self._in_a_row = 0  # failed calls since the last answer
        self._n_open = 0  # calls handed to threads and not yet answered
        self._done: queue.SimpleQueue[tuple[_Round, WritingRequest, Future[WrittenAnswer | None]]]
        self._done = queue.SimpleQueue()
        self._stop = threading.Event()

    @property
    def cost(self) -> float:
        """What the answers so far cost."""
        return self._prices.of(self.n_prompt_tokens, self.n_answer_tokens)

    def all(self, programs: Iterator[Program[Any]]) -> None:
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
        round_, request, future = self._done.get()
        self._n_open -= 1
        answer = self._keep(request.key, future, round_)
        if answer is None and not round_.is_waiting:
            round_.n_failed[request.key] += 1
            if round_.n_failed[request.key] < self._n_tries:
                self._submit(pool, round_, request)
                return
        round_.answers[request.key] = answer
        if len(round_.answers) == round_.n_requests and not round_.is_waiting:
            self._advance(pool, round_.program, round_.answers)

    def _advance(
        self,
        pool: ThreadPoolExecutor,
        program: Program[Any],
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
        future.add_done_callback(lambda done: self._done.put((round_, request, done)))

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
            _, request, future = self._done.get()
            if not future.cancelled() and future.exception() is None:
                answer = future.result()
                if answer is not None:
                    self._journal.put(request.key, answer)


@dataclass
class _Round:
    program: Program[Any]
    n_requests: int
    answers: dict[str, WrittenAnswer | None] = field(default_factory=dict)
    n_failed: Counter[str] = field(default_factory=Counter)
    is_waiting: bool = False  # for answers that are read back by another build


def replay(program: Program[Result], answer_of: Callable[[str], WrittenAnswer | None]) -> Result:
    """Run a program to its end on stored answers and return its result."""
    try:
        requests = next(program)
        while True:
            requests = program.send({r.key: answer_of(r.key) for r in requests})
    except StopIteration as end:
        result: Result = end.value
        return result


def estimate_of(
    programs: Iterable[Program[Any]],
    answer_of: Callable[[str], WrittenAnswer | None],
    prices: Prices,
) -> Estimate:
    """Return what programs would take from here, if every answer were good."""
    n_calls = n_lines = n_prompt = 0
    for program in programs:
        for request in _first_unanswered(program, answer_of):
            n_calls += 1
            n_lines += int(request.facts.get("number_of_lines", 1))
            n_prompt += round(_n_characters(request) / _CHARACTERS_PER_TOKEN)
    n_answer = n_lines * _TOKENS_PER_LINE
    return Estimate(n_calls, n_lines, n_prompt, n_answer, prices.of(n_prompt, n_answer))


def _first_unanswered(
    program: Program[Any], answer_of: Callable[[str], WrittenAnswer | None]
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
