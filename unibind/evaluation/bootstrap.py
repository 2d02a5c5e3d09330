"""Intervals for means over items that were tested under several seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError

__all__ = ["Outcome", "Summary", "difference", "summary"]

_N_DRAWS = 2000
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one seed measured.

    Attributes:
        values: One number per tested item (1 right, 0 wrong, say), shape (N,).
        clusters: What each item belongs to, shape (N,): items of one class or caption stand and
            fall together, so they are drawn together.
    """

    values: npt.NDArray[np.float64]
    clusters: npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Summary:
    """A mean over seeds with its interval.

    Attributes:
        mean: Of the seeds' means.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def summary(outcomes: Sequence[Outcome], *, seed: int = 0) -> Summary:
    """Return the mean over seeds and its 95 % interval, by bootstrap over clusters.

    The seeds share their items, so they are no independent repeats: each draw takes clusters with
    replacement and gives every seed the same ones.

    Args:
        outcomes: One per seed.
        seed: Of the draws.

    Raises:
        InvalidInputError: There is no outcome, or one without items.

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 2.4 and 3.8.
    """
    if not outcomes or any(not len(outcome.values) for outcome in outcomes):
        raise InvalidInputError("nothing was tested, so there is no mean; give at least one item")
    names = np.unique(np.concatenate([outcome.clusters for outcome in outcomes]))
    sums = np.zeros((len(outcomes), len(names)))
    counts = np.zeros((len(outcomes), len(names)))
    for s, outcome in enumerate(outcomes):
        rows = np.searchsorted(names, outcome.clusters)
        np.add.at(sums[s], rows, outcome.values)
        np.add.at(counts[s], rows, 1)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=_N_DRAWS
    )
    with np.errstate(invalid="ignore"):
        means = np.nanmean((drawn @ sums.T) / (drawn @ counts.T), axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Summary(float((sums.sum(axis=1) / counts.sum(axis=1)).mean()), float(low), float(high))


def difference(outcomes: Sequence[Outcome], others: Sequence[Outcome], *, seed: int = 0) -> Summary:
    """Return the mean of paired differences, outcomes less others, with its 95 % interval.

    Args:
        outcomes: One per seed.
        others: Of the same items under the same seeds.
        seed: Of the draws.

    Raises:
        InvalidInputError: They are not of the same items.
    """
    if len(outcomes) != len(others) or any(
        not np.array_equal(one.clusters, other.clusters)
        for one, other in zip(outcomes, others, strict=True)
    ):
        raise InvalidInputError("the two arms did not test the same items; pair them by seed")
    paired = [
        Outcome(one.values - other.values, one.clusters)
        for one, other in zip(outcomes, others, strict=True)
    ]
    return summary(paired, seed=seed)
