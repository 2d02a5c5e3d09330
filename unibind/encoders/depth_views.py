"""Point clouds as an image tower sees them: ten depth pictures, with shape descriptors beside."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.encoders import efficientnet_lite
from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.shape_descriptors import N_DESCRIPTORS, describe, in_unit_ball
from unibind.encoders.through_pictures import ThroughPictures
from unibind.modalities.pointcloud import POINTCLOUD, READING, accept
from unibind.modalities.pointcloud_drawing import depth_map, looking
from unibind.protocols import Encoder
from unibind.types import FloatArray

__all__ = ["VIEWS", "DepthViews", "depth_pictures", "load"]

VIEWS = (*((azimuth, 15.0) for azimuth in range(0, 360, 45)), (30.0, 60.0), (0.0, 0.0))
"""Azimuth and elevation of each view, in degrees: around, from above, and from the front."""

SIDE = 112
"""Pixels of a depth map's side; each becomes 2 x 2 of the picture, so that splats close gaps."""

SPLAT = 5
NEAR, FAR, GROUND = 30, 200, 255
"""Grey of the nearest point there can be, of the farthest, and of what is empty."""


class DepthViews:
    """Features of ten depth pictures, joined by their mean and their maximum, and of the shape.

    Colours are not looked at, nor is the size of the thing: its proportions are.

    Args:
        tower: The image tower, of width F.
        fingerprint: Of the tower together with how pictures and descriptors are made.

    Source:
        Zhang et al., PointCLIP: Point Cloud Understanding by CLIP, CVPR 2022, section 3.2. We
        differ: the tower was not trained with a text tower, so a head is needed; views are joined
        without learned weights; and descriptors stand beside them.
    """

    modality = POINTCLOUD

    def __init__(self, tower: Encoder, *, fingerprint: str) -> None:
        self.dim = 2 * tower.dim + N_DESCRIPTORS
        self.fingerprint = fingerprint
        self._views = ThroughPictures(
            tower, modality=POINTCLOUD, pictures=depth_pictures, fingerprint=fingerprint
        )

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return features of point clouds, shape (N, 2F + 99), not normalised.

        Raises:
            InvalidInputError: An item is not a point cloud that the modality takes.
        """
        clouds = [accept(item) for item in items]
        features = np.zeros((len(clouds), self.dim), dtype=np.float32)
        seen = self._views.encode_pictures(clouds)
        for row, (cloud, views) in enumerate(zip(clouds, seen, strict=True)):
            shape = describe(in_unit_ball(cloud.points))
            features[row] = np.concatenate([views.mean(axis=0), views.max(axis=0), shape])
        return features


def depth_pictures(item: Any) -> list[npt.NDArray[np.uint8]]:
    """Return the ten depth pictures of a point cloud, uint8, shape (224, 224, 3), grey on white.

    Raises:
        InvalidInputError: It is none.
    """
    points = in_unit_ball(accept(item).points)
    return [_picture(points, axes) for axes in _axes()]


@cache
def _axes() -> tuple[FloatArray, ...]:
    return tuple(looking(azimuth, elevation) for azimuth, elevation in VIEWS)


def _picture(points: FloatArray, axes: FloatArray) -> npt.NDArray[np.uint8]:
    depth, nearest = depth_map(points, axes, side=SIDE, splat=SPLAT)
    grey = np.full(depth.shape, GROUND, dtype=np.uint8)
    is_shown = nearest >= 0
    # Depth runs from -1, the farthest, to 1.
    grey[is_shown] = np.round(NEAR + (FAR - NEAR) * (1 - depth[is_shown]) / 2)
    doubled = grey.repeat(2, axis=0).repeat(2, axis=1)
    return np.repeat(doubled[:, :, None], 3, axis=2)


def load() -> DepthViews:
    """Return the encoder over the image tower ``efficientnet-lite0``.

    Raises:
        FetchError: The tower's weights are not here; the message names the command that brings
            them.
    """
    tower = efficientnet_lite.load()
    return DepthViews(tower, fingerprint=_fingerprint(tower))


def _fingerprint(tower: Encoder) -> str:
    return fingerprint_of(
        architecture="depth views, mean and maximum, and shape descriptors",
        version=1,
        tower=tower.fingerprint,
        views=VIEWS,
        side=SIDE,
        splat=SPLAT,
        greys=[NEAR, FAR, GROUND],
        reading=READING,
    )
