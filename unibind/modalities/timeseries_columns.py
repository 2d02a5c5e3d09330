"""From columns or a matrix to a table: names, units, and which column holds the times."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.timeseries_options import Told
from unibind.modalities.timeseries_size import MAX_CHANNELS, check_size

__all__ = ["Column", "Table", "from_columns", "from_matrix"]

_Array = npt.NDArray[np.float64]

_WITH_UNIT = re.compile(r"^(.*\S)\s*[\[(]\s*([^\[\]()]*?)\s*[\])]$")
_TIME = re.compile(
    r"^(?:(?:unix|epoch|elapsed|relative|sample|sensor|utc|loggingtime)?[ _]?"
    r"(?:time|times|timestamp|timestamps|elapsed|epoch|date|datetime|date[ _]time|t|ts)"
    r"(?:[ _](s|sec|secs|seconds|ms|millis|milliseconds|us|micros|microseconds|ns|nanoseconds))?"
    r"|(seconds|milliseconds|ms)(?:[ _]elapsed)?)$"
)
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}([T ]|$)")
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNIT_OF = {
    "sec": "s", "secs": "s", "seconds": "s", "second": "s",
    "millis": "ms", "milliseconds": "ms", "msec": "ms",
    "micros": "us", "microseconds": "us", "\u00b5s": "us", "\u03bcs": "us", "usec": "us",
    "nanoseconds": "ns", "nanos": "ns",
}  # fmt: skip
# Times since 1970 tell their unit by their size, from 2001 on.
_EPOCHS = ((1e9, "s"), (1e12, "ms"), (1e15, "us"), (1e18, "ns"))
_NOT_A_NUMBER = {"", "-", "--", "?", "na", "n/a", "nan", "null", "none", "nil"}


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column as a file has it.

    Attributes:
        name: Its heading, "" if it has none.
        cells: float64, datetime64, timedelta64, or texts as objects, shape (T,).
        first_row: Number that people give to its first cell, for messages.
    """

    name: str
    cells: npt.NDArray[Any]
    first_row: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Numbers of several channels over time, as they were found.

    Attributes:
        values: NaN where a value is missing, shape (C, T).
        names: Of the channels, C of them.
        units: Of the channels, "" where unknown.
        axis: Which axes were read: ``"time,channel"`` or ``"channel,time"``.
        has_names: Whether the file names its channels.
        times_s: Of the steps, in seconds, if there are times, shape (T,).
        rate_hz: If the file says it.
    """

    values: _Array
    names: tuple[str, ...]
    units: tuple[str, ...]
    axis: str
    has_names: bool
    times_s: _Array | None = None
    rate_hz: float | None = None

    def with_facts(
        self,
        told: Told,
        *,
        channels: tuple[str, ...] | None,
        units: tuple[str, ...] | None,
        times: npt.NDArray[Any] | None,
        rate_hz: float | None,
    ) -> "Table":
        """Return the table with what stands beside the values in an npz file.

        Raises:
            InvalidInputError: There are times, and not one for each step.
        """
        times_s = None
        if times is not None and told.time != "none":
            if len(times) != self.values.shape[1]:
                raise InvalidInputError(
                    f"there are {len(times):,} times for {self.values.shape[1]:,} steps; one each "
                    "is needed, or say axis=... if the axes were turned"
                )
            times_s = _seconds(Column("time", times), told)
        named = channels is not None and told.channels is None
        return replace(
            self,
            names=channels if named and channels else self.names,
            units=units or self.units,
            has_names=self.has_names or channels is not None,
            times_s=times_s,
            rate_hz=rate_hz,
        )


def from_matrix(array: npt.NDArray[Any], told: Told) -> Table:
    """Return the table of an array of numbers, shape (T,), (C, T) or (T, C).

    Raises:
        InvalidInputError: It has other axes, none or too many values, or it is not clear which
            axis is time.
    """
    if array.ndim not in (1, 2):
        more = "; it looks like a batch: give its recordings one by one" if array.ndim == 3 else ""
        raise InvalidInputError(
            f"the array has the shape {array.shape}; needed: (time), (channel, time) or "
            f"(time, channel){more}"
        )
    if not array.size:
        raise InvalidInputError(f"the array has the shape {array.shape}: it is empty")
    check_size(array.size, 1, "the array")
    axis = told.axis or _axis_of(array)
    matrix = np.atleast_2d(array) if array.ndim == 1 or axis == "channel,time" else array.T
    names = told.channels or tuple(f"channel {c + 1}" for c in range(len(matrix)))
    if len(names) != len(matrix):
        raise InvalidInputError(
            f"{len(names)} channels were named, read as {axis} the array has {len(matrix)}; "
            "name each, or say axis=... if the axes are turned"
        )
    _check_channels(len(matrix), axis)
    return Table(matrix.astype(np.float64), names, ("",) * len(names), axis, has_names=False)


def from_columns(columns: Sequence[Column], told: Told) -> Table:
    """Return the table of columns, of which one may hold times.

    Raises:
        InvalidInputError: There is no column of numbers, a named one is not there, a cell is not
            a number, or the unit of the times is not clear.
    """
    if told.axis == "channel,time":
        raise InvalidInputError(
            "the file has named columns, so its axis is time,channel; say axis=time,channel or "
            "nothing, or save it turned"
        )
    timed = _time_column(columns, told)
    chosen = _chosen([column for column in columns if column is not timed], told)
    _check_channels(len(chosen), "time,channel")
    labels = [_label(column.name) for column in chosen]
    unnamed = all(not name for name, _ in labels)
    names = told.channels if unnamed and told.channels else _names([name for name, _ in labels])
    return Table(
        values=np.stack([_numbers(column) for column in chosen]),
        names=names,
        units=tuple(unit for _, unit in labels),
        axis="time,channel",
        has_names=not unnamed,
        times_s=None if timed is None else _seconds(timed, told),
    )


def _axis_of(array: npt.NDArray[Any]) -> str:
    """Return which axis of a matrix is time, where its shape leaves little doubt."""
    if array.ndim == 1:
        return "channel,time"
    short, long = sorted(array.shape)
    if long >= 4 * short:
        return "channel,time" if array.shape[1] == long else "time,channel"
    raise InvalidInputError(
        f"the array has the shape {array.shape}; it is not clear which axis is time: say "
        "axis=time,channel or axis=channel,time"
    )


def _check_channels(n_channels: int, axis: str) -> None:
    if n_channels > MAX_CHANNELS:
        turned = "channel,time" if axis == "time,channel" else "time,channel"
        raise InvalidInputError(
            f"read as {axis}, there are {n_channels:,} channels; at most {MAX_CHANNELS:,} are "
            f"taken: say axis={turned} if the axes are turned, or take some with channels=..."
        )


def _time_column(columns: Sequence[Column], told: Told) -> Column | None:
    if told.time == "none":
        return None
    if told.time is not None:
        wanted = (told.time, told.time.strip())
        found = [each for each in columns if each.name in wanted or _label(each.name)[0] in wanted]
        if not found:
            raise InvalidInputError(
                f"there is no column {told.time!r}; there are {_listed(columns)}"
            )
        return found[0]
    for column in columns:
        if _holds_times(column) or _TIME.match(_label(column.name)[0].lower()):
            return column
    return None


def _holds_times(column: Column) -> bool:
    if column.cells.dtype.kind == "O":
        return isinstance(column.cells[0], str) and bool(_DATE.match(column.cells[0].strip()))
    return column.cells.dtype.kind in "Mm"


def _chosen(columns: Sequence[Column], told: Told) -> Sequence[Column]:
    if not columns:
        raise InvalidInputError("there is no column of values beside the times")
    if told.channels is None:
        return columns
    by_name = {column.name: column for column in columns}
    by_name |= {_label(column.name)[0]: column for column in columns}
    if all(not name for name in by_name):
        if len(told.channels) != len(columns):
            raise InvalidInputError(
                f"{len(told.channels)} channels were named, the file has {len(columns)}; name each"
            )
        return columns
    missing = [name for name in told.channels if name not in by_name]
    if missing:
        raise InvalidInputError(f"there is no column {missing[0]!r}; there are {_listed(columns)}")
    return [by_name[name] for name in told.channels]


def _label(heading: str) -> tuple[str, str]:
    """Return name and unit of a heading: ``"acc x [m/s2]"`` says both."""
    heading = heading.strip()
    found = _WITH_UNIT.match(heading)
    return (found[1], found[2]) if found else (heading, "")


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name or f"channel {c + 1}" for c, name in enumerate(names))


def _listed(columns: Sequence[Column]) -> str:
    names = [column.name or "(no name)" for column in columns[:8]]
    return ", ".join(names) + (", ..." if len(columns) > 8 else "")


def _numbers(column: Column) -> _Array:
    if column.cells.dtype.kind in "biuf":
        return column.cells.astype(np.float64)
    if column.cells.dtype.kind in "Mm":
        raise InvalidInputError(
            f"the column {column.name!r} holds times; say time={column.name} or leave it out with "
            "channels=..."
        )
    numbers = np.full(len(column.cells), np.nan)
    for row, cell in enumerate(column.cells):
        if cell is None or str(cell).strip().lower() in _NOT_A_NUMBER:
            continue
        try:
            numbers[row] = float(cell)
        except ValueError:
            raise InvalidInputError(
                f"the column {column.name or '(no name)'!r} has text in row "
                f"{row + column.first_row}: {str(cell)[:40]!r}; needed: numbers. Correct it, or "
                "take other columns with channels=..."
            ) from None
    return numbers


def _seconds(column: Column, told: Told) -> _Array:
    """Return times in seconds; times of day count from the first of them."""
    cells = column.cells
    if cells.dtype.kind in "OU":
        cells = _texts_as_times(column)
    if cells.dtype.kind in "Mm":
        if np.isnat(cells).any():
            raise _no_time(column, int(np.flatnonzero(np.isnat(cells))[0]))
        nanoseconds = cells.astype(f"{cells.dtype.kind}8[ns]").astype(np.int64)
        return (nanoseconds - nanoseconds[:1]).astype(np.float64) * 1e-9
    times = cells.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise _no_time(column, int(bad[0]))
    return (times - times[:1]) * _SECONDS[_time_unit(column, times, told)]


def _no_time(column: Column, row: int) -> InvalidInputError:
    return InvalidInputError(
        f"row {row + column.first_row} has no time in the column {column.name!r}; correct it, or "
        "say rate_hz=... and time=none"
    )


def _texts_as_times(column: Column) -> npt.NDArray[Any]:
    try:
        return _numbers(column)
    except InvalidInputError:
        pass
    import pandas as pd

    try:
        times = pd.to_datetime(pd.Series(column.cells), format="ISO8601", utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInputError(
            f"the column {column.name!r} holds times that are neither numbers nor ISO 8601, as "
            f"2026-01-31T12:00:00.25 ({(str(error).splitlines() or [''])[0][:90]}); write them so"
        ) from None
    return times.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")


def _time_unit(column: Column, times: _Array, told: Told) -> str:
    """Return the unit of times that are numbers: told, in their heading, or clear from them."""
    if told.time_unit is not None:
        return told.time_unit
    name, unit = _label(column.name)
    found = _TIME.match(name.lower())
    said = (unit or (found and (found[1] or found[2])) or "").lower()
    said = _UNIT_OF.get(said, said)
    if said in _SECONDS:
        return said
    for least, unit_of_epoch in reversed(_EPOCHS):
        if times.size and times[0] >= least:
            return unit_of_epoch
    steps = np.diff(times)
    step = float(np.median(steps)) if steps.size else 0.0
    if told.rate_hz is not None and step > 0:
        fitting = [each for each, s in _SECONDS.items() if 0.5 < told.rate_hz * step * s < 2]
        if fitting:
            return fitting[0]
    if 0 < step < 1:
        return "s"  # parts of a second; whoever counts milliseconds writes whole numbers
    raise InvalidInputError(
        f"the column of times {column.name!r} has steps of {step:g}, of which the unit is not "
        "known: say time_unit=s, ms, us or ns, or write it into the heading: time [ms]"
    )
