"""Depth maps as pictures for an image tower: a head that was trained on pictures fits them."""

from typing import Any

import numpy as np

from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.registry import open_encoder
from unibind.encoders.through_pictures import ThroughPictures, through_pictures
from unibind.protocols import Encoder
from unibind_depth.reader import DEPTH, READING, accept, draw

__all__ = ["load", "over"]


def over(tower: Encoder) -> ThroughPictures:
    """Return the encoder that shows depth maps to an image tower."""
    fingerprint = fingerprint_of(
        architecture="depth map as a grey picture", version=1, tower=tower.fingerprint,
        reading=READING,
    )  # fmt: skip
    return through_pictures(tower, modality=DEPTH, pictures=_pictures, fingerprint=fingerprint)


def load() -> ThroughPictures:
    """Return the encoder over unibind's own image tower.

    Raises:
        FetchError: The tower's weights are not here; the message names the command that brings
            them.
    """
    return over(open_encoder("efficientnet-lite0"))


def _pictures(item: Any) -> list[np.ndarray]:
    return [draw(accept(item))]
