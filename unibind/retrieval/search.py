"""How a question is answered: by the index where that is right and faster, exactly otherwise.

Whatever proposes the candidates, the score of a hit is the inner product with the stored vector.
Exact questions get it with the same bits in a batch, alone and on the next page.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.retrieval.calibration import Calibrated, Float64Array, calibrated
from unibind.retrieval.faiss_index import Found, Index, exact, n_threads, scored
from unibind.retrieval.filters import Filter
from unibind.retrieval.reading import Tables
from unibind.retrieval.schema import SLOT_BITS
from unibind.retrieval.view import BoolArray, Shard, View
from unibind.types import FloatArray, IntArray

__all__ = ["Matches", "Question", "Ranking", "above", "nearest"]

# Of scores that differ in float32's last bits, which comes first is chance: look a little deeper.
_SPARE = 4
_BLOCK_ROWS = 65_536
# From this batch on BLAS beats a scan that can leave rows out.
_BLAS_QUERIES = 20
_REMEMBERED = 16
_PART_QUERIES = 192


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

    def parts(self) -> Sequence["Question"]:
        """Return questions about parts of the queries, to be answered side by side.

        One part where FAISS compares all queries with a row at a time, or a condition is evaluated.
        """
        if len(self.queries) < 2 * _PART_QUERIES:
            return [self]
        # As many for each thread; FAISS is slower with parts that are much shorter.
        n_parts = n_threads() * (len(self.queries) // (n_threads() * _PART_QUERIES))
        if n_parts < 2 or n_threads() < 2 or self.exactly or self.condition is not None:
            return [self]
        if not all(shard.index and shard.index.plan.walks for shard in self.shards):
            return [self]
        return [replace(self, queries=part) for part in np.array_split(self.queries, n_parts)]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best items for each query.

    Attributes:
        ids: Item ids, shape (B, m), the best m; -1 where there are fewer.
        scores: Their scores, shape (B, m); -inf where there are fewer.
        is_complete: Whether no further item could be ranked.
    """

    ids: IntArray
    scores: Float64Array
    is_complete: bool


