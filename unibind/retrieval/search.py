"""How a question is answered: by the index where that is right and faster, exactly otherwise.

Whatever proposes the candidates, the score of a hit is computed here from the stored vector, in
float64, so it has the same bits in a batch, alone, on the next page and for every kind of index.
"""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unibind.retrieval.calibration import Calibrated, Float64Array, calibrated
from unibind.retrieval.faiss_index import exact
from unibind.retrieval.filters import Filter
from unibind.retrieval.schema import SLOT_BITS
from unibind.retrieval.view import BoolArray, Shard, View
from unibind.types import FloatArray, IntArray

__all__ = ["Matches", "Question", "Ranking", "above", "nearest"]

# FAISS ranks in float32: near ties at the edge may be the wrong way round until re-scored.
_SPARE = 4
_BLOCK_ROWS = 65_536
_GATHERED_VALUES = 1 << 24
# From this batch on BLAS beats a scan that can leave rows out.
_BLAS_QUERIES = 20
_REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class Question:
    """What all shards are asked.

    Attributes:
        queries: Unit length, shape (B, D).
        shards: The modalities to search.
        calibration: Name of one, see `unibind.retrieval.calibration`.
        query_modality: What the queries are, or None.
        condition: What hits must fulfil, or None.
        exactly: Leave the indexes aside.
    """

    queries: FloatArray
    shards: Sequence[Shard]
    calibration: str = "none"
    query_modality: str | None = None
    condition: Filter | None = None
    exactly: bool = False


@dataclass(frozen=True, slots=True)
class Ranking:
    """Items in order for each query.

    Attributes:
        ids: Item ids, shape (B, m), best first; -1 where there are fewer.
        scores: Their scores, shape (B, m); -inf where there are fewer.
        is_complete: Whether no further item could be ranked.
    """

    ids: IntArray
    scores: Float64Array
    is_complete: bool

    def lines(self) -> Iterator[list[tuple[int, float]]]:
        """Yield for each query the pairs of id and score."""
        for ids, scores in zip(self.ids.tolist(), self.scores.tolist(), strict=True):
            yield [pair for pair in zip(ids, scores, strict=True) if pair[0] >= 0]


