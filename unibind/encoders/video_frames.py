"""Videos frame by frame through an image tower, averaged over time: no training, no motion."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.registry import open_encoder
from unibind.encoders.through_pictures import ThroughPictures, through_pictures
from unibind.modalities.video import READING, VIDEO, accept

__all__ = ["frames_of", "load"]


def frames_of(item: Any) -> Sequence[npt.NDArray[np.uint8]]:
    """Return the frames of a clip, uint8, shape (H, W, 3) each.

    Raises:
        InvalidInputError: The item is no clip.
    """
    return list(accept(item).frames)


def load(tower: str = "efficientnet-lite0") -> ThroughPictures:
    """Return the encoder: the mean of an image tower's features over a clip's frames.

    Args:
        tower: Name of an installed image encoder.

    Raises:
        PluginError: There is no such encoder.
        FetchError: Its weights are not here.
    """
    images = open_encoder(tower)
    fingerprint = fingerprint_of(
        architecture="video-frames", version=1, tower=images.fingerprint, reading=READING
    )
    return through_pictures(images, modality=VIDEO, pictures=frames_of, fingerprint=fingerprint)
