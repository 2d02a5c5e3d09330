"""What a person says of a recording that its file does not say itself."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from unibind.errors import InvalidInputError
from unibind.types import Json

__all__ = ["Told"]

_AXES = ("time,channel", "channel,time")
_GRAVITY = ("included", "removed")
_TIME_UNITS = ("s", "ms", "us", "ns")


class _Columns(Protocol):
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def units(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Told:
    """The options of a recording, checked.

    Attributes:
        rate_hz: Samples per second.
        units: One for all channels, or one for each; () if nothing was said.
        axis: ``"time,channel"`` or ``"channel,time"``.
        channels: Names of columns to take, or of the channels where there are no names.
        gravity: ``"included"``, ``"removed"`` or "".
        time: Name of the column of times; ``"none"`` to leave it out.
        time_unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``.
    """

    rate_hz: float | None = None
    units: tuple[str, ...] = ()
    axis: str | None = None
    channels: tuple[str, ...] | None = None
    gravity: str = ""
    time: str | None = None
    time_unit: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Json]) -> "Told":
        """Return options as they come from Python or a command line, checked.

        Raises:
            InvalidInputError: One is unknown, or not what it can be.
        """
        unknown = sorted(set(options) - set(cls.__dataclass_fields__))
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise InvalidInputError(f"time series have no option {unknown[0]!r}; there are {known}")
        units, channels = _texts(options, "units"), _texts(options, "channels")
        if channels is not None and (not all(channels) or len(set(channels)) < len(channels)):
            raise InvalidInputError(
                f"the option channels is {options['channels']!r}; name each channel once"
            )
        return cls(
            rate_hz=_rate(options.get("rate_hz")),
            units=units or (),
            axis=_one_of(options, "axis", _AXES),
            channels=channels or None,
            gravity=_one_of(options, "gravity", _GRAVITY) or "",
            time=_text(options, "time"),
            time_unit=_one_of(options, "time_unit", _TIME_UNITS),
        )

    def units_of(self, table: _Columns) -> tuple[str, ...]:
        """Return the unit of each of a table's channels: what was told, or what its names say.

        Raises:
            InvalidInputError: Neither one unit nor one for each channel was told.
        """
        if not self.units:
            return table.units
        if len(self.units) == 1:
            return self.units * len(table.names)
        if len(self.units) != len(table.names):
            raise InvalidInputError(
                f"{len(self.units)} units were told for {len(table.names)} channels "
                f"({', '.join(table.names[:8])}); give one for all, or one for each"
            )
        return self.units


def _rate(value: Json) -> float | None:
    if value is None:
        return None
    try:
        rate = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise InvalidInputError(
            f"the option rate_hz is {value!r}; needed: samples per second, a number above 0"
        )
    return rate


def _text(options: Mapping[str, Json], name: str) -> str | None:
    value = options.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInputError(f"the option {name} is {value!r}; needed: a text")
    return value


def _one_of(options: Mapping[str, Json], name: str, known: Sequence[str]) -> str | None:
    value = options.get(name)
    if value is None:
        return None
    text = str(value).replace(" ", "").lower()
    if text not in known:
        raise InvalidInputError(f"the option {name} is {value!r}; it can be {' or '.join(known)}")
    return text


def _texts(options: Mapping[str, Json], name: str) -> tuple[str, ...] | None:
    value = options.get(name)
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise InvalidInputError(
            f"the option {name} is {value!r}; needed: texts, as a list or by comma"
        )
    return tuple(part.strip() for part in parts)
