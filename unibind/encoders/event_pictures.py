"""Recordings of event cameras as pictures of their edges, through an image tower."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.registry import open_encoder
from unibind.encoders.through_pictures import ThroughPictures, through_pictures
from unibind.modalities.event import (
    EVENT,
    READING,
    accept,
    counts,
    polarity_picture,
    time_surface,
)

__all__ = ["load", "pictures_of"]


def pictures_of(item: Any) -> Sequence[npt.NDArray[np.uint8]]:
    """Return pictures of a recording, uint8, shape (H, W, 3): its surface, and its first third.

    The time surface shows the edges that were crossed last, the polarity frame of the first
    third those that were crossed at first, both grey with brighter white. Over the whole of a
    recording polarities would cancel: a camera that comes back has seen as much light come as go.

    Raises:
        InvalidInputError: The item is no recording of events.
    """
    events = accept(item)
    faded, fresh = time_surface(events)
    darker, brighter = counts(events, 3)[0]
    return [polarity_picture(fresh - faded), polarity_picture(brighter - darker)]


def load(tower: str = "efficientnet-lite0") -> ThroughPictures:
    """Return the encoder: the mean of an image tower's features over a recording's pictures.

    Args:
        tower: Name of an installed image encoder.

    Raises:
        PluginError: There is no such encoder.
        FetchError: Its weights are not here.
    """
    images = open_encoder(tower)
    fingerprint = fingerprint_of(
        architecture="event-pictures", version=1, tower=images.fingerprint, reading=READING
    )
    return through_pictures(images, modality=EVENT, pictures=pictures_of, fingerprint=fingerprint)
