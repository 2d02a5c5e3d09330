"""What was embedded before, kept in memory by the hash of its content."""

from collections import OrderedDict
from dataclasses import dataclass

from unibind.types import FloatArray

__all__ = ["Known", "Placed"]

_ROW_BYTES = 300  # of a dictionary's entry, a key and an array, roughly


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """One item's place in the space.

    Attributes:
        vector: Its embedding, unit length, shape (D,).
        n_tokens: Word pieces of a text; what is not text has none.
    """

    vector: FloatArray
    n_tokens: int = 0


class Known:
    """Items by what they are, the least recently used forgotten first.

    Args:
        max_bytes: What their embeddings may take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._items: OrderedDict[bytes, Placed] = OrderedDict()
        self._n_bytes = 0

    def get(self, key: bytes) -> Placed | None:
        """Return what is known under a key."""
        known = self._items.get(key)
        if known is not None:
            self._items.move_to_end(key)
        return known

    def put(self, key: bytes, placed: Placed) -> None:
        """Keep an item, and forget others if that is too much."""
        if key in self._items:
            return
        # A row of a batch would keep the whole batch alive.
        self._items[key] = Placed(placed.vector.copy(), placed.n_tokens)
        self._n_bytes += placed.vector.nbytes + _ROW_BYTES
        while self._n_bytes > self._max_bytes and self._items:
            _, oldest = self._items.popitem(last=False)
            self._n_bytes -= oldest.vector.nbytes + _ROW_BYTES
