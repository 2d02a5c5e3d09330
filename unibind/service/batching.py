"""Items of many requests through the model together: one fair queue per modality.

While the model works on one batch, the next one gathers: nobody waits for company. Requests share
the model by start-time fair queueing, so a list of two thousand texts does not hold up a single
word: each item is tagged with what its own request has already been given, and the smallest tag
goes first.

Source:
    Goyal, Vin and Cheng, Start-time fair queueing, SIGCOMM 1996.
"""

import asyncio
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from unibind.service.refusals import Refusal
from unibind.service.stages import Stage, collected, current

__all__ = ["Batcher", "cost_of"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH_S = 0.25
"""How long a batch should take at most, so that what comes next need not wait longer."""

MAX_BATCH = 64
"""Items of a batch, however small they are."""

_SLOWNESS = 3.0
"""How many times its own duration a request may wait before it is turned away."""

_MEMORY = 0.2
"""Weight of the last batch in what is known about the model's speed."""


def cost_of(item: Any) -> float:
    """Return how much work an item is, roughly: characters, pixels, samples, points."""
    if isinstance(item, str):
        return 16.0 + len(item)
    if isinstance(item, np.ndarray):
        return 1.0 + item.size
    if is_dataclass(item) and not isinstance(item, type):
        return sum(cost_of(getattr(item, each.name)) for each in fields(item))
    if isinstance(item, tuple):
        return sum(map(cost_of, item))
    return 1.0


@dataclass(eq=False, slots=True)
class _Order:
    """What one request wants of one modality."""

    deadline: float
    cost: float
    is_dropped: bool = False
    stages: list[Stage] | None = field(default_factory=current)

    def note(self, waited: Stage, shared: Sequence[Stage]) -> None:
        """Note for the request's trace how long it waited, and what was done for all together."""
        if self.stages is not None:
            self.stages += [waited, *shared]


@dataclass(order=True, slots=True)
class _Job:
    tag: float
    number: int
    item: Any = field(compare=False)
    cost: float = field(compare=False)
    order: _Order = field(compare=False)
    future: "asyncio.Future[Any]" = field(compare=False)
    came: float = field(compare=False)


class Batcher(Generic[T]):
    """A fair queue, and the threads that empty it, batch by batch.

    Args:
        name: What it is called in messages: the modality's name.
        forward: Items to what comes of each, in order; called by each runner's thread.
        max_wait_s: Longest time that a small request may be expected to wait.
        max_items: Items that wait at most.
        n_runners: Batches that are worked on at a time.
        max_batch: Items of one batch at most.
        batch_s: How long a batch should take at most.
        cost: How much work an item is, in any unit.
        on_batch: Told the number of items, the seconds that each waited, and the seconds taken.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[[Sequence[Any]], Sequence[T | Refusal]],
        *,
        max_wait_s: float,
        max_items: int,
        n_runners: int = 1,
        max_batch: int = MAX_BATCH,
        batch_s: float = BATCH_S,
        cost: Callable[[Any], float] = cost_of,
        on_batch: Callable[[int, Sequence[float], float], None] = lambda n, waited, took: None,
    ) -> None:
        self.name = name
        self._forward = forward
        self._max_wait_s = max_wait_s
        self._max_items = max_items
        self._on_batch = on_batch
        self._max_batch = max_batch
        self._batch_s = batch_s
        self._cost = cost
        self._jobs: list[_Job] = []
        self._orders: set[_Order] = set()
        self._ready = threading.Condition()
        self._now = 0.0  # virtual time: the tag of what was begun last
        self._numbers = itertools.count()
        self._s_per_cost = 0.0
        self._running_since: dict[int, float] = {}
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"model-{name}-{n}", daemon=True)
            for n in range(n_runners)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def n_waiting(self) -> int:
        """Items that wait."""
        return len(self._jobs)

    @property
    def stuck_s(self) -> float:
        """For how long the batch that has been in the model longest has been there."""
        since = list(self._running_since.values())
        return time.monotonic() - min(since) if since else 0.0

    @property
    def is_alive(self) -> bool:
        """Whether its threads run."""
        return all(thread.is_alive() for thread in self._threads)

    async def submit(self, items: Sequence[Any], *, deadline: float) -> list[T | Refusal]:
        """Return what comes of items, in their order.

        If the caller is cancelled, what has not begun is dropped.

        Args:
            items: Of the modality.
            deadline: By `time.monotonic`, when nobody wants the outcome any more.

        Raises:
            Refusal: Too much is waiting already.
        """
        loop = asyncio.get_running_loop()
        costs = [self._cost(item) for item in items]
        order = _Order(deadline, sum(costs))
        futures = [loop.create_future() for _ in items]
        came = time.monotonic()
        with self._ready:
            self._admit(order, len(items))
            tag = self._now
            for item, cost, future in zip(items, costs, futures, strict=True):
                job = _Job(tag, next(self._numbers), item, cost, order, future, came)
                heapq.heappush(self._jobs, job)
                tag += cost
            self._orders.add(order)
            self._ready.notify_all()
        try:
            return list(await asyncio.gather(*futures))
        finally:
            with self._ready:
                order.is_dropped = True
                self._orders.discard(order)

    def expected_wait_s(self, cost: float) -> float:
        """Return how long a request of this cost is expected to share the model with others.

        Under fair queueing, each of the others is served as much as this one, or all it wants.
        """
        with self._ready:
            return self._shared(cost) * self._s_per_cost

    def close(self) -> None:
        """Let what has begun finish; what waits is refused."""
        with self._ready:
            self._is_closed = True
            waiting, self._jobs = self._jobs, []
            self._ready.notify_all()
        _settle(waiting, [_CLOSING] * len(waiting))
        for thread in self._threads:
            thread.join()

    def _admit(self, order: _Order, n_items: int) -> None:
        if self._is_closed:
            raise _CLOSING.at(None)
        own_s = order.cost * self._s_per_cost
        wait_s = self._shared(order.cost) * self._s_per_cost
        is_full = bool(self._jobs) and len(self._jobs) + n_items > self._max_items
        if is_full or wait_s > max(self._max_wait_s, _SLOWNESS * own_s):
            raise Refusal(
                429,
                "overloaded",
                f"{len(self._jobs):,} items of {self.name} are waiting, about {wait_s:.1f} s of "
                "work before these; ask again after the time in Retry-After",
                retry_after_s=max(1.0, wait_s),
            )

    def _shared(self, cost: float) -> float:
        """Return what others may be given while a request of this cost is served.

        What they were given already still counts: those who come after this one slow it down, too.
        """
        return sum(min(each.cost, cost) for each in self._orders) / len(self._threads)

    def _run(self) -> None:
        number = threading.get_ident()
        while (batch := self._next_batch()) is not None:
            began = time.monotonic()
            self._running_since[number] = began
            with collected() as shared:
                outcomes = self._outcomes([job.item for job in batch])
            took = time.monotonic() - began
            for order, first in {job.order: job for job in reversed(batch)}.items():
                order.note(Stage("queue", self.name, first.came, began, len(batch)), shared)
            del self._running_since[number]
            self._learn(sum(job.cost for job in batch), took)
            _settle(batch, outcomes)
            self._on_batch(len(batch), [began - job.came for job in batch], took)

    def _next_batch(self) -> list[_Job] | None:
        with self._ready:
            while True:
                batch = self._gather()
                if batch:
                    return batch
                if self._is_closed:
                    return None
                self._ready.wait()

    def _gather(self) -> list[_Job]:
        batch: list[_Job] = []
        seconds = 0.0
        share = -(-len(self._jobs) // len(self._threads))  # what another could begin beside it
        while self._jobs and len(batch) < min(share, self._max_batch):
            job = self._jobs[0]
            seconds += job.cost * self._s_per_cost
            if batch and seconds > self._batch_s:
                break
            heapq.heappop(self._jobs)
            self._now = job.tag
            if job.order.is_dropped:
                continue
            if job.order.deadline < time.monotonic():
                _settle([job], [_LATE])
                continue
            batch.append(job)
        return batch

    def _outcomes(self, items: Sequence[Any]) -> list[T | Refusal]:
        """Return the outcomes of a batch; a failing one is halved: one item fails alone."""
        try:
            return list(self._forward(items))
        # A model may fail in any way: this is the edge between it and the requests.
        except Exception:  # noqa: BLE001
            _log.exception("a batch of %d items of %s failed", len(items), self.name)
            if len(items) == 1:
                return [_FAILED]
            middle = len(items) // 2
            return self._outcomes(items[:middle]) + self._outcomes(items[middle:])

    def _learn(self, cost: float, took: float) -> None:
        found = took / cost
        known = self._s_per_cost
        # Slow batches have many causes, a cold start among them; a fast one shows what can be done.
        weight = _MEMORY if found > known else 0.5
        self._s_per_cost = found if not known else known + weight * (found - known)


_CLOSING = Refusal(503, "closing", "the server is shutting down; ask again", retry_after_s=2)
_LATE = Refusal(504, "deadline", "the deadline passed before the model came to it")
_FAILED = Refusal(
    500, "model_failed", "the model failed on this item; the server's log says how", None
)


def _settle(jobs: Sequence[_Job], outcomes: Sequence[Any]) -> None:
    """Hand outcomes to those who wait for them, in the loop that they wait in."""
    if not jobs:
        return
    loop = jobs[0].future.get_loop()  # a service has one

    def set_results() -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            if not job.future.done():
                job.future.set_result(outcome)

    if not loop.is_closed():
        loop.call_soon_threadsafe(set_results)
