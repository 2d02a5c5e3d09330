"""What kinds of sensor can measure: names, units, definitions and physical limits."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from unibind.errors import InvalidInputError

__all__ = ["Attribute", "Sensor", "find_sensor", "sensors"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One measurable quantity.

    Attributes:
        name: With its unit: ``"height_m"``.
        unit: As people write it; "" for a pure number.
        definition: What exactly is measured.
        low: Nothing real measures less.
        high: Nothing real measures more.
        scale: On which two ranges are compared.
    """

    name: str
    unit: str
    definition: str
    low: float
    high: float
    scale: Literal["log", "linear"]


@dataclass(frozen=True, slots=True)
class Sensor:
    """One kind of sensor.

    Attributes:
        name: As in attributes.jsonl.
        about: What it observes, under which conditions.
        attributes: Name to what it measures.
    """

    name: str
    about: str
    attributes: Mapping[str, Attribute]


@cache
def sensors() -> Mapping[str, Sensor]:
    """Return the known kinds of sensor by name."""
    text = (resources.files("unibind.knowledge") / "sensors.toml").read_text(encoding="utf-8")
    return {
        name: Sensor(
            name,
            table["about"],
            {row["name"]: Attribute(**row) for row in table["attributes"]},
        )
        for name, table in tomllib.loads(text).items()
    }


def find_sensor(name: str) -> Sensor:
    """Return a kind of sensor.

    Raises:
        InvalidInputError: It is not known.
    """
    if name not in sensors():
        raise InvalidInputError(f"no sensor {name!r}; there are {', '.join(sensors())}")
    return sensors()[name]
