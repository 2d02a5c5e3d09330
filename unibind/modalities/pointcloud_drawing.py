"""Points as depth pictures: orthographic, square splats, the nearest wins."""

import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray

__all__ = ["depth_map", "looking"]


def looking(azimuth_deg: float, elevation_deg: float) -> FloatArray:
    """Return the axes of a view, rows right, up and towards the viewer, shape (3, 3).

    Args:
        azimuth_deg: Where the viewer stands around the upright axis z; 0 is in front, at -y.
        elevation_deg: How far above the horizon, below 90.
    """
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    towards = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.cos(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    return np.stack([right, np.cross(towards, right), towards]).astype(np.float32)


def depth_map(
    points: FloatArray, axes: FloatArray, *, side: int, splat: int
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return what is nearest at each pixel: its coordinate towards the viewer, and its point.

    Args:
        points: Within the unit ball, shape (N, 3), N >= 1.
        axes: Of the view, as `looking` returns them.
        side: Pixels of the square; the unit ball touches its edges but for the splats.
        splat: Pixels of a point's side, odd.

    Returns:
        Depth, shape (side, side), in [-1, 1], -inf where nothing is; the row of the point there,
        -1 where nothing is.
    """
    seen = points @ axes.T  # (N, 3): right, up, towards
    reach = (side - splat) / 2
    column = np.round((seen[:, 0] + 1) * reach).astype(np.int64) + splat // 2
    row = np.round((1 - seen[:, 1]) * reach).astype(np.int64) + splat // 2
    np.clip(column, splat // 2, side - 1 - splat // 2, out=column)
    np.clip(row, splat // 2, side - 1 - splat // 2, out=row)
    order = np.argsort(seen[:, 2], kind="stable")  # of those at one pixel the last is nearest
    flat = (row * side + column)[order]
    nearest = np.full(side * side, -1, dtype=np.int64)
    nearest[flat] = order
    depth = np.full(side * side, -np.inf, dtype=np.float32)
    depth[flat] = seen[order, 2]
    return _spread(depth.reshape(side, side), nearest.reshape(side, side), splat // 2)


def _spread(
    depth: FloatArray, nearest: npt.NDArray[np.int64], n: int
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Let each pixel cover the n around it, the nearest in front: along rows, then columns."""
    for axis in (0, 1):
        far, owner = depth, nearest
        for shift in range(-n, n + 1):
            if shift == 0:
                continue
            # Splats stay n from every edge, so that nothing wraps around.
            other, other_owner = np.roll(far, shift, axis), np.roll(owner, shift, axis)
            is_nearer = other > depth
            depth = np.where(is_nearer, other, depth)
            nearest = np.where(is_nearer, other_owner, nearest)
    return depth, nearest
