from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.types import FloatArray, SpaceId

SPACE = SpaceId("the space of these tests")


@dataclass(frozen=True)
class Planted:
    """Items whose true map into the space is known: feature = points[label] @ map + noise.

    Attributes:
        centers: Of C classes, one sentence each, not centred.
        labels: Name of each item's class, shape (N,).
        features: Shape (N, F).
    """

    centers: ClassCenters
    labels: tuple[str, ...]
    features: FloatArray

    def of(self, names: tuple[str, ...]) -> "Planted":
        """Return the items and centers of some classes."""
        kept = [row for row, label in enumerate(self.labels) if label in names]
        chosen = [self.centers.labels.index(name) for name in names]
        centers = ClassCenters(names, self.centers.vectors[chosen], SPACE, centred=False)
        return Planted(centers, tuple(self.labels[row] for row in kept), self.features[kept])


@pytest.fixture
def plant() -> Callable[..., Planted]:
    """Return a maker of planted items."""

    def make(
        *, n_classes: int, n_items: int, dim: int = 8, width: int = 20, noise: float, seed: int = 0
    ) -> Planted:
        generator = np.random.default_rng(seed)
        points = unit(generator.normal(size=(n_classes, dim)))
        names = tuple(f"class {c:03}" for c in range(n_classes))
        rows = np.repeat(np.arange(n_classes), n_items)
        clean = points[rows] @ generator.normal(size=(dim, width))
        features = clean + noise * generator.normal(size=clean.shape) + generator.normal(size=width)
        centers = ClassCenters(names, points[:, None, :], SPACE, centred=False)
        return Planted(centers, tuple(names[row] for row in rows), features.astype(np.float32))

    return make


@pytest.fixture
def draw() -> Callable[..., FloatArray]:
    """Return a function that draws unit-length rows."""
    generator = np.random.default_rng(0)
    return lambda *shape: unit(generator.normal(size=shape))
