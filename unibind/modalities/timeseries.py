"""Recordings of sensors: one or more channels over time, at one sampling rate, in stated units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.timeseries_clock import MAX_GAP, evenly_sampled, without_gaps
from unibind.modalities.timeseries_files import (
    MAX_CHANNELS,
    MAX_VALUES,
    Table,
    read_table,
    table_of,
)
from unibind.modalities.timeseries_options import Told
from unibind.types import FloatArray, Json, Modality

__all__ = ["MIN_STEPS", "READING", "TIMESERIES", "Recording", "accept", "draw", "read"]

MIN_STEPS = 8
"""A shorter recording is refused: it says nothing about how a signal goes on."""

READING = 1
"""Version of how recordings are read; part of every time series encoder's fingerprint. Raise it
when the same bytes come to give other values."""

_MAX_UNNAMED = 32
"""More channels than steps are taken for turned axes above this many, unless they are named."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What one set of sensors measured in one stretch of time.

    Attributes:
        values: Finite, float32, shape (C, T): C channels, T steps.
        rate_hz: Steps per second.
        channels: Names of the channels, C of them.
        units: Their physical units as people write them, C of them; "" where it is not known.
        gravity: Whether accelerations have gravity in them: ``"included"``, ``"removed"``, or ""
            where it is not known.
    """

    values: FloatArray
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    gravity: str = ""

    @property
    def duration_s(self) -> float:
        """Seconds from the first step to the end of the last."""
        return float(self.values.shape[1] / self.rate_hz)


def read(content: bytes, **options: Json) -> Recording:
    """Return the recording in a file: CSV, Parquet, npy or npz, told apart by content.

    A column of times gives the sampling rate. Uneven steps are resampled, missing values are
    interpolated over at most 10 steps.

    Args:
        content: A whole file.
        options: What the file does not say, see ``TIMESERIES.options``.

    Raises:
        InvalidInputError: The file is empty, damaged, too large or has no numbers; something
            that it does not say was not told (the sampling rate, most often); what was told
            contradicts it; or values are missing for too long, or infinite.
    """
    if not content:
        raise InvalidInputError("the file is empty (0 bytes); save or copy it again")
    told = Told.of(options)
    return _recording(read_table(content, told), told)


def accept(value: Any, **options: Json) -> Recording:
    """Return a decoded recording as an item.

    Args:
        value: A `Recording`, which says all of itself and is returned as it is; or a numeric
            array, shape (T,), (C, T) or (T, C), with at least the option ``rate_hz``.
        options: What an array does not say, see ``TIMESERIES.options``.

    Raises:
        InvalidInputError: As for `read`.
    """
    told = Told.of(options)
    if isinstance(value, Recording):
        _check(value)
        return value
    if not isinstance(value, np.ndarray):
        raise InvalidInputError(
            f"a recording was needed as a Recording or an array, got {type(value).__name__}; "
            "pass the path of a file as pathlib.Path, its content as bytes"
        )
    return _recording(table_of(value, told), told)


def draw(item: Recording) -> npt.NDArray[np.uint8]:
    """Return a plot of each channel over time, with units, uint8, shape (H, W, 3)."""
    from unibind.modalities.timeseries_drawing import plot  # matplotlib

    return plot(item.values, item.rate_hz, channels=item.channels, units=item.units)


TIMESERIES = Modality(
    name="timeseries",
    units="channels over time, float32 (C, T), with sampling rate in Hz, names and physical units",
    read=read,
    accept=accept,
    suffixes=(".csv", ".tsv", ".parquet", ".npy", ".npz"),
    options={
        "rate_hz": "samples per second, where there is no column of times",
        "units": "physical unit of all channels, or one for each, by comma: m/s2,m/s2,m/s2,rad/s",
        "axis": "what rows and columns are: time,channel or channel,time",
        "channels": "columns to take, by comma; names of the channels where the file has none",
        "gravity": "whether accelerations have gravity in them: included or removed",
        "time": "name of the column of times; none leaves it out",
        "time_unit": "unit of the column of times: s, ms, us or ns",
    },
    limits={
        "values": MAX_VALUES,
        "channels": MAX_CHANNELS,
        "least_steps": MIN_STEPS,
        "missing_steps": MAX_GAP,
    },
    draw=draw,
)


def _recording(table: Table, told: Told) -> Recording:
    _check_axes(table, told)
    values = without_gaps(table.values, table.names)
    values, rate_hz = evenly_sampled(
        values, table.times_s, told_hz=told.rate_hz or table.rate_hz, names=table.names
    )
    with np.errstate(over="ignore"):
        small = np.ascontiguousarray(values, dtype=np.float32)
    recording = Recording(
        small, rate_hz, table.names, told.units_of(table), told.gravity or _gravity(table.names)
    )
    _check(recording)
    return recording


def _check_axes(table: Table, told: Told) -> None:
    n_channels, n_steps = table.values.shape
    turned = "channel,time" if table.axis == "time,channel" else "time,channel"
    is_named = told.channels is not None or table.has_names
    if n_channels > n_steps and n_channels > _MAX_UNNAMED and not is_named:
        raise InvalidInputError(
            f"read as {table.axis}, there are {n_channels:,} channels of {n_steps:,} steps; if "
            f"the axes are turned, say axis={turned}; if they are not, name the channels"
        )
    if n_steps < MIN_STEPS:
        maybe = f", or say axis={turned}" if n_channels >= MIN_STEPS else ""
        raise InvalidInputError(
            f"the recording has {n_steps} steps in {n_channels} channels; at least {MIN_STEPS} "
            f"steps are needed: record longer{maybe}"
        )


def _check(recording: Recording) -> None:
    values = recording.values
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype != np.float32:
        raise InvalidInputError(
            "a Recording's values must be a float32 array of shape (C, T), got "
            f"{getattr(values, 'dtype', type(values).__name__)} {getattr(values, 'shape', '')}"
        )
    n_channels, n_steps = values.shape
    if n_channels < 1 or n_steps < MIN_STEPS or n_channels > MAX_CHANNELS:
        raise InvalidInputError(
            f"a Recording has shape ({n_channels}, {n_steps}), channels by steps; needed: 1 to "
            f"{MAX_CHANNELS} channels, {MIN_STEPS} steps or more"
        )
    if values.size > MAX_VALUES:
        raise InvalidInputError(
            f"a Recording has {values.size:,} values, at most {MAX_VALUES:,} are taken; cut it up"
        )
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        raise InvalidInputError(
            f"channel {recording.channels[bad[0]]!r} has NaN, infinite or too large values; "
            "correct them first, or leave the channel out"
        )
    if not (np.isfinite(recording.rate_hz) and recording.rate_hz > 0):
        raise InvalidInputError(f"a Recording has rate_hz {recording.rate_hz}; needed: above 0")
    if not len(recording.channels) == len(recording.units) == n_channels:
        raise InvalidInputError(
            f"a Recording of {n_channels} channels has {len(recording.channels)} names and "
            f"{len(recording.units)} units; one each is needed"
        )


def _gravity(names: Sequence[str]) -> str:
    """Return what the names of the channels say: phones call it linear or user acceleration."""
    plain = [name.lower().replace("_", " ") for name in names]
    accelerations = [name for name in plain if "acc" in name]
    without = [name for name in accelerations if "lin" in name or "user" in name]
    return "removed" if without and len(without) == len(accelerations) else ""
