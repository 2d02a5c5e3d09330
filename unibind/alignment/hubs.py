"""Hubs: points that are near to everything, and so win where they should not."""

import numpy as np

from unibind.types import FloatArray

__all__ = ["N_NEAREST", "without_hubs"]

N_NEAREST = 10


def without_hubs(
    scores: FloatArray, reference_scores: FloatArray | None, *, n_nearest: int = N_NEAREST
) -> FloatArray:
    """Return scores less half of how near each class is to items in general.

    In a space of many dimensions some points are among the nearest of a great many queries. A
    class that is near to the items of other classes too must be nearer still to win.

    Args:
        scores: Of N items against C classes, shape (N, C).
        reference_scores: Of M other items, none of a class that was trained on through them,
            against the same classes, shape (M, C); None or M = 0 leaves the scores as they are.
        n_nearest: A class's mean is taken over this many of the items nearest to it.

    Source:
        Conneau et al., Word Translation Without Parallel Data, ICLR 2018 (arXiv:1710.04087),
        section 2.3 (CSLS): 2 cos - r_T - r_S. We differ: half of it, and r_T is left out, because
        it is the same for all classes of an item.
    """
    if reference_scores is None or not len(reference_scores):
        return scores
    k = min(n_nearest, len(reference_scores))
    nearest = -np.partition(-reference_scores, k - 1, axis=0)[:k]  # (k, C)
    corrected: FloatArray = scores - nearest.mean(axis=0) / 2
    return corrected