class Matches:
    """Which slots fulfil a condition, remembered: a slot's content never changes.

    A condition that was asked before costs only the slots that are new since.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], BoolArray] = OrderedDict()
        self._lock = threading.Lock()

    def among(self, tables: Tables, shard: Shard, condition: Filter | None) -> BoolArray | None:
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
            rows = tables.execute(
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
    tables: Tables, view: View, question: Question, depth: int, matches: Matches
) -> Ranking:
    """Return the best `depth` items of each query."""
    ids, scores = [], []
    is_complete = True
    for shard in question.shards:
        among = matches.among(tables, shard, question.condition)
        n_match = shard.n_slots if among is None else int(np.count_nonzero(among))
        if not n_match:
            continue
        asked = _asked(question, shard, view)
        is_complete = is_complete and n_match <= depth
        found = _proposed(shard, asked.queries, min(depth, n_match), among, n_match, question)
        # -1 keeps all its bits whatever is added to it.
        ids.append(shard.ids(found.slots))
        scores.append(asked.scores(found.scores))
    return _merged(len(question.queries), ids, scores, depth, is_complete)


def above(
    tables: Tables, view: View, question: Question, lowest: float, matches: Matches
) -> Ranking:
    """Return every item whose score is at least `lowest`, by a full scan."""
    ids, scores = [], []
    for shard in question.shards:
        among = matches.among(tables, shard, question.condition)
        asked = _asked(question, shard, view)
        slots = shard.live_slots if among is None else np.flatnonzero(among)
        for start in range(0, len(slots), _BLOCK_ROWS):
            block = slots[start : start + _BLOCK_ROWS]
            near = asked.scores(asked.queries @ shard.vectors[block].T)  # (B, D) @ (D, n)
            taken = (near >= lowest).any(axis=0)
            ids.append(np.where(near >= lowest, shard.ids(block), -1)[:, taken])
            scores.append(np.where(near >= lowest, near, -np.inf)[:, taken])
    width = sum(part.shape[1] for part in ids)
    return _merged(len(question.queries), ids, scores, width, True)


def _asked(question: Question, shard: Shard, view: View) -> Calibrated:
    return calibrated(
        question.queries,
        shard,
        view.shards,
        calibration=question.calibration,
        query_modality=question.query_modality,
    )


def _proposed(
    shard: Shard,
    queries: FloatArray,
    k: int,
    among: BoolArray | None,
    n_match: int,
    question: Question,
) -> Found:
    """Return the k best slots or more, with their inner products."""
    index = shard.index
    if question.exactly:
        return _repeatable(shard.vectors, queries, min(k + _SPARE, n_match), among)
    if index is None:
        return _exact(shard.vectors, queries, k, among, n_match)
    covered = None if among is None else among[: index.n_slots]
    n_covered = index.n_slots if covered is None else int(np.count_nonzero(covered))
    share = n_covered / index.n_slots
    if not share or index.plan.n_scanned(index.n_slots, share) >= n_covered:
        return _exact(shard.vectors, queries, k, among, n_match)
    found = _indexed(index, shard.vectors, queries, min(k, n_covered), share, covered)
    short = _short(found, min(k, n_covered))
    if index.n_slots < shard.n_slots:
        # What was added since the index was built is few, and scanned.
        n_rest = shard.n_slots - index.n_slots
        tail = None if among is None else among[index.n_slots :]
        rest = exact(shard.vectors[index.n_slots :], queries, min(k, n_rest), among=tail)
        slots = np.where(rest.slots >= 0, rest.slots + index.n_slots, -1)
        found = Found(np.hstack([found.slots, slots]), np.hstack([found.scores, rest.scores]))
    if short:
        found = _replaced(found, short, _exact(shard.vectors, queries[short], k, among, n_match))
    return found


def _indexed(
    index: Index,
    vectors: FloatArray,
    queries: FloatArray,
    k: int,
    share: float,
    among: BoolArray | None,
) -> Found:
    if among is None:
        return index.nearest(queries, k)
    found = index.candidates(queries, k, effort=index.plan.effort, share=share, among=among)
    found = _masked(found, among)
    if index.plan.keeps_vectors:
        return found
    found = scored(vectors, queries, found.slots)
    if found.slots.shape[1] <= k:
        return found
    best = np.argpartition(-found.scores, k - 1, axis=1)[:, :k]
    rows = np.arange(len(queries))[:, None]
    return Found(found.slots[rows, best], found.scores[rows, best])


def _exact(
    vectors: FloatArray, queries: FloatArray, k: int, among: BoolArray | None, n_match: int
) -> Found:
    if among is None or len(queries) < _BLAS_QUERIES:
        return exact(vectors, queries, k, among=among)
    share = n_match / len(vectors)
    if share < 0.5:
        return _gathered(vectors, queries, k, np.flatnonzero(among))
    n_asked = min(int(1.5 * k / share) + 16, len(vectors))
    found = _masked(exact(vectors, queries, n_asked), among)
    short = _short(found, k)
    if short:
        return _replaced(found, short, exact(vectors, queries[short], k, among=among))
    return found


def _repeatable(vectors: FloatArray, queries: FloatArray, k: int, among: BoolArray | None) -> Found:
    """Return as `exact`, with scores whose bits do not depend on what else is asked or stored.

    FAISS's own depend on how many queries, rows and threads there are.
    """
    slots = exact(vectors, queries, k, among=among).slots
    scores = np.empty(slots.shape, dtype=np.float64)
    for line, query, line_slots in zip(scores, queries, slots, strict=True):
        rows = vectors[np.maximum(line_slots, 0)]
        line[:] = np.einsum("md,d->m", rows, query, dtype=np.float64)
    return Found(slots, np.where(slots >= 0, scores, -np.inf))


def _gathered(vectors: FloatArray, queries: FloatArray, k: int, slots: IntArray) -> Found:
    ids, scores = [], []
    for start in range(0, len(slots), _BLOCK_ROWS):
        block = slots[start : start + _BLOCK_ROWS]
        found = exact(np.ascontiguousarray(vectors[block]), queries, min(k, len(block)))
        ids.append(block[found.slots])
        scores.append(found.scores)
    return Found(np.hstack(ids), np.hstack(scores))


def _masked(found: Found, among: BoolArray) -> Found:
    is_in = (found.slots >= 0) & among[found.slots]
    return Found(
        np.where(is_in, found.slots, -1), np.where(is_in, found.scores, np.float32(-np.inf))
    )


def _short(found: Found, k: int) -> Sequence[int]:
    """Return the lines with fewer than k slots."""
    lines = enumerate(found.slots.tolist())
    return [n for n, line in lines if -1 in line and len(line) - line.count(-1) < k]


def _replaced(found: Found, lines: Sequence[int], others: Found) -> Found:
    width = max(found.slots.shape[1], others.slots.shape[1])
    slots, scores = _padded(found.slots, width, -1), _padded(found.scores, width, -np.inf)
    slots[lines] = _padded(others.slots, width, -1)
    scores[lines] = _padded(others.scores, width, -np.inf)
    return Found(slots, scores)


def _merged(
    n_queries: int,
    ids: Sequence[IntArray],
    scores: Sequence[Float64Array],
    depth: int,
    is_complete: bool,
) -> Ranking:
    if not ids:
        return Ranking(np.empty((n_queries, 0), np.int64), np.empty((n_queries, 0)), True)
    if len(ids) == 1 and ids[0].shape[1] <= depth:
        return Ranking(ids[0], scores[0], is_complete)  # `hits` puts each line in order.
    all_ids, all_scores = np.hstack(ids), np.hstack(scores)
    all_scores = np.where(all_ids >= 0, all_scores, -np.inf)
    # Equal scores are ranked by id, so that the same question has the same answer.
    order = np.lexsort((all_ids, -all_scores), axis=1)[:, :depth]
    rows = np.arange(n_queries)[:, None]
    return Ranking(all_ids[rows, order], all_scores[rows, order], is_complete)


def _padded(values: npt.NDArray[Any], width: int, value: float) -> npt.NDArray[Any]:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=value)
