"""Whether probabilities are right as often as they say, and whether one number tells two kinds."""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from unibind.errors import InvalidInputError

__all__ = [
    "auroc",
    "calibration_error",
    "calibration_floor",
    "calibration_interval",
    "debiased_calibration_error",
]

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


def debiased_calibration_error(
    probabilities: Numbers,
    right: npt.NDArray[np.bool_],
    *,
    n_bins: int = 10,
    n_draws: int = 200,
    seed: int = 0,
) -> float:
    """Return the calibration error less what chance adds to it, 0 if chance explains all of it.

    A bin's share of successes is drawn again around what was seen; by as much as that raises the
    error, chance is taken to have raised it already.

    Raises:
        InvalidInputError: As in `calibration_error`.

    Source:
        Kumar et al., Verified Uncertainty Calibration, NeurIPS 2019 (arXiv:1909.10155), section 5;
        for absolute differences as in their library: twice the error less the mean redrawn one.
    """
    plain = calibration_error(probabilities, right, n_bins=n_bins)
    bins = np.minimum((np.asarray(probabilities) * n_bins).astype(int), n_bins - 1)
    counts = np.maximum(np.bincount(bins, minlength=n_bins), 1)
    believed = np.bincount(bins, probabilities, n_bins) / counts
    found = np.bincount(bins, right, n_bins) / counts
    noise = np.random.default_rng(seed).normal(size=(n_draws, n_bins))
    redrawn = found + noise * np.sqrt(found * (1 - found) / counts)
    weights = np.bincount(bins, minlength=n_bins) / len(bins)
    raised = np.abs(believed - redrawn) @ weights
    return max(0.0, 2 * plain - float(raised.mean()))


def calibration_interval(
    probabilities: Numbers,
    right: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.integer],
    *,
    n_draws: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of the calibration error, by bootstrap over clusters.

    Args:
        probabilities: As in `calibration_error`.
        right: As in `calibration_error`.
        clusters: What each item stands and falls with, such as its class, shape (N,).
        n_draws: Draws.
        seed: Of the draws.
    """
    names, of = np.unique(clusters, return_inverse=True)
    rows = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
    generator, errors = np.random.default_rng(seed), []
    for _ in range(n_draws):
        drawn = np.concatenate([rows[c] for c in generator.integers(len(names), size=len(names))])
        errors.append(calibration_error(probabilities[drawn], right[drawn]))
    low, high = np.quantile(errors, [0.025, 0.975])
    return float(low), float(high)


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