class Matches:
    """Which slots fulfil a condition, remembered: a slot's content never changes.

    A condition that was asked before costs only the slots that are new since.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], BoolArray] = OrderedDict()
        self._lock = threading.Lock()

    def among(
        self, connection: sqlite3.Connection, shard: Shard, condition: Filter | None
    ) -> BoolArray | None:
        """Return the slots that take part, shape (n_slots,); None for all of them."""
        if condition is None:
            return None if shard.n_live == shard.n_slots else shard.alive
        key = (shard.modality, shard.segment, condition.sql, condition.values)
        with self._lock:
            known = self._known.get(key, np.zeros(0, dtype=np.bool_))
        if len(known) < shard.n_slots:
            first = shard.modality << SLOT_BITS
            fresh = np.zeros(shard.n_slots, dtype=np.bool_)
            fresh[: len(known)] = known
            rows = connection.execute(
                f"SELECT id - ? FROM items WHERE id >= ? AND id < ? AND ({condition.sql})",
                (first, first + len(known), first + shard.n_slots, *condition.values),
            ).fetchall()
            fresh[np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))] = True
            known = fresh
            with self._lock:
                self._known[key] = known
                self._known.move_to_end(key)
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return known[: shard.n_slots] & shard.alive


def nearest(
    connection: sqlite3.Connection, view: View, question: Question, depth: int, matches: Matches
) -> Ranking:
    """Return the best `depth` items of each query."""
    ids, scores = [], []
    is_complete = True
    for shard in question.shards:
        among = matches.among(connection, shard, question.condition)
        n_match = shard.n_slots if among is None else int(np.count_nonzero(among))
        if not n_match:
            continue
        asked = calibrated(
            question.queries,
            shard,
            view.shards,
            calibration=question.calibration,
            query_modality=question.query_modality,
        )
        is_complete = is_complete and n_match <= depth
        slots = _proposed(shard, asked, min(depth, n_match), among, n_match, question.exactly)
        found, found_scores = _rescored(shard, asked, slots, min(depth, n_match))
        ids.append(np.where(found >= 0, shard.ids(found), -1))
        scores.append(found_scores)
    if not ids:
        n_queries = len(question.queries)
        return Ranking(np.empty((n_queries, 0), np.int64), np.empty((n_queries, 0)), True)
    return _merged(np.hstack(ids), np.hstack(scores), depth, is_complete)


def above(
    connection: sqlite3.Connection, view: View, question: Question, lowest: float, matches: Matches
) -> Ranking:
    """Return every item whose score is at least `lowest`, by a full scan."""
    ids, scores = [], []
    for shard in question.shards:
        among = matches.among(connection, shard, question.condition)
        asked = calibrated(
            question.queries,
            shard,
            view.shards,
            calibration=question.calibration,
            query_modality=question.query_modality,
        )
        slots = shard.live_slots if among is None else np.flatnonzero(among)
        for start in range(0, len(slots), _BLOCK_ROWS):
            block = slots[start : start + _BLOCK_ROWS]
            near = asked.scores(
                (asked.queries @ shard.vectors[block].T).astype(np.float64)
            )  # (B, D) @ (D, n) -> (B, n)
            rough = (near >= lowest - 1e-5).any(axis=0)
            taken = np.broadcast_to(block[rough], (len(near), int(rough.sum())))
            found, found_scores = _rescored(shard, asked, taken, len(block))
            outside = found_scores < lowest
            ids.append(np.where(outside, -1, shard.ids(found)))
            scores.append(np.where(outside, -np.inf, found_scores))
    if not ids:
        n_queries = len(question.queries)
        return Ranking(np.empty((n_queries, 0), np.int64), np.empty((n_queries, 0)), True)
    width = sum(part.shape[1] for part in ids)
    return _merged(np.hstack(ids), np.hstack(scores), width, True)


def _proposed(
    shard: Shard,
    asked: Calibrated,
    k: int,
    among: BoolArray | None,
    n_match: int,
    exactly: bool,
) -> IntArray:
    """Return candidate slots, shape (B, k or more), -1 where there are fewer."""
    index = shard.index
    if index is None or exactly:
        return _exact(shard.vectors, asked.queries, k, among, n_match)
    covered = None if among is None else among[: index.n_slots]
    n_covered = index.n_slots if covered is None else int(np.count_nonzero(covered))
    share = n_covered / index.n_slots
    if not share or index.plan.n_scanned(index.n_slots, share) >= n_covered:
        return _exact(shard.vectors, asked.queries, k, among, n_match)
    wanted = min(k + _SPARE, n_covered)
    slots = index.candidates(
        asked.queries, wanted, effort=index.plan.effort, share=share, among=covered
    )
    if covered is not None:
        slots = np.where((slots >= 0) & covered[slots], slots, -1)
    short = np.flatnonzero((slots >= 0).sum(axis=1) < min(k, n_covered))
    parts = [slots]
    if index.n_slots < shard.n_slots:
        # What was added since the index was built is few, and scanned.
        tail = None if among is None else among[index.n_slots :]
        rest = exact(
            shard.vectors[index.n_slots :],
            asked.queries,
            min(k + _SPARE, shard.n_slots - index.n_slots),
            among=tail,
        )
        parts.append(np.where(rest >= 0, rest + index.n_slots, -1))
    slots = np.hstack(parts)
    if short.size:
        full = _exact(shard.vectors, asked.queries[short], k, among, n_match)
        width = max(full.shape[1], slots.shape[1])
        slots = _padded(slots, width)
        slots[short] = _padded(full, width)
    return slots


def _exact(
    vectors: FloatArray, queries: FloatArray, k: int, among: BoolArray | None, n_match: int
) -> IntArray:
    wanted = min(k + _SPARE, n_match)
    if among is None or len(queries) < _BLAS_QUERIES:
        return exact(vectors, queries, wanted, among=among)
    share = n_match / len(vectors)
    if share < 0.5:
        return _gathered(vectors, queries, wanted, np.flatnonzero(among))
    n_asked = min(int(1.5 * wanted / share) + 16, len(vectors))
    slots = exact(vectors, queries, n_asked)
    slots = np.where(among[slots], slots, -1)
    short = np.flatnonzero((slots >= 0).sum(axis=1) < wanted)
    if short.size:
        found = exact(vectors, queries[short], wanted, among=among)
        slots[short] = _padded(found, slots.shape[1])
    return slots


def _gathered(vectors: FloatArray, queries: FloatArray, k: int, slots: IntArray) -> IntArray:
    parts = []
    for start in range(0, len(slots), _BLOCK_ROWS):
        block = slots[start : start + _BLOCK_ROWS]
        rows = exact(np.ascontiguousarray(vectors[block]), queries, min(k, len(block)))
        parts.append(block[rows])
    return np.hstack(parts)


def _rescored(
    shard: Shard, asked: Calibrated, slots: IntArray, keep: int
) -> tuple[IntArray, Float64Array]:
    """Return the best of the candidates, shape (B, keep or fewer), and their exact scores."""
    n_queries, n_candidates = slots.shape
    step = max(1, _GATHERED_VALUES // max(1, n_candidates * shard.vectors.shape[1]))
    kept, products = [], []
    for start in range(0, n_queries, step):
        part, queries = slots[start : start + step], asked.queries[start : start + step]
        rows = shard.vectors[np.maximum(part, 0)]  # (b, m, D)
        if n_candidates > 2 * keep + _SPARE:
            rough = np.matmul(rows, queries[:, :, None])[:, :, 0]  # (b, m, D) @ (b, D, 1)
            rough[part < 0] = -np.inf
            best = np.argpartition(-rough, keep + _SPARE - 1, axis=1)[:, : keep + _SPARE]
            part = np.take_along_axis(part, best, axis=1)
            rows = np.take_along_axis(rows, best[:, :, None], axis=1)
        kept.append(part)
        products.append(np.einsum("bmd,bd->bm", rows, queries, dtype=np.float64))
    found = np.vstack(kept) if kept else slots
    scores = asked.scores(np.vstack(products) if products else np.zeros(slots.shape))
    return found, np.where(found >= 0, scores, -np.inf)


def _merged(ids: IntArray, scores: Float64Array, depth: int, is_complete: bool) -> Ranking:
    # Equal scores are ranked by id, so that the same question has the same answer.
    order = np.lexsort((ids, -scores), axis=1)[:, :depth]
    return Ranking(
        np.take_along_axis(ids, order, axis=1),
        np.take_along_axis(scores, order, axis=1),
        is_complete,
    )


def _padded(slots: IntArray, width: int) -> IntArray:
    padding = np.full((len(slots), width - slots.shape[1]), -1, dtype=np.int64)
    return np.hstack([slots, padding])
