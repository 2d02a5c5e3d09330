"""From a ranking of ids to hits: resolved, ordered, cut, paged, grouped, fused with words."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from unibind.errors import InvalidInputError
from unibind.retrieval.faiss_index import shared_out
from unibind.retrieval.fulltext import ranked_by_words
from unibind.retrieval.fusion import fused
from unibind.retrieval.guard import check_k, check_score
from unibind.retrieval.reading import Tables
from unibind.retrieval.resolver import order
from unibind.retrieval.search import Matches, Question, above, nearest
from unibind.retrieval.view import View
from unibind.types import FloatArray, Hit

__all__ = ["Cut", "answered"]

# How far FAISS's float32 order may be from that of the float64 scores.
_EDGE = 1e-5
_MOST_ITEMS = 1 << 62


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of a ranking is wanted.

    Attributes:
        k: How many hits; None for all above `lowest`.
        lowest: Hits below this score are left out.
        after: Only what comes after this hit, in the order of (-score, key).
        group_by: ``"modality"``, or a metadata field: only the best hit for each of its values.
        texts: For each query the words that are ranked, too, or None.
    """

    k: int | None
    lowest: float = -np.inf
    after: Hit | None = None
    group_by: str | None = None
    texts: Sequence[str] | None = None

    @classmethod
    def checked(
        cls,
        queries: FloatArray | None,
        *,
        k: int | None,
        min_score: float | None,
        group_by: str | None,
        after: Hit | None,
        text: str | Sequence[str] | None,
    ) -> Self:
        """Return the cut that the arguments of `LocalStore.search` ask for.

        Raises:
            InvalidInputError: They do not go together, or one is not as needed.
        """
        if k is None and min_score is None:
            raise InvalidInputError("k is None, so a min_score was needed; or give a k")
        if queries is None and text is None:
            raise InvalidInputError("search was given neither queries nor text; give one")
        lowest = -np.inf if min_score is None else check_score(min_score, what="min_score")
        k = None if k is None else check_k(k)
        if text is None:
            return cls(k, lowest, after, group_by)
        if k is None or min_score is not None or group_by is not None or after is not None:
            raise InvalidInputError(
                "text was given with min_score, group_by, after or without k; "
                "ranks of vectors and words have no common score: search by one of them"
            )
        n_texts = 1 if queries is None else len(queries)
        texts = [text] * n_texts if isinstance(text, str) else list(text)
        if queries is not None and len(texts) != n_texts:
            raise InvalidInputError(
                f"there are {len(texts)} texts for {n_texts} queries; give as many"
            )
        return cls(k, texts=texts)


def answered(
    tables: Tables,
    view: View,
    question: Question,
    cut: Cut,
    *,
    matches: Matches,
) -> list[list[Hit]]:
    """Return the hits of each query of a question."""
    if cut.texts is not None:
        return _hybrid(tables, view, question, cut, matches)
    if cut.k is None:
        ranking = above(tables, view, question, cut.lowest, matches)
        return [_wanted(line, cut) for line in view.hits(tables, ranking.ids, ranking.scores)]
    if cut.after is None and cut.group_by is None and not question.exactly:

        def found(part: Question, k: int = cut.k) -> list[list[Hit]]:
            return _ranked(tables, view, part, k, matches)[0]

        lines = [line for part in shared_out(found, question.parts()) for line in part]
        if cut.lowest == -np.inf:
            return lines
        return [[hit for hit in line if hit.score >= cut.lowest] for line in lines]
    return _deepened(lambda depth: _ranked(tables, view, question, depth, matches), cut, cut.k)


def _ranked(
    tables: Tables,
    view: View,
    question: Question,
    depth: int,
    matches: Matches,
) -> tuple[list[list[Hit]], bool]:
    ranking = nearest(tables, view, question, depth, matches)
    return view.hits(tables, ranking.ids, ranking.scores), ranking.is_complete


def _deepened(
    ranked: Callable[[int], tuple[list[list[Hit]], bool]], cut: Cut, k: int
) -> list[list[Hit]]:
    """Return k wanted hits of each line, ranking deeper until there are, ties and all."""
    depth = 2 * k + 16
    while True:
        lines, is_complete = ranked(depth)
        # Of equal scores at the lower edge some may not have been ranked yet.
        sure = lines if is_complete else [_without_edge(line) for line in lines]
        found = [_wanted(line, cut) for line in sure]
        # Below the lowest score nothing more can come.
        done = [
            len(hits) >= k or bool(line and line[-1].score < cut.lowest)
            for hits, line in zip(found, sure, strict=True)
        ]
        if is_complete or all(done):
            return [hits[:k] for hits in found]
        depth *= 4


def _hybrid(
    tables: Tables,
    view: View,
    question: Question,
    cut: Cut,
    matches: Matches,
) -> list[list[Hit]]:
    assert cut.k is not None
    assert cut.texts is not None
    depth = min(max(4 * cut.k, 64), _MOST_ITEMS)
    by_vector: list[list[int]] = [[] for _ in cut.texts]
    if len(question.queries):
        ranking = nearest(tables, view, question, depth, matches)
        by_vector = [[item for item in ids if item >= 0] for ids in ranking.ids.tolist()]
    numbers = [shard.modality for shard in question.shards]
    best = []
    for text, vector_ids in zip(cut.texts, by_vector, strict=True):
        word_ids = ranked_by_words(
            tables, text, modalities=numbers, condition=question.condition, depth=depth
        )
        best.append(fused([vector_ids, word_ids])[: cut.k])
    ids = np.full((len(best), max(map(len, best), default=0)), -1, dtype=np.int64)
    scores = np.full(ids.shape, -np.inf)
    for row, line in enumerate(best):
        ids[row, : len(line)] = [item for item, _ in line]
        scores[row, : len(line)] = [score for _, score in line]
    return view.hits(tables, ids, scores)


def _without_edge(line: list[Hit]) -> list[Hit]:
    return [hit for hit in line if hit.score > line[-1].score + _EDGE]


def _wanted(line: list[Hit], cut: Cut) -> list[Hit]:
    hits = [hit for hit in line if hit.score >= cut.lowest]
    if cut.group_by is not None:
        first: dict[str, Hit] = {}
        for hit in hits:
            first.setdefault(_group(hit, cut.group_by), hit)
        hits = list(first.values())
    if cut.after is not None:
        start = order(cut.after)
        hits = [hit for hit in hits if order(hit) > start]
    return hits


def _group(hit: Hit, group_by: str) -> str:
    if group_by == "modality":
        return hit.modality
    # Items without the field are one group, as are those where it is null.
    return json.dumps(hit.metadata.get(group_by), sort_keys=True)
