"""The design ``pointnet``: a small network over sets of points, to be trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unibind.encoders.fingerprints import fingerprint_of
from unibind.modalities.pointcloud import POINTCLOUD, READING, accept
from unibind.types import FloatArray

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

__all__ = ["N_POINTS", "PointNet"]

N_POINTS = 1024
"""Points that are drawn of a cloud, with a fixed seed."""

_N_TRAINED = 256
_JITTER, _STRETCH = 0.01, 0.15


class PointNet:
    """The same small network on every point, then the highest value of each feature over all.

    Source:
        Qi et al., PointNet, CVPR 2017 (arXiv:1612.00593). We differ: no learned alignment of the
        input (clouds are upright), 256 instead of 1024 features.
    """

    modality = POINTCLOUD
    dim = 256
    shape = (N_POINTS, 3)
    fingerprint = fingerprint_of(design="pointnet", version=1, n_points=N_POINTS, reading=READING)

    def prepare(self, items: Sequence[Any]) -> FloatArray:
        """Return clouds around their middle, in the unit ball, z up, shape (N, 1024, 3).

        Raises:
            InvalidInputError: An item is not a point cloud that the modality takes.
        """
        prepared = np.zeros((len(items), *self.shape), dtype=np.float32)
        for row, item in enumerate(items):
            points = accept(item).points.astype(np.float64)
            centred = points - (points.max(axis=0) + points.min(axis=0)) / 2
            chosen = np.random.default_rng(0).choice(
                len(points), N_POINTS, replace=len(points) < N_POINTS
            )
            radius = np.linalg.norm(centred, axis=1).max()
            prepared[row] = centred[chosen] / radius
        return prepared

    def network(self, seed: int) -> "nn.Module":
        """Return a new network with random weights: (B, M, 3) to (B, 256), for any M."""
        from unibind.encoders.networks.pointnet import PointNetNetwork

        return PointNetNetwork(self.dim, seed=seed)

    def augment(self, batch: "Tensor", generator: "Generator") -> "Tensor":
        """Return a quarter of the points, turned about the upright axis, stretched and jittered."""
        import torch

        n = len(batch)
        rows = torch.randperm(batch.shape[1], generator=generator)[:_N_TRAINED]
        angles = 2 * torch.pi * torch.rand(n, generator=generator)
        turn = torch.zeros(n, 3, 3)
        turn[:, 0, 0] = turn[:, 1, 1] = angles.cos()
        turn[:, 0, 1], turn[:, 1, 0] = -angles.sin(), angles.sin()
        turn[:, 2, 2] = 1
        stretch = (_STRETCH * torch.randn(n, 1, 3, generator=generator)).exp()
        moved = (batch[:, rows] * stretch) @ turn
        return moved + _JITTER * torch.randn(moved.shape, generator=generator)
