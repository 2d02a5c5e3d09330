"""Which channels of a recording measure what, and their values in SI units."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from unibind.modalities.timeseries import Recording

__all__ = ["ACCELERATION", "POWER", "TURN", "Measured", "Quantity", "find_channels"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something physical, and how people write that a channel measures it.

    Attributes:
        factors: Unit as it is written, in lower case and without spaces, to its size in SI units.
        words: Parts of channel names that mean it where the unit is not known.
    """

    factors: Mapping[str, float]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The channels of one quantity.

    Attributes:
        values: float64, shape (C', T); in SI units if they are known.
        is_scaled: Whether the units are known.
    """

    values: npt.NDArray[np.float64]
    is_scaled: bool


_G = 9.80665

ACCELERATION = Quantity(
    MappingProxyType(
        {
            **dict.fromkeys(("m/s2", "m/s^2", "m/s\u00b2", "m/s**2", "ms-2", "m.s-2"), 1.0),
            **dict.fromkeys(("m/s/s", "m*s^-2", "m\u00b7s\u207b\u00b2"), 1.0),
            **dict.fromkeys(("g", "gn", "g0"), _G),
            "mg": _G / 1e3,
        }
    ),
    ("acc",),
)
TURN = Quantity(
    MappingProxyType(
        {
            **dict.fromkeys(("rad/s", "rads-1", "rad\u00b7s\u207b\u00b9"), 1.0),
            **dict.fromkeys(("deg/s", "dps", "\u00b0/s", "degrees/s"), np.pi / 180),
            "mdps": np.pi / 180e3,
        }
    ),
    ("gyr", "turn", "rotation", "angular"),
)
POWER = Quantity(
    MappingProxyType({"w": 1.0, "watt": 1.0, "watts": 1.0, "kw": 1e3}),
    ("power", "watt"),
)


def find_channels(recording: Recording, quantity: Quantity) -> Measured | None:
    """Return the channels of a recording that measure a quantity; None if none does.

    A channel counts by its unit. Where no channel has such a unit, those count whose name says
    so and whose unit is not known: their scale is not known either.
    """
    # mW is a thousandth and MW a million: that prefix is the only one whose case matters.
    written = [unit.replace(" ", "") for unit in recording.units]
    factors = [_factor(unit, quantity) for unit in written]
    rows = [c for c, factor in enumerate(factors) if factor is not None]
    if rows:
        sizes = np.array([[factors[c]] for c in rows], dtype=np.float64)
        return Measured(recording.values[rows].astype(np.float64) * sizes, is_scaled=True)
    rows = [
        c
        for c, name in enumerate(recording.channels)
        if not written[c] and any(word in name.lower() for word in quantity.words)
    ]
    return Measured(recording.values[rows].astype(np.float64), is_scaled=False) if rows else None


def _factor(unit: str, quantity: Quantity) -> float | None:
    if quantity is POWER and unit in ("mW", "MW"):
        return 1e-3 if unit == "mW" else 1e6
    return quantity.factors.get(unit.lower())
