"""What each training item is pulled towards: a class's point, or its own caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import check_rows, unit
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
        are_classes: Whether the points are classes; captions are not: each says more than one
            thing, so that no list of names tells what was seen in training.
        centers: The K centers behind each point, unit length, shape (U, K, D), for losses that
            tell them apart; None if there is but the point.
    """

    names: tuple[str, ...]
    points: FloatArray
    rows: IntArray
    are_classes: bool = True
    centers: FloatArray | None = None

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
        targets = cls._of(labels, point_of, are_classes=True)
        place = {label: c for c, label in enumerate(centers.labels)}
        kept = [place[name] for name in targets.names]
        return replace(targets, centers=centers.directions()[kept])

    @classmethod
    def from_captions(cls, captions: Sequence[str], embeddings: FloatArray) -> "Targets":
        """Return the targets of items with captions: the captions' own embeddings, shape (N, D).

        Equal captions are one target.

        Raises:
            InvalidInputError: There are no items, not one embedding for each, or one is NaN.
        """
        if len(captions) != len(embeddings):
            raise InvalidInputError(
                f"{len(captions)} captions with {len(embeddings)} embeddings; one each is needed"
            )
        rows = check_rows(embeddings, width=embeddings.shape[-1], what="embeddings of captions")
        point_of = dict(zip(captions, unit(rows), strict=True))
        return cls._of(captions, point_of, are_classes=False)

    @classmethod
    def _of(
        cls, names: Sequence[str], point_of: Mapping[str, FloatArray], *, are_classes: bool
    ) -> "Targets":
        if not names:
            raise InvalidInputError("no training items; a head needs at least two")
        distinct = sorted(set(names))
        number = {name: row for row, name in enumerate(distinct)}
        return cls(
            names=tuple(distinct),
            points=np.stack([point_of[name] for name in distinct]),
            rows=np.array([number[name] for name in names], dtype=np.int64),
            are_classes=are_classes,
        )

    def of_items(self) -> FloatArray:
        """Return the target of each item, shape (N, D)."""
        return self.points[self.rows]

    def folds(self, n_folds: int, *, seed: int, among: IntArray | None = None) -> list[IntArray]:
        """Split the items into folds such that all items of one point fall into one fold.

        A fit without a fold has never seen the fold's classes. A fold of one class alone could
        not tell a good fit from a bad one, so there are fewer folds if there are few classes.

        Args:
            n_folds: How many folds at most.
            seed: Of the split.
            among: The points to split, in [0, U); items of others are in no fold. All by default.
        """
        points = np.unique(self.rows if among is None else among)
        n_folds = min(n_folds, len(points), max(2, len(points) // 2))
        fold_of = np.full(len(self.names), -1)
        fold_of[points] = np.random.default_rng(seed).permutation(len(points)) % n_folds
        return [np.flatnonzero(fold_of[self.rows] == fold) for fold in range(n_folds)]
