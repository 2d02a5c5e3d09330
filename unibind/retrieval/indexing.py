"""Building indexes: candidates are built and measured in turn until one keeps its recall."""

import logging
import math
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unibind.artifact import sha256_of
from unibind.retrieval.faiss_index import Index, build, exact, load, scored
from unibind.retrieval.plan import Plan, contenders
from unibind.retrieval.segments import sync, sync_folder
from unibind.retrieval.view import INDEXES, Shard, View
from unibind.types import FloatArray, ProgressCallback

__all__ = ["Built", "build_best", "drop", "record"]

_log = logging.getLogger(__name__)
_SAMPLED_QUERIES = 512
_MEASURED_K = 10
_MOVED = 0.3
_TIE = 1e-6
# Product quantisation cannot be trained with less, and no index is faster than a scan of so few.
_FEW_ROWS = 1024


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
    sample = _sample(view) if queries is None else queries
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


def record(connection: sqlite3.Connection, root: Path, built: Built) -> Callable[[], None]:
    """Make an index the one that is used, inside a write transaction.

    Returns:
        What to call after the commit: it deletes the file that was used before.
    """
    modality = built.shard.modality
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
    connection.execute("UPDATE store SET generation = generation + 1")
    return forget


def drop(connection: sqlite3.Connection, root: Path, modality: int) -> Callable[[], None]:
    """Search a modality exactly from now on, inside a write transaction; returns as `record`."""
    found = connection.execute(
        "SELECT file FROM indexes WHERE modality = ?", (modality,)
    ).fetchone()
    connection.execute("DELETE FROM indexes WHERE modality = ?", (modality,))
    old = None if found is None else root / INDEXES / found[0]
    return lambda: old.unlink(missing_ok=True) if old else None


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


def _sample(view: View) -> FloatArray:
    shards = [shard for shard in view.shards.values() if shard.n_live]
    each = max(1, _SAMPLED_QUERIES // max(1, len(shards)))
    generator = np.random.default_rng(0)
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
