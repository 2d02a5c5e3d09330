"""Building indexes: candidates are built and measured in turn until one keeps its recall."""

import contextlib
import logging
import math
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unibind.artifact import sha256_of
from unibind.errors import StoreError
from unibind.retrieval import labels
from unibind.retrieval.faiss_index import Index, build, exact, load, scored
from unibind.retrieval.plan import Plan, contenders
from unibind.retrieval.reading import Tables
from unibind.retrieval.schema import SLOT_BITS
from unibind.retrieval.segments import sync, sync_folder
from unibind.retrieval.view import INDEXES, Shard, View
from unibind.types import FloatArray, ProgressCallback

__all__ = ["Built", "build_best", "drop", "labelled", "record", "relabel"]

_log = logging.getLogger(__name__)
_SAMPLED_QUERIES = 512
_MEASURED_K = 10
_MOVED = 0.3
_TIE = 1e-6
# Product quantisation cannot be trained with less, and no index is faster than a scan of so few.
_FEW_ROWS = 1024
_READ_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Built:
    """An index that was built and measured, not yet used.

    Attributes:
        plan: How; its recall is the measured one.
        file: Where it lies; None for exact, which needs none.
        shard: What it was built from.
    """

    plan: Plan
    file: Path | None
    shard: Shard


def build_best(
    root: Path,
    view: View,
    shard: Shard,
    *,
    kind: str,
    recall: float,
    memory: int | None,
    queries: FloatArray | None,
    progress: ProgressCallback | None = None,
) -> Built:
    """Build an index of a modality and return it with the recall that was measured.

    Args:
        root: The store's folder.
        view: What the store holds.
        shard: The modality.
        kind: ``"auto"``, or the kind to build whatever its recall; exact below 1,024 rows.
        recall: Wanted share of the exact 10 nearest that are found.
        memory: Bytes that searching may keep resident; None for no limit.
        queries: Typical queries to measure with, shape (Q, D); a sample of what is stored, of
            every modality, if None.
        progress: Called while rows are added.
    """
    n_slots, dim = shard.vectors.shape
    if kind == "auto":
        plans = contenders(n_slots, dim, memory=memory, recall=recall)
    else:
        plans = [Plan(kind, wanted_recall=recall)]
    sample = _sample(view, dim) if queries is None else queries
    # A stored vector finds itself, which proves nothing.
    n_own = 1 if queries is None else 0
    for position, plan in enumerate(plans):
        if plan.kind == "exact" or n_slots < _FEW_ROWS:
            break
        file = root / INDEXES / f"{shard.modality}-{uuid.uuid4().hex[:12]}.faiss"
        file.parent.mkdir(exist_ok=True)
        build(shard.vectors, plan, file, progress=progress)
        tuned = _tuned(load(file, plan, shard.vectors), shard, sample, n_own)
        _log.info("%s: %s reaches recall %.4f", shard.name, tuned.kind, tuned.recall)
        if tuned.recall >= recall or position == len(plans) - 1:
            sync(file)
            sync_folder(file.parent)
            return Built(tuned, file, shard)
        file.unlink()
    return Built(Plan("exact", wanted_recall=recall), None, shard)


def labelled(tables: Tables, root: Path, shard: Shard) -> Path:
    """Write the labels of a shard's rows to a new file and return it.

    Args:
        tables: Of the state that the shard shows, or of a later one.
        root: The store's folder.
        shard: The modality.
    """
    file = root / INDEXES / f"{shard.modality}-{uuid.uuid4().hex[:12]}.labels"
    labels.write(file, _described(tables, shard), shard.n_slots)
    sync(file)
    sync_folder(file.parent)
    return file


def _described(tables: Tables, shard: Shard) -> Iterator[tuple[int, str, str]]:
    first = shard.modality << SLOT_BITS
    item, end = first - 1, first + shard.n_slots
    while True:
        rows = tables.execute(
            "SELECT id, key, metadata FROM items WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
            (item, end, _READ_ROWS),
        ).fetchall()
        for item, key, metadata in rows:
            yield item - first, key, metadata
        if len(rows) < _READ_ROWS:
            return


def record(
    connection: sqlite3.Connection, root: Path, built: Built, labels_file: Path | None
) -> Callable[[], None]:
    """Make an index and its labels those that are used, inside a write transaction.

    Returns:
        What to call after the commit: it deletes the files that were used before.

    Raises:
        StoreError: Its rows are no longer where they were: a compaction moved them.
    """
    modality = built.shard.modality
    try:
        _check_segment(connection, root, built.shard)
    except StoreError:
        for file in filter(None, (built.file, labels_file)):
            file.unlink()
        raise
    forget = drop(connection, root, modality)
    if built.file is not None:
        (generation,) = connection.execute("SELECT generation FROM store").fetchone()
        connection.execute(
            "INSERT INTO indexes VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                modality,
                built.shard.segment,
                len(built.shard.vectors),
                generation,
                built.plan.text(),
                built.file.name,
                sha256_of(built.file),
            ),
        )
    if labels_file is not None:
        _record_labels(connection, built.shard, labels_file)
    connection.execute("UPDATE store SET generation = generation + 1")
    return forget


