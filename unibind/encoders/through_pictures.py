"""Encoders of what can be shown: an item becomes one or more pictures, an image tower sees them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.protocols import Encoder, LabelledEncoder
from unibind.types import FloatArray, Modality

__all__ = ["LabelledThroughPictures", "ThroughPictures", "through_pictures"]

_AT_ONCE = 64
"""Pictures that are handed to the tower at once: enough to keep its threads busy."""

Picturing = Callable[[Any], Sequence[npt.NDArray[np.uint8]]]
"""An item, checked, to pictures of it, uint8 (H, W, 3), at least one."""


class ThroughPictures:
    """Shows items to an image tower and returns the mean of its features over an item's pictures.

    The features are the tower's own, so whatever was trained on pictures fits them: a head, a
    semantic prior.

    Args:
        tower: The image tower.
        modality: What is read.
        pictures: Makes pictures of an item; raises InvalidInputError of what is none.
        fingerprint: Of the tower together with how pictures are made.
    """

    def __init__(
        self, tower: Encoder, *, modality: Modality, pictures: Picturing, fingerprint: str
    ) -> None:
        self.modality = modality
        self.dim = tower.dim
        self.fingerprint = fingerprint
        self.image_tower = tower.fingerprint
        self._tower = tower
        self._pictures = pictures

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the mean features of items, shape (N, F), not normalised.

        Raises:
            InvalidInputError: An item is not of the modality.
        """
        means = np.zeros((len(items), self.dim), dtype=np.float32)
        for row, features in enumerate(self.encode_pictures(items)):
            means[row] = features.mean(axis=0)
        return means

    def encode_pictures(self, items: Sequence[Any]) -> Iterator[FloatArray]:
        """Yield for each item the tower's features of its pictures, shape (T, F).

        Raises:
            InvalidInputError: An item is not of the modality.
        """
        waiting: list[npt.NDArray[np.uint8]] = []
        counts: list[int] = []
        for item in items:
            pictures = self._pictures(item)
            waiting += pictures
            counts.append(len(pictures))
            if len(waiting) >= _AT_ONCE:
                yield from self._flush(waiting, counts)
                waiting, counts = [], []
        if counts:
            yield from self._flush(waiting, counts)

    def _flush(
        self, pictures: Sequence[npt.NDArray[np.uint8]], counts: Sequence[int]
    ) -> list[FloatArray]:
        features = self._tower.encode(pictures)
        return np.split(features, np.cumsum(counts)[:-1])


class LabelledThroughPictures(ThroughPictures):
    """The same through a tower that was trained to name things, and so names these.

    Args:
        tower: The image tower.
        modality: As in `ThroughPictures`.
        pictures: As in `ThroughPictures`.
        fingerprint: As in `ThroughPictures`.
    """

    def __init__(
        self, tower: LabelledEncoder, *, modality: Modality, pictures: Picturing, fingerprint: str
    ) -> None:
        super().__init__(tower, modality=modality, pictures=pictures, fingerprint=fingerprint)
        self.labels = tower.labels
        self.label_texts = tower.label_texts
        self._namer = tower

    def logits(self, features: FloatArray) -> FloatArray:
        """Return the tower's class scores, shape (N, L), of features, shape (N, F)."""
        return self._namer.logits(features)


def through_pictures(
    tower: Encoder, *, modality: Modality, pictures: Picturing, fingerprint: str
) -> ThroughPictures:
    """Return the encoder through a tower; it names things if the tower does."""
    if isinstance(tower, LabelledEncoder):
        return LabelledThroughPictures(
            tower, modality=modality, pictures=pictures, fingerprint=fingerprint
        )
    return ThroughPictures(tower, modality=modality, pictures=pictures, fingerprint=fingerprint)
