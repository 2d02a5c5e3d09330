"""Arms of a comparison, and how their rows are made: what every table of a report consists of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from unibind.evaluation.bootstrap import Outcome, summary
from unibind.types import FloatArray, IntArray

__all__ = ["Row", "Tested", "ranks_of", "row_of"]


class Row(TypedDict):
    """One line of a table, as it stands in JSON."""

    arm: str
    default: bool
    r_at_1: float
    r_at_5: float
    interval_r_at_1: list[float]
    interval_r_at_5: list[float]
    n: int
    gallery: int
    chance: float
    seeds: int
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """What one arm did under one seed.

    Attributes:
        ranks: Of each item's right answer, 0 is best, shape (N,).
        clusters: Caption or class of each item, shape (N,).
        gallery: How many answers there were to choose from.
    """

    ranks: IntArray
    clusters: npt.NDArray[np.str_]
    gallery: int

    def within(self, k: int) -> Outcome:
        """Return for each item whether its right answer is among the first k."""
        return Outcome((self.ranks < k).astype(np.float64), self.clusters)


def ranks_of(scores: FloatArray, labels: IntArray) -> IntArray:
    """Return the rank of each item's right answer, 0 is best, shape (N,).

    A tie counts against the item, so that an arm without an opinion does not look good; so does a
    score that is NaN.

    Args:
        scores: Shape (N, C).
        labels: Column of the right answer, shape (N,).
    """
    right = np.take_along_axis(scores, labels[:, None], axis=1)
    ranks: IntArray = scores.shape[1] - 1 - (scores < right).sum(axis=1)
    return ranks


def row_of(arm: str, tested: Sequence[Tested], *, default: bool = False, note: str = "") -> Row:
    """Return an arm's line: means over seeds, with 95 % intervals by bootstrap over clusters."""
    first = summary([each.within(1) for each in tested])
    fifth = summary([each.within(5) for each in tested])
    gallery = round(float(np.mean([each.gallery for each in tested])))
    return Row(
        arm=arm,
        default=default,
        r_at_1=round(first.mean, 4),
        r_at_5=round(fifth.mean, 4),
        interval_r_at_1=[round(first.low, 4), round(first.high, 4)],
        interval_r_at_5=[round(fifth.low, 4), round(fifth.high, 4)],
        n=round(float(np.mean([len(each.ranks) for each in tested]))),
        gallery=gallery,
        chance=round(1 / gallery, 4),
        seeds=len(tested),
        note=note,
    )
