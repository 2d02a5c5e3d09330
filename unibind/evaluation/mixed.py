"""Seen and unseen classes on one list: harmonic means and their intervals, by bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.evaluation.bootstrap import Summary

__all__ = ["Mixed", "harmonic_difference", "harmonic_summary"]

_N_DRAWS = 2000
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """What one seed measured where all classes were candidates.

    Attributes:
        right: Whether each of N items was put into its class, shape (N,).
        is_seen: Whether that class was trained on, shape (N,).
        clusters: What each item belongs to, shape (N,); drawn together.
    """

    right: npt.NDArray[np.bool_]
    is_seen: npt.NDArray[np.bool_]
    clusters: npt.NDArray[np.str_]


def harmonic_summary(outcomes: Sequence[Mixed], *, seed: int = 0) -> Summary:
    """Return the harmonic mean of the accuracies on seen and on unseen classes, over seeds.

    Args:
        outcomes: One per seed.
        seed: Of the draws.

    Raises:
        InvalidInputError: A seed has no item of one of the two kinds.
    """
    return _told(_harmonics(outcomes, seed))


def harmonic_difference(
    outcomes: Sequence[Mixed], others: Sequence[Mixed], *, seed: int = 0
) -> Summary:
    """Return how much higher the harmonic mean of one arm is than of another, clusters paired.

    Args:
        outcomes: One per seed.
        others: Of the same items under the same seeds.
        seed: Of the draws.

    Raises:
        InvalidInputError: They are not of the same items, or a seed has none of one kind.
    """
    if len(outcomes) != len(others) or any(
        not np.array_equal(one.clusters, other.clusters)
        or not np.array_equal(one.is_seen, other.is_seen)
        for one, other in zip(outcomes, others, strict=True)
    ):
        raise InvalidInputError("the two arms did not test the same items; pair them by seed")
    return _told(_harmonics(outcomes, seed) - _harmonics(others, seed))


def _harmonics(outcomes: Sequence[Mixed], seed: int) -> npt.NDArray[np.float64]:
    """Return the mean of the seeds' harmonic means: as measured first, then of each draw."""
    if not outcomes or any(each.is_seen.all() or not each.is_seen.any() for each in outcomes):
        raise InvalidInputError("each seed needs items of seen classes and of unseen ones")
    names = np.unique(np.concatenate([each.clusters for each in outcomes]))
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=_N_DRAWS
    )
    weights = np.concatenate([np.ones((1, len(names))), drawn])  # as measured, then the draws
    found = []
    for each in outcomes:
        of = np.searchsorted(names, each.clusters)
        shares = []
        for kind in (each.is_seen, ~each.is_seen):
            counts = np.bincount(of[kind], minlength=len(names))
            hits = np.bincount(of[kind & each.right], minlength=len(names))
            with np.errstate(invalid="ignore"):  # a draw without any such item says nothing
                shares.append((weights @ hits) / (weights @ counts))
        seen, unseen = shares
        with np.errstate(invalid="ignore"):
            harmonic = 2 * seen * unseen / (seen + unseen)
        found.append(np.where(seen + unseen == 0, 0.0, harmonic))
    means: npt.NDArray[np.float64] = np.nanmean(found, axis=0)
    return means


def _told(harmonics: npt.NDArray[np.float64]) -> Summary:
    low, high = np.nanquantile(harmonics[1:], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Summary(float(harmonics[0]), float(low), float(high))
