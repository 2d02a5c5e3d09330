"""One order from several: reciprocal rank fusion."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

__all__ = ["fused"]

Item = TypeVar("Item", bound=Hashable)


def fused(rankings: Sequence[Sequence[Item]], *, damping: float = 60.0) -> list[tuple[Item, float]]:
    """Return the items of several rankings by the sum of 1 / (damping + rank), best first.

    Only ranks count, so scores of different kinds (a cosine, BM25) need no common scale. Items of
    equal sums stay in the order in which the rankings name them.

    Args:
        rankings: Each best first; ranks start at 1.
        damping: How little the very first ranks stand out.

    Source:
        Cormack, Clarke and Buettcher, Reciprocal Rank Fusion, SIGIR 2009; damping 60 is theirs.
    """
    sums: dict[Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            sums[item] = sums.get(item, 0.0) + 1.0 / (damping + rank)
    return sorted(sums.items(), key=lambda pair: -pair[1])
