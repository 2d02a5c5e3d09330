"""What a reader keeps in memory of a store: for each modality the map of its vectors and its gaps.

A view shows one generation. `refreshed` derives the next from the last one and from what was
committed since, so a reader catches up in time that grows with the changes, not with the store.
"""

import itertools
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unibind.retrieval.faiss_index import Index, load
from unibind.retrieval.labels import Labels
from unibind.retrieval.plan import Plan
from unibind.retrieval.reading import Tables, calibration_of, fields_of, generation_of
from unibind.retrieval.resolver import Resolver, hits
from unibind.retrieval.schema import SLOT_BITS
from unibind.retrieval.segments import FOLDER, mapped
from unibind.types import FloatArray, Hit, IntArray

__all__ = ["INDEXES", "Shard", "View", "refreshed"]

INDEXES = "indexes"
_log = logging.getLogger(__name__)

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shard:
    """One modality of a view.

    Attributes:
        modality: Its number.
        name: Its name.
        segment: Name of its file of vectors.
        n_slots: Rows of the file that count.
        n_live: Rows that are items; the others were deleted or replaced.
        vector_sum: Sum of the items' vectors, shape (D,).
        backing: The mapped file, shape (n_slots or more, D).
        alive: Which slots are items, shape (n_slots,).
        index_file: Name of the file of its index, or "" for none.
        index: The index of its first slots; None if it has none, or if that was refused.
        labels_file: Name of the file of its labels, or "" for none.
        labels: What its first slots stand for; None likewise.
    """

    modality: int
    name: str
    segment: str
    n_slots: int
    n_live: int
    vector_sum: Float64Array = field(repr=False)
    backing: FloatArray = field(repr=False)
    alive: BoolArray = field(repr=False)
    index_file: str = ""
    index: Index | None = field(default=None, repr=False)
    labels_file: str = ""
    labels: Labels | None = field(default=None, repr=False)

    @property
    def vectors(self) -> FloatArray:
        """The rows that count, shape (n_slots, D), the deleted ones among them."""
        return self.backing[: self.n_slots]

    @cached_property
    def live_slots(self) -> IntArray:
        """The slots that are items, ascending, shape (n_live,)."""
        return np.flatnonzero(self.alive)

    def ids(self, slots: IntArray) -> IntArray:
        """Return the item ids of slots."""
        return slots | np.int64(self.modality << SLOT_BITS)


@dataclass(frozen=True)
class View:
    """One generation of a store.

    Attributes:
        generation: Counts the write transactions.
        shards: By name of the modality.
        calibration: What searches into several modalities use when they do not say.
        fields: Names of the fields that metadata has.
        resolver: What ids stand for.
    """

    generation: int
    shards: Mapping[str, Shard]
    calibration: str
    fields: frozenset[str]
    resolver: Resolver = field(repr=False)

    def hits(self, tables: Tables, ids: IntArray, scores: Float64Array) -> list[list[Hit]]:
        """Return the hits of each line, best first, equal ones by key.

        Args:
            tables: Where what is not in memory is looked up.
            ids: Of items, best first, shape (B, m); -1 where there are fewer.
            scores: Theirs, shape (B, m).
        """
        flat = ids.ravel().tolist()
        return hits(self._records(tables, flat), self._names(flat), scores)

    def _records(self, tables: Tables, ids: Sequence[int]) -> list[bytes]:
        """Return the record of each id, empty for those that name no item."""
        if len(self.shards) == 1:
            return self._records_of(tables, next(iter(self.shards.values())), ids)
        records = [b""] * len(ids)
        for shard in self.shards.values():
            places = [n for n, item in enumerate(ids) if item >> SLOT_BITS == shard.modality]
            found = self._records_of(tables, shard, [ids[place] for place in places])
            for place, record in zip(places, found, strict=True):
                records[place] = record
        return records

    def _records_of(self, tables: Tables, shard: Shard, ids: Sequence[int]) -> list[bytes]:
        records = shard.labels.records(ids) if shard.labels else [b""] * len(ids)
        if b"" not in records:
            return records
        pairs = list(zip(ids, records, strict=True))
        known = self.resolver.records(
            tables, {item for item, record in pairs if not record and item >= 0}
        )
        return [record or known.get(item, b"") for item, record in pairs]

    def _names(self, ids: Sequence[int]) -> Iterable[str]:
        """Return the modality of each id."""
        if len(self.shards) == 1:
            return itertools.repeat(next(iter(self.shards)))
        names = {shard.modality: name for name, shard in self.shards.items()}
        return [names.get(item >> SLOT_BITS, "") for item in ids]

    @cached_property
    def refused(self) -> list[str]:
        """The modalities whose index file is not the one that was written."""
        return [name for name, shard in self.shards.items() if shard.index_file and not shard.index]

    @cached_property
    def unlabelled(self) -> list[str]:
        """The modalities whose file of labels is not the one that was written."""
        return [
            name for name, shard in self.shards.items() if shard.labels_file and not shard.labels
        ]


