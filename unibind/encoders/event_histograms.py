"""Events as counts by place, time and polarity beside an image tower; needs a head of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unibind.encoders import event_pictures
from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.through_pictures import ThroughPictures
from unibind.modalities.event import EVENT, Events, accept
from unibind.types import FloatArray

__all__ = ["EventHistograms", "histogram", "load"]

GRID = 16
SPANS = 3

_N_CELLS = SPANS * 2 * GRID * GRID


class EventHistograms:
    """What an image tower sees of a recording, and where and when the events were.

    Args:
        pictures: The encoder of the recording's pictures.
        fingerprint: Of it together with the histogram.
    """

    modality = EVENT

    def __init__(self, pictures: ThroughPictures, *, fingerprint: str) -> None:
        self.dim = pictures.dim + _N_CELLS
        self.fingerprint = fingerprint
        self._pictures = pictures

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the features of recordings, shape (N, F + 1536), F being the tower's width.

        Raises:
            InvalidInputError: An item is no recording of events.
        """
        recordings = [accept(item) for item in items]
        seen = self._pictures.encode(recordings)
        counted = [histogram(each) for each in recordings]
        return np.concatenate([seen, np.reshape(counted, (len(items), _N_CELLS))], axis=1)


def histogram(events: Events) -> FloatArray:
    """Return the roots of the shares of events by span of time, polarity and place.

    The root keeps a few busy pixels from outweighing the rest; shares make recordings of
    different length and threshold comparable.

    Args:
        events: N of them.

    Returns:
        In [0, 1], their squares sum to 1, shape (1536,): 3 spans x 2 polarities x 16 x 16.
    """
    span = np.minimum(events.t_s / events.t_s[-1] * SPANS, SPANS - 1).astype(np.int64)
    row = events.y.astype(np.int64) * GRID // events.height
    column = events.x.astype(np.int64) * GRID // events.width
    cell = ((span * 2 + events.polarity) * GRID + row) * GRID + column
    shares = np.bincount(cell, minlength=_N_CELLS) / len(cell)
    roots: FloatArray = np.sqrt(shares).astype(np.float32)
    return roots


def load(tower: str = "efficientnet-lite0") -> EventHistograms:
    """Return the encoder on top of an image tower.

    Args:
        tower: Name of an installed image encoder.

    Raises:
        PluginError: There is no such encoder.
        FetchError: Its weights are not here.
    """
    pictures = event_pictures.load(tower)
    fingerprint = fingerprint_of(
        architecture="event-histograms",
        version=1,
        pictures=pictures.fingerprint,
        grid=GRID,
        spans=SPANS,
    )
    return EventHistograms(pictures, fingerprint=fingerprint)
