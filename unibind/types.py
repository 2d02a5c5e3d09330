"""Values that every floor shares.

The letters of shapes, used throughout the package:

    N  items              C  classes                 K  centers of one class
    D  width of a space   F  width of a feature      B  rows of a batch
    T  time steps         S  samples of a signal

How an item is called on its way: *item* (raw) -> *feature* (encoder output, width F) ->
*embedding* (after the head, unit length, width D) -> *score* (cosine) -> *logit* (score /
temperature). A *label* is a class's name; a *key* is the user's id of a stored item.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NewType

import numpy as np
import numpy.typing as npt

__all__ = [
    "FloatArray",
    "Hit",
    "IntArray",
    "Json",
    "Modality",
    "Prediction",
    "ProgressCallback",
    "SpaceId",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

Json = Any
"""A value that ``json.dumps`` takes: None, bool, int, float, str, list or dict of these."""

SpaceId = NewType("SpaceId", str)
"""The fingerprint of a frozen text tower: what heads, centers, stores and queries must share."""

ProgressCallback = Callable[[int, int], None]
"""Called as ``progress(n_done, n_total)`` by long work; the caller decides how to show it."""


@dataclass(frozen=True, slots=True)
class Modality:
    """One kind of item, and how its bytes are read. A value, so that a plug-in can make one.

    Attributes:
        name: What users type: ``"image"``, ``"audio"``.
        units: What `read` and `accept` return, in words with units, for people.
        read: Turns a file's bytes into an item. Raises InvalidInputError.
        accept: Checks a value that is already decoded (an array, say) and returns it as an item.
            Raises InvalidInputError.
        suffixes: Lower-case file name endings with the dot, by which a file's modality is guessed.
    """

    name: str
    units: str
    read: Callable[[bytes], Any]
    accept: Callable[[Any], Any]
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class that an item may belong to.

    Attributes:
        label: The class's name as the caller wrote it.
        score: Cosine to the class's center after calibration, comparable within one call.
        probability: Share of belief among the classes of the call; they sum to 1 over all classes.
    """

    label: str
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One stored item that a search found.

    Attributes:
        key: The user's id of the item.
        modality: The item's modality.
        score: Similarity, higher is nearer; comparable within one search.
        metadata: What was stored beside the item.
    """

    key: str
    modality: str
    score: float
    metadata: Mapping[str, Json] = field(default_factory=dict)
