"""Thermal pictures as grey pictures of their stated range, through an image tower."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.registry import open_encoder
from unibind.encoders.through_pictures import ThroughPictures, through_pictures
from unibind.modalities.thermal import READING, THERMAL, accept, scaled

__all__ = ["grey_of", "load"]


def grey_of(item: Any) -> Sequence[npt.NDArray[np.uint8]]:
    """Return one grey picture, uint8, shape (H, W, 3): black at low_c, white at high_c.

    Grey, not false colours: the tower knows warm-white pictures from photographs, and no rainbow.

    Raises:
        InvalidInputError: The item is no thermogram.
    """
    grey = np.round(255 * scaled(accept(item))).astype(np.uint8)
    return [np.repeat(grey[:, :, None], 3, axis=2)]


def load(tower: str = "efficientnet-lite0") -> ThroughPictures:
    """Return the encoder. How well it does on real thermal pictures was not measured.

    Args:
        tower: Name of an installed image encoder.

    Raises:
        PluginError: There is no such encoder.
        FetchError: Its weights are not here.
    """
    images = open_encoder(tower)
    fingerprint = fingerprint_of(
        architecture="thermal-pictures", version=1, tower=images.fingerprint, reading=READING
    )
    return through_pictures(images, modality=THERMAL, pictures=grey_of, fingerprint=fingerprint)
