"""Whether probabilities are right as often as they say, and whether one number tells two kinds."""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from unibind.errors import InvalidInputError

__all__ = ["auroc", "calibration_error", "calibration_floor"]

Numbers = npt.NDArray[np.floating]


def calibration_error(
    probabilities: Numbers, right: npt.NDArray[np.bool_], *, n_bins: int = 10
) -> float:
    """Return the expected calibration error: how far belief and success lie apart, on average.

    Args:
        probabilities: Of each item's likeliest class, in [0, 1], shape (N,).
        right: Whether that class was the right one, shape (N,).
        n_bins: Bins of equal width, weighed by how many items they hold.

    Raises:
        InvalidInputError: There is no item, or not one outcome each.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (arXiv:1706.04599), eq. 3.
    """
    if not len(probabilities) or len(probabilities) != len(right):
        raise InvalidInputError(
            f"{len(probabilities)} probabilities with {len(right)} outcomes; one each, and at "
            "least one, was needed"
        )
    bins = np.minimum((np.asarray(probabilities) * n_bins).astype(int), n_bins - 1)
    apart = np.bincount(bins, probabilities, n_bins) - np.bincount(bins, right, n_bins)
    return float(np.abs(apart).sum() / len(probabilities))


def calibration_floor(
    probabilities: Numbers, *, n_bins: int = 10, n_draws: int = 50, seed: int = 0
) -> float:
    """Return the calibration error that perfect probabilities would show by chance.

    A bin of few items is never exactly right. An error near this floor cannot be told from none.
    """
    generator = np.random.default_rng(seed)
    errors = [
        calibration_error(
            probabilities, generator.random(len(probabilities)) < probabilities, n_bins=n_bins
        )
        for _ in range(n_draws)
    ]
    return float(np.mean(errors))


def auroc(positives: Numbers, negatives: Numbers) -> float:
    """Return how often a positive's number is above a negative's, ties counting half.

    Raises:
        InvalidInputError: There are none of one kind.
    """
    if not len(positives) or not len(negatives):
        raise InvalidInputError(
            f"{len(positives)} positives and {len(negatives)} negatives; both were needed"
        )
    ranks = rankdata(np.concatenate([positives, negatives]))[: len(positives)]
    wins = ranks.sum() - len(positives) * (len(positives) + 1) / 2
    return float(wins / (len(positives) * len(negatives)))
