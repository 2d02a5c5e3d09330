"""Calibrated stacking: let classes that were never trained on compete with those that were."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray, IntArray

__all__ = ["SeenUnseen", "choose_penalty", "seen_unseen"]

_SOFTNESS = 0.01
"""A penalty whose harmonic mean is lower by this much weighs e times less."""


@dataclass(frozen=True, slots=True)
class SeenUnseen:
    """Accuracy where seen and unseen classes are all candidates.

    Attributes:
        seen: Share of items of seen classes that are right.
        unseen: Share of items of unseen classes that are right.
    """

    seen: float
    unseen: float

    @property
    def harmonic(self) -> float:
        """Harmonic mean H of the two: high only if both are."""
        total = self.seen + self.unseen
        return 2 * self.seen * self.unseen / total if total else 0.0


def seen_unseen(
    scores: FloatArray, labels: IntArray, is_seen: npt.NDArray[np.bool_], *, penalty: float
) -> SeenUnseen:
    """Return accuracies when `penalty` is taken from the scores of seen classes.

    Args:
        scores: Of N items against C classes, shape (N, C).
        labels: Right class of each item, shape (N,).
        is_seen: Whether each class was trained on, shape (C,).
        penalty: Taken from the columns of seen classes.
    """
    right = (scores - penalty * is_seen).argmax(axis=1) == labels
    of_seen = is_seen[labels]
    return SeenUnseen(
        seen=float(right[of_seen].mean()) if of_seen.any() else 0.0,
        unseen=float(right[~of_seen].mean()) if (~of_seen).any() else 0.0,
    )


def choose_penalty(
    outcomes: Sequence[tuple[FloatArray, IntArray, npt.NDArray[np.bool_]]], *, n_steps: int = 101
) -> float:
    """Return the penalty of seen classes with the highest harmonic mean, over several lists.

    To be called on training classes of which some were left out to play the unseen ones. A few
    hundred items draw a ragged curve; its highest point is where chance was kindest. So penalties
    are averaged, each weighing more the nearer its mean over the lists is to the highest.

    Args:
        outcomes: Scores, shape (N, C), right class of each item, shape (N,), and whether each
            class was trained on, shape (C,). Lists of seen or of unseen classes only say nothing.
        n_steps: Penalties that are tried.

    Source:
        Chao et al., An Empirical Study and Analysis of Generalized Zero-Shot Learning for Object
        Recognition in the Wild, ECCV 2016 (arXiv:1605.04253), eq. 3.
    """
    outcomes = [each for each in outcomes if each[2].any() and not each[2].all()]
    margins = [_margins(scores, is_seen) for scores, _, is_seen in outcomes]
    if not margins:
        return 0.0
    grid = np.quantile(np.concatenate(margins), np.linspace(0, 1, n_steps))

    def mean_at(penalty: float) -> float:
        found = [seen_unseen(*outcome, penalty=penalty).harmonic for outcome in outcomes]
        return float(np.mean(found))

    means = np.array([mean_at(penalty) for penalty in grid])
    weights = np.exp((means - means.max()) / _SOFTNESS)
    average = float(grid @ weights / weights.sum())
    # Between two peaks far apart the average may lie in a valley; then the higher one is taken.
    is_as_good = mean_at(average) >= means.max() - 2 * _SOFTNESS
    return average if is_as_good else float(grid[means.argmax()])


def _margins(scores: FloatArray, is_seen: npt.NDArray[np.bool_]) -> FloatArray:
    """Return by how much the best seen class leads the best unseen one, shape (N,)."""
    seen_best: FloatArray = np.where(is_seen, scores, -np.inf).max(axis=1)
    margins: FloatArray = seen_best - np.where(is_seen, -np.inf, scores).max(axis=1)
    return margins
