"""What each training item is pulled towards: a class's point, or its own caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray

__all__ = ["Targets"]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """U distinct points of the space, and which of them each of N items belongs to.

    Attributes:
        names: What the points are called: class names or captions, shape (U,).
        points: Unit-length rows, shape (U, D).
        rows: Point of each item, int64 in [0, U), shape (N,).
    """

    names: tuple[str, ...]
    points: FloatArray
    rows: IntArray

    @classmethod
    def from_labels(cls, labels: Sequence[str], centers: ClassCenters) -> "Targets":
        """Return the targets of items with labels: their class's point.

        Only classes that have an item are kept.

        Raises:
            InvalidInputError: There are no items, or a label is not among the centers.
        """
        unknown = sorted(set(labels) - set(centers.labels))
        if unknown:
            raise InvalidInputError(
                f"{len(unknown)} labels have no center, first {unknown[0]!r}; "
                "add the classes to the knowledge base, or leave their items out"
            )
        point_of = dict(zip(centers.labels, centers.points(), strict=True))
        return cls._of(labels, point_of)

    @classmethod
    def from_captions(cls, captions: Sequence[str], embeddings: FloatArray) -> "Targets":
        """Return the targets of items with captions: the captions' own embeddings, shape (N, D).

        Equal captions are one target.

        Raises:
            InvalidInputError: There are no items, or not one embedding for each.
        """
        if len(captions) != len(embeddings):
            raise InvalidInputError(
                f"{len(captions)} captions with {len(embeddings)} embeddings; one each is needed"
            )
        point_of = dict(zip(captions, unit(embeddings), strict=True))
        return cls._of(captions, point_of)

    @classmethod
    def _of(cls, names: Sequence[str], point_of: Mapping[str, FloatArray]) -> "Targets":
        if not names:
            raise InvalidInputError("no training items; a head needs at least two")
        distinct = sorted(set(names))
        number = {name: row for row, name in enumerate(distinct)}
        return cls(
            names=tuple(distinct),
            points=np.stack([point_of[name] for name in distinct]),
            rows=np.array([number[name] for name in names], dtype=np.int64),
        )

    def of_items(self) -> FloatArray:
        """Return the target of each item, shape (N, D)."""
        return self.points[self.rows]

    def folds(self, n_folds: int, *, seed: int) -> list[IntArray]:
        """Split the items into folds such that all items of one point fall into one fold.

        A fit without a fold has never seen the fold's classes.
        """
        n_points = len(self.names)
        fold_of = np.random.default_rng(seed).permutation(n_points) % min(n_folds, n_points)
        return [
            np.flatnonzero(fold_of[self.rows] == fold) for fold in range(min(n_folds, n_points))
        ]
