"""The one writer of the store: what came while it wrote goes into its next transaction together.

A transaction costs a sync of the disk, whether it holds one item or a hundred.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from unibind.errors import StoreError, UnibindError
from unibind.protocols import VectorStore
from unibind.types import FloatArray, Json

__all__ = ["StoreWriter", "Upsert"]

_log = logging.getLogger(__name__)
_MOST_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Upsert:
    """One item to store.

    Attributes:
        key: The user's id.
        modality: What it is.
        embedding: Unit length, shape (D,).
        metadata: What is kept beside it.
    """

    key: str
    modality: str
    embedding: FloatArray
    metadata: Mapping[str, Json]


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    upsert: Upsert | None
    keys: Sequence[str]
    done: "Future[int]" = field(default_factory=Future)


class StoreWriter:
    """A thread that stores and deletes, in the order in which it was told to.

    Args:
        store: Returns the store; asked anew for each transaction, since a space may be reopened.
    """

    def __init__(self, store: Callable[[], VectorStore]) -> None:
        self._store = store
        self._orders: deque[_Order] = deque()
        self._ready = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Writes that wait."""
        return len(self._orders)

    def upsert(self, item: Upsert) -> "Future[int]":
        """Store an item; the future has a result once it would survive a power cut."""
        return self._put(_Order(item, (item.key,)))

    def delete(self, keys: Sequence[str]) -> "Future[int]":
        """Delete items; the future's result is how many there were."""
        return self._put(_Order(None, tuple(keys)))

    def close(self) -> None:
        """Write what was accepted, then end."""
        with self._ready:
            self._is_closed = True
            self._ready.notify_all()
        self._thread.join()

    def _put(self, order: _Order) -> "Future[int]":
        with self._ready:
            if self._is_closed:
                raise StoreError("the server is shutting down and takes no more writes")
            self._orders.append(order)
            self._ready.notify_all()
        return order.done

    def _run(self) -> None:
        while orders := self._next():
            try:
                n_done = self._write(orders)
            except UnibindError as error:
                self._fail(orders, error)
            # Whatever goes wrong with one write, the writer must be there for the next.
            except Exception as error:  # noqa: BLE001
                _log.exception("a write failed")
                self._fail(orders, StoreError(f"the write failed: {error!r}"))
            else:
                for order in orders:
                    order.done.set_result(n_done)

    def _fail(self, orders: Sequence[_Order], error: UnibindError) -> None:
        if len(orders) == 1:
            orders[0].done.set_exception(error)
            return
        for order in orders:  # which of them was it?
            try:
                order.done.set_result(self._write([order]))
            except UnibindError as own_error:
                order.done.set_exception(own_error)

    def _next(self) -> list[_Order]:
        """Return the longest run of orders that one transaction can hold."""
        with self._ready:
            while not self._orders and not self._is_closed:
                self._ready.wait()
            run: list[_Order] = []
            keys: set[str] = set()
            while self._orders and len(run) < _MOST_AT_ONCE:
                order = self._orders[0]
                if run and not _fits(order, run[0], keys):
                    break
                keys.update(order.keys)
                run.append(self._orders.popleft())
                if order.upsert is None:
                    break
            return run

    def _write(self, orders: Sequence[_Order]) -> int:
        items = [order.upsert for order in orders if order.upsert is not None]
        if not items:
            return self._store().delete(list(orders[0].keys))
        self._store().upsert(
            [item.key for item in items],
            np.stack([item.embedding for item in items]),
            modality=items[0].modality,
            metadata=[item.metadata for item in items],
        )
        return len(items)


def _fits(order: _Order, first: _Order, keys: set[str]) -> bool:
    """Return whether an order may go with those before it: same kind, and no key twice."""
    if order.upsert is None or first.upsert is None:
        return False
    return order.upsert.modality == first.upsert.modality and order.upsert.key not in keys
