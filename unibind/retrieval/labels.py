"""What the rows of an index stand for: their keys and metadata in one mapped file beside it.

A look for a key in the tables takes a few microseconds, and FAISS finds ten rows in some hundred:
so what a row stands for, which never changes, is written out when its index is built. Derived like
the index, and as it hashed, recorded and refused. Rows that it does not hold are in the tables.

The file: n + 1 little-endian int64 offsets, then n records, each a key, NUL and the metadata as
JSON; empty where the row was deleted or its metadata is long.
"""

import hashlib
import mmap
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from unibind.retrieval.schema import SLOT_MASK

__all__ = ["Labels", "record_of", "write"]

_OFFSET = np.dtype("<i8")
# Who keeps more beside each item waits for the reading of it, not for the look.
_MOST_BYTES = 1024


class Labels:
    """The keys and metadata of the first rows of a file of vectors, mapped, not read.

    Args:
        file: What `write` wrote.
        n_slots: How many rows it must be of.
        sha256: Its hash.

    Raises:
        ValueError: It is not what was written.
        OSError: It cannot be read.
    """

    def __init__(self, file: Path, n_slots: int, *, sha256: str) -> None:
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                raise ValueError("its hash is not the one that was recorded")
            self._content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._content) < (n_slots + 1) * _OFFSET.itemsize:
            raise ValueError(f"it has {len(self._content)} bytes, too few for {n_slots} rows")
        self._offsets = memoryview(self._content)[: (n_slots + 1) * _OFFSET.itemsize].cast("q")
        self._n_slots = n_slots

    def records(self, ids: Iterable[int]) -> list[bytes]:
        """Return key, NUL and metadata of items of this modality.

        Empty where the tables must be asked, for rows that came later and for what is no id.
        """
        content, offsets, n_slots = self._content, self._offsets, self._n_slots
        slots = [item & SLOT_MASK for item in ids]
        return [
            content[offsets[slot] : offsets[slot + 1]] if slot < n_slots else b"" for slot in slots
        ]


def record_of(key: str, metadata: str) -> bytes:
    """Return the record of an item; neither a key nor JSON holds NUL."""
    return f"{key}\0{metadata}".encode()


def write(file: Path, rows: Iterable[tuple[int, str, str]], n_slots: int) -> None:
    """Write the labels of n_slots rows to a file.

    Args:
        file: Not there yet.
        rows: Slot, key and metadata as JSON of each item, by ascending slot below n_slots.
        n_slots: How many rows there are, the deleted ones among them.
    """
    sizes = np.zeros(n_slots + 1, dtype=_OFFSET)
    with file.open("xb") as stream:
        stream.seek(sizes.nbytes)
        for slot, key, metadata in rows:
            if len(metadata) <= _MOST_BYTES:
                sizes[slot + 1] = stream.write(record_of(key, metadata))
        sizes[0] = sizes.nbytes
        stream.seek(0)
        stream.write(np.cumsum(sizes).data)
