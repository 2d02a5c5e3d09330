"""Calibrated stacking: let classes that were never trained on compete with those that were."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray, IntArray

__all__ = ["SeenUnseen", "choose_penalty", "seen_unseen"]


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
    scores: FloatArray, labels: IntArray, is_seen: npt.NDArray[np.bool_], *, n_steps: int = 81
) -> float:
    """Return the penalty of seen classes with the highest harmonic mean.

    To be called on training classes of which some were left out to play the unseen ones. Of
    equally good penalties the middle of the widest run is returned.

    Source:
        Chao et al., An Empirical Study and Analysis of Generalized Zero-Shot Learning for Object
        Recognition in the Wild, ECCV 2016 (arXiv:1605.04253), eq. 3.
    """
    seen_best = np.where(is_seen, scores, -np.inf).max(axis=1)
    unseen_best = np.where(is_seen, -np.inf, scores).max(axis=1)
    margins = seen_best - unseen_best
    margins = margins[np.isfinite(margins)]
    if not margins.size:
        return 0.0
    grid = np.quantile(margins, np.linspace(0, 1, n_steps))
    harmonics = [seen_unseen(scores, labels, is_seen, penalty=g).harmonic for g in grid]
    best = np.flatnonzero(np.isclose(harmonics, max(harmonics)))
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    widest = max(runs, key=lambda run: float(grid[run[-1]] - grid[run[0]]))
    return float(grid[widest[len(widest) // 2]])
