"""What instruments say of items: their measurements beside what classes would show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from unibind import plugins
from unibind.alignment.attributes import ClassAttributes
from unibind.alignment.reasons import Part
from unibind.alignment.targets import Targets
from unibind.encoders.pipeline import Encoded, Failure, encode_sources
from unibind.errors import PluginError
from unibind.knowledge.base import KnowledgeBase
from unibind.protocols import Instrument
from unibind.types import FloatArray, IntArray, Json

__all__ = ["Measured", "instruments_of", "measurable", "measure", "measured_targets"]

_GROUP = "unibind.instruments"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the instruments of a modality found on N items, and what C classes would show.

    Attributes:
        labels: Names of the classes.
        readings: By instrument: what its classes would show, and its values, shape (N, A), NaN
            where nothing was measured.
        rows: Places of the items that could be read, ascending.
        failures: The others.
    """

    labels: tuple[str, ...]
    readings: tuple[tuple[ClassAttributes, FloatArray], ...]
    rows: IntArray
    failures: tuple[Failure, ...]

    @property
    def says_anything(self) -> bool:
        """Whether anything was measured that a class has a range for."""
        return any(np.isfinite(values).any() for _, values in self.readings)

    def of(self, rows: IntArray) -> "Measured":
        """Return the same of some of the items: those at these places."""
        readings = tuple((ranges, values[rows]) for ranges, values in self.readings)
        return Measured(self.labels, readings, np.arange(len(rows)), ())

    def log_likelihood(self) -> FloatArray:
        """Return log likelihood ratios, shape (N, C), 0 where nothing was measured."""
        told = [ranges.log_likelihood(values) for ranges, values in self.readings]
        total: FloatArray = np.sum(told, axis=0)
        return total

    def parts(self, row: int, label: str) -> list[Part]:
        """Return what each measurement of the item of a row adds to a class's likelihood."""
        return [
            part for ranges, values in self.readings for part in ranges.parts(values[row], label)
        ]


def measure(
    modality: str,
    items: Sequence[Any],
    base: KnowledgeBase,
    *,
    classes: Sequence[str],
    options: Mapping[str, Json] | None = None,
) -> Measured | None:
    """Return what the installed instruments find on items, None if there is nothing to compare.

    Args:
        modality: What the items are.
        items: Paths, contents in bytes, or decoded values.
        base: Where the classes' ranges stand.
        classes: Names of the classes.
        options: What the items do not say of themselves.

    Raises:
        InvalidInputError: The modality has no such option.
    """
    with_ranges = {(each.sensor, each.class_name) for each in base.attributes}
    fitting = [
        instrument
        for instrument in instruments_of(modality)
        if any((instrument.sensor, name) in with_ranges for name in classes)
    ]
    if not fitting:
        return None
    found = encode_sources(_Reading(fitting), items, options=options)
    values = _at_their_places(found, len(items))
    ends = np.cumsum([len(each.attributes) for each in fitting])[:-1]
    readings = tuple(
        (
            ClassAttributes.of(
                base, each.sensor, classes=classes, attributes=list(each.attributes)
            ),
            columns,
        )
        for each, columns in zip(fitting, np.split(values, ends, axis=1), strict=True)
    )
    return Measured(tuple(classes), readings, found.rows, found.failures)


def measured_targets(
    modality: str,
    items: Sequence[Any],
    targets: Targets,
    base: KnowledgeBase | None,
    *,
    options: Mapping[str, Json] | None = None,
) -> FloatArray | None:
    """Return what instruments say of the targets of training items, shape (N, U).

    None if there is no base, if the targets are no classes, or if nothing was measured.

    Raises:
        InvalidInputError: The modality has no such option.
    """
    if base is None or not targets.are_classes:
        return None
    measured = measure(modality, items, base, classes=targets.names, options=options)
    return measured.log_likelihood() if measured is not None and measured.says_anything else None


def measurable() -> tuple[str, ...]:
    """Return the modalities that an installed instrument reads."""
    return tuple(dict.fromkeys(each.modality.name for each in _instruments()))


def instruments_of(modality: str) -> list[Instrument]:
    """Return the installed instruments that read a modality; one whose extra is missing is not."""
    return [each for each in _instruments() if each.modality.name == modality]


def _at_their_places(encoded: Encoded, n_items: int) -> FloatArray:
    values = np.full((n_items, encoded.features.shape[1]), np.nan, dtype=np.float32)
    values[encoded.rows] = encoded.features
    return values


class _Reading:
    """Instruments where an encoder is expected: their attributes, side by side, are the features.

    So an item is decoded once for all of them.
    """

    fingerprint = ""  # measurements are not cached

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._instruments = instruments
        self.modality = instruments[0].modality
        self.dim = sum(len(each.attributes) for each in instruments)

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return what all of them measure on items, shape (N, A)."""
        return np.concatenate([each.measure(items) for each in self._instruments], axis=1)


@cache
def _instruments() -> tuple[Instrument, ...]:
    found = []
    for name in plugins.names(_GROUP):
        try:
            found.append(plugins.load(_GROUP, name)())
        except PluginError:  # its library is an extra that is not installed
            continue
    return tuple(found)