def refreshed(last: View | None, connection: sqlite3.Connection, root: Path, dim: int) -> View:
    """Return the view of what a connection's transaction sees.

    Args:
        last: A view of an earlier generation, or None.
        connection: Inside a read transaction.
        root: The store's folder.
        dim: Width D.

    Raises:
        StoreError: A file of vectors is missing or too short.
    """
    generation = generation_of(connection)
    rows = connection.execute(
        "SELECT modality, name, segment, n_slots, n_live, vector_sum FROM modalities"
    ).fetchall()
    indexes = {
        row[0]: row[1:]
        for row in connection.execute("SELECT modality, file, sha256, n_slots, plan FROM indexes")
    }
    labels = {
        row[0]: row[1:]
        for row in connection.execute("SELECT modality, file, sha256, n_slots FROM labels")
    }
    shards = {}
    for modality, name, segment, n_slots, n_live, vector_sum in rows:
        before = last.shards.get(name) if last else None
        if before and before.segment != segment:
            before = None
        backing = before.backing if before else None
        if backing is None or len(backing) < n_slots:
            backing = mapped(root / FOLDER / segment, n_slots, dim)
        since = last.generation if last and before else -1
        gone = _gone(connection, modality, since)
        index_row = indexes.get(modality, ("", "", 0, ""))
        labels_row = labels.get(modality, ("", "", 0))
        same_index = before is not None and before.index_file == index_row[0]
        same_labels = before is not None and before.labels_file == labels_row[0]
        if before and same_index and same_labels and before.n_slots == n_slots and not gone.size:
            shards[name] = before
            continue
        alive = np.ones(n_slots, dtype=np.bool_)
        if before:
            alive[: before.n_slots] = before.alive
        alive[gone] = False
        total = np.frombuffer(vector_sum, dtype="<f8")
        index = before.index if before and same_index else _index(root, backing, *index_row)
        shards[name] = Shard(
            modality=modality,
            name=name,
            segment=segment,
            n_slots=n_slots,
            n_live=n_live,
            vector_sum=total,
            backing=backing,
            alive=alive,
            index_file=index_row[0],
            index=index,
            labels_file=labels_row[0],
            labels=before.labels if before and same_labels else _labels(root, *labels_row),
        )
    return View(
        generation,
        shards,
        calibration=calibration_of(connection),
        fields=fields_of(connection),
        resolver=last.resolver if last and _same_ids(last.shards, shards) else Resolver(),
    )


def _same_ids(last: Mapping[str, Shard], shards: Mapping[str, Shard]) -> bool:
    """Return whether every id is of the item that it was of: a compaction makes new files."""
    return all(shards[name].segment == shard.segment for name, shard in last.items())


def _index(
    root: Path, vectors: FloatArray, name: str, sha256: str, n_slots: int, plan: str
) -> Index | None:
    if not name:
        return None
    file = root / INDEXES / name
    try:
        return load(file, Plan.parse(plan), vectors[:n_slots], sha256=sha256)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        _log.warning("the index %s is refused: %s; searching exactly until rebuilt", file, error)
        return None


def _labels(root: Path, name: str, sha256: str, n_slots: int) -> Labels | None:
    if not name:
        return None
    file = root / INDEXES / name
    try:
        return Labels(file, n_slots, sha256=sha256)
    except (OSError, ValueError) as error:
        _log.warning("the labels %s are refused: %s; asking the tables", file, error)
        return None


def _gone(connection: sqlite3.Connection, modality: int, since: int) -> IntArray:
    first = modality << SLOT_BITS
    found = connection.execute(
        "SELECT id FROM tombstones WHERE id >= ? AND id < ? AND generation > ?"
        if since < 0
        # The unary plus keeps SQLite on the index of generations, which is short.
        else "SELECT id FROM tombstones WHERE +id >= ? AND +id < ? AND generation > ?",
        (first, first + (1 << SLOT_BITS), since),
    ).fetchall()
    return np.fromiter((row[0] - first for row in found), dtype=np.int64, count=len(found))
