"""A point cloud in 99 numbers that no network makes: proportions and where its points lie."""

from functools import cache

import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray

__all__ = ["N_DESCRIPTORS", "describe", "in_unit_ball"]

_N_PAIRS = 20_000
_N_DISTANCES, _N_HEIGHTS, _N_RADII, _N_SLICES = 32, 16, 16, 8
_TINY = np.float32(1e-6)

N_DESCRIPTORS = 3 + _N_DISTANCES + _N_HEIGHTS + _N_RADII + 4 * _N_SLICES


def in_unit_ball(points: FloatArray) -> FloatArray:
    """Return points, shape (N, 3), moved to their mean and scaled so that the farthest is at 1."""
    # Twice, since squares of lengths beyond 1e19 are not float32.
    small = points / np.abs(points).max()
    centred = small - small.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.asarray(centred / np.linalg.norm(centred, axis=1).max(), dtype=np.float32)


def describe(points: FloatArray) -> FloatArray:
    """Return the descriptors of a cloud in the unit ball, shape (99,).

    Extents along x, y and z; the shares of distances between random pairs (D2), of heights and of
    distances from the upright axis in equal bins; and for each eighth of the height its share of
    the points, its width, its depth and its mean distance from the axis.

    Args:
        points: As `in_unit_ball` returns them, z up, shape (N, 3).

    Source:
        Osada et al., Shape Distributions, ACM TOG 21(4), 2002, for D2; the pairs are drawn with a
        fixed seed. The rest is ours.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    extent = high - low
    height = (points[:, 2] - low[2]) / max(extent[2], _TINY)  # 0 to 1
    radius = np.linalg.norm(points[:, :2], axis=1)
    first, second = _pairs(len(points))
    distance = np.linalg.norm(points[first] - points[second], axis=1)
    parts = [
        extent,
        _shares(distance, _N_DISTANCES, 2.0),
        _shares(height, _N_HEIGHTS, 1.0),
        _shares(radius, _N_RADII, 1.0),
        _slices(points, height, radius),
    ]
    descriptors: FloatArray = np.concatenate(parts).astype(np.float32)
    return descriptors


@cache
def _pairs(n: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, n, (2, _N_PAIRS))


def _shares(values: FloatArray, n_bins: int, highest: float) -> npt.NDArray[np.float64]:
    bins = np.clip((values / highest * n_bins).astype(np.int64), 0, n_bins - 1)
    shares: npt.NDArray[np.float64] = np.bincount(bins, minlength=n_bins) / len(values)
    return shares


def _slices(points: FloatArray, height: FloatArray, radius: FloatArray) -> FloatArray:
    found = np.zeros((_N_SLICES, 4), dtype=np.float32)
    which = np.clip((height * _N_SLICES).astype(np.int64), 0, _N_SLICES - 1)
    for n in range(_N_SLICES):
        inside = which == n
        if inside.any():
            width, depth = np.ptp(points[inside, :2], axis=0)
            found[n] = inside.mean(), width, depth, radius[inside].mean()
    return found.ravel()
