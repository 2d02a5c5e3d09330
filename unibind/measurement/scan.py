"""The instrument "scan": the real size of one upright thing, how full it is, how symmetric."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.modalities.pointcloud import POINTCLOUD, PointCloud, accept
from unibind.types import FloatArray

__all__ = ["Scanner"]

_Array = npt.NDArray[np.float64]

_ENOUGH = 1000
"""Fewer points say how large a thing is, but neither how full nor how symmetric."""

_NEIGHBOURS = 8
_PER_COLUMN = 12
_COLUMNS = 64
_FLAT = 1e-6
_NEAR = 0.05
"""A mirrored point agrees if another is nearer than this share of the box's longest side."""

_N_MIRRORED = 2048


class Scanner:
    """Measures a whole cloud of one upright thing, of which z is up.

    The sizes are those of the upright box of least ground area, so that it does not matter which
    way the thing faces; every point counts, so strays must be removed before. They are NaN where
    the length of the cloud's unit is not known. Of a surface as of a solid cloud, `fill` is the
    share of the box between the outermost points along each line, taken along the three axes of
    the box, and the least of the three: what is open to one side counts as empty.
    `mirror_symmetry` is the share of points whose mirror image lies near a point, for the better
    one of the two upright planes through the middle of the box.
    """

    modality = POINTCLOUD
    sensor = "scan"
    attributes = ("height_m", "length_m", "width_m", "fill", "mirror_symmetry")

    def measure(self, items: Sequence[Any]) -> FloatArray:
        """Return the attributes of point clouds, shape (N, 5); NaN where one does not apply.

        Raises:
            InvalidInputError: An item is not a point cloud that the modality takes.
        """
        rows = np.full((len(items), len(self.attributes)), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            rows[row] = _attributes(accept(item))
        return rows


def _attributes(cloud: PointCloud) -> tuple[float, ...]:
    points = _in_box(cloud.points.astype(np.float64))
    length, width, height = np.ptp(points, axis=0)
    unit = np.nan if cloud.metres_per_unit is None else cloud.metres_per_unit
    sizes = (height * unit, length * unit, width * unit)
    if len(points) < _ENOUGH:
        return (*sizes, np.nan, np.nan)
    return (*sizes, _fill(points), _mirror_symmetry(points))


def _in_box(points: _Array) -> _Array:
    """Return points turned about z so that their box has the least ground area, its middle at 0.

    x is along its longer horizontal side.
    """
    corners = _outline(points[:, :2])
    edges = np.diff(corners, axis=0, append=corners[:1])
    angles = np.unique(np.arctan2(edges[:, 1], edges[:, 0]) % (np.pi / 2))
    cos, sin = np.cos(angles), np.sin(angles)
    turns = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)  # (E, 2, 2)
    extents = np.ptp(corners @ turns.transpose(0, 2, 1), axis=1)  # (E, 2)
    best = int(np.argmin(extents.prod(axis=1)))
    along = turns[best] if extents[best, 0] >= extents[best, 1] else turns[best][::-1]
    turned = np.concatenate([points[:, :2] @ along.T, points[:, 2:]], axis=1)
    return np.asarray(turned - (turned.min(axis=0) + turned.max(axis=0)) / 2)


def _outline(plan: _Array) -> _Array:
    """Return the corners of the convex hull of points in a plane, shape (E, 2), E >= 2."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return np.asarray(plan[ConvexHull(plan).vertices])
    except (QhullError, ValueError):  # they lie on a line, or are two
        centred = plan - plan.mean(axis=0)
        along = np.linalg.svd(centred, full_matrices=False)[2][0]
        place = centred @ along
        return np.asarray(plan[[place.argmin(), place.argmax()]])


def _fill(points: _Array) -> float:
    """Return the least of the shares of the box that lie between points, by direction; or NaN."""
    extent = np.ptp(points, axis=0)
    if extent.min() <= _FLAT * extent.max():  # a flat thing has no volume to fill
        return float("nan")
    side = _column_side(points)
    turned = [np.roll(points, turn, axis=1) for turn in range(3)]
    fine = min(_between(each, side) for each in turned)
    coarse = min(_between(each, 2 * side) for each in turned)
    # A column reaches up to the highest point in it: too far, in proportion to its side. Legs and
    # blades thinner than a column are no more than that: there the rule of proportion ends.
    return float(np.clip(2 * fine - coarse, fine / 2, fine))


def _column_side(points: _Array) -> float:
    """Return the side of a square of surface on which about a dozen points lie."""
    from scipy.spatial import cKDTree

    step = max(1, len(points) // _N_MIRRORED)
    distance = cKDTree(points).query(points[::step], k=[_NEIGHBOURS + 1])[0]  # itself is the first
    area = np.pi * float(np.median(distance)) ** 2 / _NEIGHBOURS
    return max(float(np.sqrt(_PER_COLUMN * area)), float(np.ptp(points, axis=0).max()) / _COLUMNS)


def _between(points: _Array, side: float) -> float:
    """Return the share of the box between the outermost points of its columns along z."""
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    n = np.maximum(np.round(extent[:2] / side), 1).astype(np.int64)
    cell = np.minimum(((points[:, :2] - low[:2]) / extent[:2] * n).astype(np.int64), n - 1)
    column = cell[:, 0] * n[1] + cell[:, 1]
    bottom, top = np.full(n.prod(), np.inf), np.full(n.prod(), -np.inf)
    np.minimum.at(bottom, column, points[:, 2])
    np.maximum.at(top, column, points[:, 2])
    return float(np.maximum(top - bottom, 0).mean() / extent[2])


def _mirror_symmetry(points: _Array) -> float:
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    step = max(1, len(points) // _N_MIRRORED)
    reach = _NEAR * np.ptp(points, axis=0).max()
    shares = []
    for axis in (0, 1):
        mirrored = points[::step].copy()
        mirrored[:, axis] *= -1
        distance, _ = tree.query(mirrored, distance_upper_bound=reach)
        shares.append(float(np.isfinite(distance).mean()))
    return max(shares)
