"""A few labelled examples: they move a class at once, and can be taken back. Nothing is trained."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from unibind import artifact
from unibind.alignment.centers import ClassCenters
from unibind.alignment.decision import is_same_class
from unibind.alignment.geometry import check_rows, unit
from unibind.alignment.hubs import without_hubs
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, Reason, SpaceId

__all__ = ["TEXT_COUNTS", "Examples", "Seen"]

KIND = "examples"
FORMAT_VERSION = 1
_FILE = "examples.safetensors"

TEXT_COUNTS = 2.0
"""A class's text counts as much as this many examples."""

OWN_SHARE = 0.25
"""How far from strangers' raise to their own taught classes must come to win; chosen on emoji."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Items in both of the places where they are compared.

    Attributes:
        embeddings: In the space, unit length, shape (N, D).
        looks: What a head reads of them, standardised, unit length, shape (N, F').
    """

    embeddings: FloatArray
    looks: FloatArray

    def at(self, rows: Sequence[int]) -> "Seen":
        """Return some of the items."""
        return Seen(self.embeddings[list(rows)], self.looks[list(rows)])


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Features of labelled items, kept as they came so that they outlive a head.

    Attributes:
        labels: Class of each, shape (M,).
        features: By the encoder, shape (M, F).
        encoder: Fingerprint of the encoder.
    """

    labels: tuple[str, ...]
    features: FloatArray
    encoder: str

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.features):
            raise InvalidInputError(
                f"{len(self.features)} examples with {len(self.labels)} labels; one each is needed"
            )
        blank = [row for row, label in enumerate(self.labels) if not label.strip()]
        if blank:
            raise InvalidInputError(f"example {blank[0] + 1} has an empty label")

    def __len__(self) -> int:
        return len(self.labels)

    def plus(self, labels: Sequence[str], features: FloatArray) -> "Examples":
        """Return these and more of them; an item that is there already is not taken twice.

        Raises:
            InvalidInputError: Not one label each, of another width, or NaN.
        """
        rows = check_rows(features, width=self.features.shape[1], what="features of examples")
        Examples(tuple(labels), rows, self.encoder)
        known = {
            (label, row.tobytes()) for label, row in zip(self.labels, self.features, strict=True)
        }
        fresh = []
        for place, (label, row) in enumerate(zip(labels, rows, strict=True)):
            if (label, row.tobytes()) not in known:
                known.add((label, row.tobytes()))
                fresh.append(place)
        return Examples(
            (*self.labels, *(labels[place] for place in fresh)),
            np.concatenate([self.features, rows[fresh]]),
            self.encoder,
        )

    def without(self, labels: Collection[str]) -> "Examples":
        """Return those of other classes."""
        kept = [
            row
            for row, label in enumerate(self.labels)
            if not any(is_same_class(label, other) for other in labels)
        ]
        return Examples(tuple(self.labels[row] for row in kept), self.features[kept], self.encoder)

    def of(self, labels: Sequence[str]) -> list[list[int]]:
        """Return for each of some classes the rows of its examples."""
        return [
            [row for row, label in enumerate(self.labels) if is_same_class(label, name)]
            for name in labels
        ]

    def scores(
        self,
        items: Seen,
        examples: Seen,
        centers: ClassCenters,
        *,
        references: FloatArray,
    ) -> FloatArray:
        """Return how near items are to classes, by their texts and these examples, shape (N, C).

        A class with n examples moves to ``unit(k t + sum of their embeddings)``, t being the point
        of its text and k = 2; and what looks like the mean of them gains ``n / (n + k)`` times the
        cosine of the looks. Both are means with the text as prior: without examples it is the text
        alone, with many the text hardly counts.

        Having been taught is no merit: where other listed classes were not, what teaching gives to
        any item at all is taken off again, the same for all taught classes.

        Args:
            items: What is asked about.
            examples: These, in the same places.
            centers: Of the C classes.
            references: By which hubs are known, shape (M, D); may be empty.

        Source:
            The cache of Zhang et al., Tip-Adapter, ECCV 2022 (arXiv:2207.09519), and the shrunken
            mean of Snell et al., Prototypical Networks, NeurIPS 2017 (arXiv:1703.05175). We
            differ: no exponential of the affinities, weights that follow from n, and the head
            start taken off.
        """
        scores = _by_text(items, centers, references)
        points = centers.points()
        taught = {c: rows for c, rows in enumerate(self.of(centers.labels)) if rows}
        if taught and len(taught) < len(centers.labels):
            raised = _by_text(examples, centers, references)
            start = np.float32(_head_start(examples, taught, points, raised, references))
        else:
            start = np.float32(0)
        for column, rows in taught.items():
            shown = examples.at(rows)
            scores[:, column] = _near(items, shown, points[column], references) - start
        return scores

    def reasons(self, label: str, look: FloatArray, examples: Seen) -> tuple[Reason, ...]:
        """Return what the examples of a class say of an item, nothing if it has none.

        Args:
            label: The class.
            look: Of the item, unit length, shape (F',).
            examples: These, as in `scores`.
        """
        rows = self.of([label])[0]
        if not rows:
            return ()
        alike = float(look @ unit(examples.looks[rows].sum(axis=0)))
        share = alike * len(rows) / (len(rows) + TEXT_COUNTS)
        what = "the one example" if len(rows) == 1 else f"the mean of {len(rows)} examples"
        return (Reason(f"looks like {what} (cosine {alike:.2f})", share, "example"),)

    def save(self, path: Path, *, space: SpaceId) -> None:
        """Write the examples as a folder; what was there is replaced.

        Raises:
            ArtifactError: The place cannot be written.
        """
        with artifact.writing(
            path,
            kind=KIND,
            format_version=FORMAT_VERSION,
            space=space,
            params={"labels": list(self.labels), "encoder": self.encoder},
        ) as folder:
            features = np.ascontiguousarray(self.features)
            (folder / _FILE).write_bytes(save({"features": features}))

    @classmethod
    def open(cls, path: Path) -> "Examples":
        """Read examples that `save` wrote.

        Raises:
            ArtifactError: They are missing or damaged.
        """
        manifest = artifact.verify(path, kind=KIND, format_version=FORMAT_VERSION)
        features = load_file(path / _FILE)["features"]
        return cls(tuple(manifest.params["labels"]), features, manifest.params["encoder"])


def _by_text(items: Seen, centers: ClassCenters, references: FloatArray) -> FloatArray:
    """Return how near items are to the texts of classes, shape (N, C)."""
    told = centers.scores(references) if len(references) else None
    return without_hubs(centers.scores(items.embeddings), told)


def _near(items: Seen, shown: Seen, point: FloatArray, references: FloatArray) -> FloatArray:
    """Return how near items are to one class that has examples, shape (N,)."""
    n = len(shown.looks)
    moved = unit(TEXT_COUNTS * point + shown.embeddings.sum(axis=0))
    told = references @ moved[:, None] if len(references) else None
    near: FloatArray = without_hubs(items.embeddings @ moved[:, None], told)[:, 0]
    alike = items.looks @ unit(shown.looks.sum(axis=0))
    return near + np.float32(n / (n + TEXT_COUNTS)) * alike


def _head_start(
    examples: Seen,
    taught: Mapping[int, list[int]],
    points: FloatArray,
    by_text: FloatArray,
    references: FloatArray,
) -> float:
    """Return by how much teaching raises a class's score for items that are none of its own.

    Examples of other classes tell it; of one class alone, half of what its own gain. A part of
    the way to its own examples, each left out in turn, is added.

    Args:
        examples: All of them.
        taught: Column of each taught class to the rows of its examples.
        points: Of all classes, shape (C, D).
        by_text: How near the examples are to the texts, shape (M, C).
        references: As in `Examples.scores`.
    """
    strangers, own = [], []
    for column, rows in taught.items():
        others = [row for row in range(len(by_text)) if row not in rows]
        if others:
            near = _near(examples.at(others), examples.at(rows), points[column], references)
            strangers.append(float((near - by_text[others, column]).mean()))
        for row in rows:
            rest = [other for other in rows if other != row] or rows
            near = _near(examples.at([row]), examples.at(rest), points[column], references)
            own.append(float(near[0] - by_text[row, column]))
    gain = float(np.mean(own))
    strange = float(np.mean(strangers)) if strangers else gain / 2
    return strange + OWN_SHARE * max(0.0, gain - strange)
