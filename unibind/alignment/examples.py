"""A few labelled examples: they move a class at once, and can be taken back. Nothing is trained."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from unibind import artifact
from unibind.alignment.calibration import Calibration, calibrate
from unibind.alignment.centers import ClassCenters
from unibind.alignment.decision import is_same_class
from unibind.alignment.geometry import check_rows, unit
from unibind.alignment.hubs import without_hubs
from unibind.alignment.posterior import Posterior, Seen
from unibind.alignment.reasons import Part
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, SpaceId

__all__ = ["Examples", "Learned", "Seen"]

KIND = "examples"
FORMAT_VERSION = 1
_FILE = "examples.safetensors"


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

    def learned(
        self, examples: Seen, centers: ClassCenters, *, references: FloatArray
    ) -> "Learned":
        """Return what these examples teach of listed classes.

        Args:
            examples: These, in both places.
            centers: Of the C listed classes.
            references: By which hubs are known, shape (M, D); empty if there is no head.
        """
        taught = {c: rows for c, rows in enumerate(self.of(centers.labels)) if rows}
        by_text = _by_text(examples.embeddings, centers, references)
        # A head standardises looks: what has nothing in common is at right angles.
        posterior = Posterior.of(taught, examples, by_text, is_centred=bool(len(references)))
        return Learned(centers, references, examples, by_text, posterior)

    def scores(
        self,
        items: Seen,
        examples: Seen,
        centers: ClassCenters,
        *,
        references: FloatArray,
    ) -> FloatArray:
        """Return how near items are to classes, by their texts and these examples, shape (N, C).

        See `Learned.scores`.

        Args:
            items: What is asked about.
            examples: As in `learned`.
            centers: As in `learned`.
            references: As in `learned`.
        """
        return self.learned(examples, centers, references=references).scores(items)

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


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Listed classes as their texts and some examples tell them.

    Attributes:
        centers: Of the C classes.
        references: By which hubs are known, shape (R, D); may be empty.
        examples: All M examples, in both places.
        by_text: Scores of the examples by the texts alone, shape (M, C).
        posterior: What the examples add.
    """

    centers: ClassCenters
    references: FloatArray
    examples: Seen
    by_text: FloatArray
    posterior: Posterior

    def scores(self, items: Seen) -> FloatArray:
        """Return how near items are to classes, by their texts and the examples, shape (N, C).

        The text is the prior mean of a Gaussian process, and the examples are its
        observations: a class scores `HEIGHT` for its own and 0 for all others, but for `NOISE`.
        Without examples it is the text alone; what looks like none of them, too, is left to it.

        Having been taught is no merit: where other listed classes were not, what teaching gives to
        any item at all is taken off again, the same for all taught classes.
        """
        return self.raised(_by_text(items.embeddings, self.centers, self.references), items)

    def raised(self, by_text: FloatArray, items: Seen) -> FloatArray:
        """Return scores by the texts alone, shape (N, C), with what the examples add to them."""
        scores = by_text.copy()
        scores[:, self.posterior.columns] += self.posterior.raises(items)
        return scores

    def calibration(self, least: float) -> Calibration | None:
        """Return how sure to be of the scores: the examples, each left out in turn, tell it.

        None where fewer than two classes have two examples or more, which is no list to be sure of.

        Args:
            least: The temperature of the text alone; examples make nobody surer than that.
        """
        own = self.posterior.own
        counts = np.bincount(own[own >= 0], minlength=len(self.posterior.columns))
        rows = np.flatnonzero((own >= 0) & (counts[own] > 1))
        if (counts > 1).sum() < 2:
            return None
        scores = self.by_text.copy()
        scores[:, self.posterior.columns] += self.posterior.without_item()
        found = calibrate([(scores[rows], self.posterior.columns[own[rows]])])
        if found is None or found.temperature >= least:
            return found
        return Calibration(least, found.doubt)

    def part(self, label: str, item: Seen) -> Part | None:
        """Return what the examples of a class say of an item, None if it has none.

        Args:
            label: The class.
            item: One item.
        """
        column = self.centers.labels.index(label)
        places = np.flatnonzero(self.posterior.columns == column)
        if not len(places):
            return None
        rows = np.flatnonzero(self.posterior.own == places[0])
        alike = float(item.looks[0] @ unit(self.examples.looks[rows].sum(axis=0)))
        what = "the one example" if len(rows) == 1 else f"the mean of {len(rows)} examples"
        raised = float(self.posterior.raises(item)[0, places[0]])
        return Part(f"looks like {what} (cosine {alike:.2f})", raised, "example")


def _by_text(embeddings: FloatArray, centers: ClassCenters, references: FloatArray) -> FloatArray:
    """Return how near embeddings are to the texts of classes, shape (N, C)."""
    told = centers.scores(references) if len(references) else None
    return without_hubs(centers.scores(embeddings), told)
