"""A network over sets of points: the order of the points does not matter."""

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["PointNetNetwork"]

_WIDTHS = (3, 64, 128, 256)


class PointNetNetwork(nn.Module):
    """Points to features.

    Args:
        dim: Width F of the features.
        seed: Of the random weights.
    """

    def __init__(self, dim: int, *, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for before, after in pairwise(_WIDTHS):
                layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
            self.of_a_point = nn.Sequential(*layers)
            self.of_all = nn.Sequential(nn.Linear(2 * _WIDTHS[-1], dim), nn.ReLU())

    def forward(self, points: Tensor) -> Tensor:
        """Return features, shape (B, F), of clouds, shape (B, M, 3)."""
        each = self.of_a_point(points)  # (B, M, 256)
        features: Tensor = self.of_all(torch.cat([each.amax(dim=1), each.mean(dim=1)], dim=1))
        return features