def relabel(connection: sqlite3.Connection, root: Path, shard: Shard) -> Callable[[], None]:
    """Write the labels of a shard's rows again, inside a write transaction; as `record`."""
    _check_segment(connection, root, shard)
    forget = _dropped(connection, root, shard.modality, "labels")
    _record_labels(connection, shard, labelled(connection, root, shard))
    connection.execute("UPDATE store SET generation = generation + 1")
    return forget


def _record_labels(connection: sqlite3.Connection, shard: Shard, file: Path) -> None:
    connection.execute(
        "INSERT INTO labels VALUES (?, ?, ?, ?)",
        (shard.modality, shard.n_slots, file.name, sha256_of(file)),
    )


def _check_segment(connection: sqlite3.Connection, root: Path, shard: Shard) -> None:
    (segment,) = connection.execute(
        "SELECT segment FROM modalities WHERE modality = ?", (shard.modality,)
    ).fetchone()
    if segment != shard.segment:
        raise StoreError(
            f"the store at {root} was compacted while the index of {shard.name!r} was built, which "
            "is of rows that have moved since; build it again"
        )


def drop(connection: sqlite3.Connection, root: Path, modality: int) -> Callable[[], None]:
    """Search a modality exactly from now on, inside a write transaction; returns as `record`."""
    return _dropped(connection, root, modality, "indexes", "labels")


def _dropped(
    connection: sqlite3.Connection, root: Path, modality: int, *tables: str
) -> Callable[[], None]:
    old = []
    for table in tables:
        found = connection.execute(f"SELECT file FROM {table} WHERE modality = ?", (modality,))
        old += [root / INDEXES / row[0] for row in found]
        connection.execute(f"DELETE FROM {table} WHERE modality = ?", (modality,))

    def forget() -> None:
        for file in old:
            # On Windows a file that is still mapped stays until a later compaction.
            with contextlib.suppress(PermissionError):
                file.unlink(missing_ok=True)

    return forget


def _tuned(index: Index, shard: Shard, queries: FloatArray, n_own: int) -> Plan:
    wanted = min(_MEASURED_K + n_own, shard.n_live)
    if wanted <= n_own or not len(queries):
        return replace(next(index.plan.efforts()), recall=1.0)
    among = None if shard.n_live == shard.n_slots else shard.alive
    share = shard.n_live / shard.n_slots
    truth = exact(shard.vectors, queries, wanted, among=among).scores
    floor = truth.min(axis=1, keepdims=True) - _TIE
    plan = index.plan
    for plan in index.plan.efforts():
        slots = index.candidates(
            queries, wanted, effort=plan.effort, share=share, among=among
        ).slots
        if among is not None:
            slots = np.where((slots >= 0) & among[slots], slots, -1)
        near = scored(shard.vectors, queries, slots).scores
        n_found = np.minimum((near >= floor).sum(axis=1), wanted)
        plan = replace(plan, recall=float((n_found.mean() - n_own) / (wanted - n_own)))
        if _surely(plan.recall, len(queries) * (wanted - n_own)) >= plan.wanted_recall:
            break
    return plan


def _surely(recall: float, n_tried: int) -> float:
    """Return the lower end of the 95 % Wilson interval of a share that was measured."""
    z = 1.645
    middle = recall + z * z / (2 * n_tried)
    spread = z * math.sqrt(recall * (1 - recall) / n_tried + (z / (2 * n_tried)) ** 2)
    return (middle - spread) / (1 + z * z / n_tried)


def _sample(view: View, dim: int) -> FloatArray:
    shards = [shard for shard in view.shards.values() if shard.n_live]
    each = max(1, _SAMPLED_QUERIES // max(1, len(shards)))
    generator = np.random.default_rng(0)
    if not shards:
        return np.empty((0, dim), dtype=np.float32)
    parts = [
        shard.vectors[
            np.sort(generator.choice(shard.live_slots, min(each, shard.n_live), replace=False))
        ]
        for shard in shards
    ]
    rows = np.concatenate(parts)
    # What is asked was not stored, let alone trained on: move each query off its item.
    rows = rows + _MOVED * generator.standard_normal(rows.shape) / math.sqrt(rows.shape[1])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
