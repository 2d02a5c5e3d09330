import asyncio
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.service.batching import Batcher, cost_of
from unibind.service.refusals import Refusal


def batcher(forward, **options) -> Batcher:
    told = {"max_wait_s": 5.0, "max_items": 10_000} | options
    return Batcher("text", forward, **told)


def far() -> float:
    return time.monotonic() + 60


class Gate:
    """A model that works only while it is let, and remembers its batches."""

    def __init__(self) -> None:
        self.batches = []
        self.open = threading.Event()
        self.entered = threading.Event()

    def __call__(self, items):
        self.batches.append(list(items))
        self.entered.set()
        assert self.open.wait(20)
        return [f"done {item}" for item in items]


@pytest.fixture
def gate():
    model = Gate()
    yield model
    model.open.set()


@given(st.lists(st.lists(st.integers(0, 99), max_size=12), max_size=12))
@settings(max_examples=25, deadline=None)
def test_outcomes_come_back_in_order_whatever_shares_a_batch(requests):
    async def ask(queue):
        return await asyncio.gather(*(queue.submit(r, deadline=far()) for r in requests))

    queue = batcher(lambda items: [item * 2 for item in items])
    try:
        assert asyncio.run(ask(queue)) == [[item * 2 for item in r] for r in requests]
    finally:
        queue.close()


def test_what_waits_while_the_model_works_goes_through_it_together(gate):
    async def ask(queue):
        first = asyncio.create_task(queue.submit(["first"], deadline=far()))
        await asyncio.to_thread(gate.entered.wait, 5)
        rest = [asyncio.create_task(queue.submit([f"r{n}"], deadline=far())) for n in range(9)]
        await asyncio.sleep(0.05)
        gate.open.set()
        await asyncio.gather(first, *rest)

    queue = batcher(gate, batch_s=1e9)
    asyncio.run(ask(queue))
    queue.close()
    assert gate.batches == [["first"], [f"r{n}" for n in range(9)]]


def test_a_long_list_does_not_hold_up_a_single_word(gate):
    async def ask(queue):
        first = asyncio.create_task(queue.submit(["x"], deadline=far()))
        await asyncio.to_thread(gate.entered.wait, 5)
        long = asyncio.create_task(queue.submit(["l" * 50] * 500, deadline=far()))
        await asyncio.sleep(0.02)
        word = asyncio.create_task(queue.submit(["w" * 50], deadline=far()))
        await asyncio.sleep(0.02)
        gate.open.set()
        await asyncio.gather(first, long, word)

    queue = batcher(gate, batch_s=1e9)
    asyncio.run(ask(queue))
    queue.close()
    assert "w" * 50 in gate.batches[1]
    assert len(gate.batches[1]) > 2


@given(st.sets(st.integers(0, 40), max_size=6), st.integers(1, 41))
@settings(max_examples=25, deadline=None)
def test_one_bad_item_fails_alone(bad, n_items):
    def model(items):
        if any(item in bad for item in items):
            raise RuntimeError("the model cannot bear this")
        return [item + 1000 for item in items]

    queue = batcher(model)
    try:
        outcomes = asyncio.run(queue.submit(list(range(n_items)), deadline=far()))
    finally:
        queue.close()
    for item, outcome in enumerate(outcomes):
        if item in bad:
            assert isinstance(outcome, Refusal)
            assert outcome.code == "model_failed"
        else:
            assert outcome == item + 1000


def test_what_nobody_wants_any_more_is_not_worked_on(gate):
    async def ask(queue):
        first = asyncio.create_task(queue.submit(["first"], deadline=far()))
        await asyncio.to_thread(gate.entered.wait, 5)
        late = asyncio.create_task(queue.submit(["late"], deadline=time.monotonic() + 0.01))
        gone = asyncio.create_task(queue.submit(["gone"], deadline=far()))
        kept = asyncio.create_task(queue.submit(["kept"], deadline=far()))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0.02)
        gate.open.set()
        return await asyncio.gather(first, late, kept)

    queue = batcher(gate, batch_s=1e9)
    first, late, kept = asyncio.run(ask(queue))
    queue.close()
    assert gate.batches == [["first"], ["kept"]]
    assert (late[0].status, late[0].code) == (504, "deadline")
    assert (first, kept) == (["done first"], ["done kept"])


def test_more_than_can_be_done_in_time_is_turned_away_with_a_time_to_come_back():
    def slow(items):
        time.sleep(0.05 * len(items))
        return list(items)

    async def ask(queue):
        await queue.submit(["measured first" for _ in range(4)], deadline=far())
        tasks = [
            asyncio.create_task(queue.submit([f"request number {n:4d}"], deadline=far()))
            for n in range(100)
        ]
        return await asyncio.gather(*tasks, return_exceptions=True)

    queue = batcher(slow, max_wait_s=0.5)
    outcomes = asyncio.run(ask(queue))
    queue.close()
    turned_away = [each for each in outcomes if isinstance(each, Refusal)]
    assert 60 < len(turned_away) < 99
    assert {each.status for each in turned_away} == {429}
    assert all(each.retry_after_s >= 1 for each in turned_away)


def test_a_full_queue_turns_away_even_what_is_quick(gate):
    async def ask(queue):
        first = asyncio.create_task(queue.submit(["x"], deadline=far()))
        await asyncio.to_thread(gate.entered.wait, 5)
        second = asyncio.create_task(queue.submit(["y"] * 3, deadline=far()))
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal, match="waiting"):
            await queue.submit(["z"] * 3, deadline=far())
        gate.open.set()
        await asyncio.gather(first, second)

    queue = batcher(gate, max_items=5)
    asyncio.run(ask(queue))
    queue.close()


def test_a_closed_queue_finishes_what_it_began_and_refuses_the_rest(gate):
    async def ask(queue):
        first = asyncio.create_task(queue.submit(["first"], deadline=far()))
        await asyncio.to_thread(gate.entered.wait, 5)
        second = asyncio.create_task(queue.submit(["second"], deadline=far()))
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(asyncio.to_thread(queue.close))
        (outcome,) = await second
        gate.open.set()
        await closing
        with pytest.raises(Refusal, match="shutting down"):
            await queue.submit(["third"], deadline=far())
        return await first, outcome

    first, second = asyncio.run(ask(batcher(gate)))
    assert first == ["done first"]
    assert second.code == "closing"


def test_cost_grows_with_what_an_item_holds():
    assert cost_of("a long sentence") > cost_of("a word")
    assert cost_of(np.zeros((20, 20, 3))) > cost_of(np.zeros((10, 10, 3)))
    assert cost_of((np.zeros(10), "x")) == pytest.approx(cost_of(np.zeros(10)) + cost_of("x"))
