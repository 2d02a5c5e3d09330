"""Event cameras: (t, x, y, polarity) from any common file, in seconds and pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from unibind.errors import InvalidInputError
from unibind.modalities.event_formats import (
    MAX_EVENTS,
    Columns,
    columns_of_array,
    columns_of_file,
    columns_of_mapping,
)
from unibind.types import FloatArray, Modality

__all__ = [
    "EVENT",
    "MAX_DURATION_S",
    "MAX_SIDE",
    "READING",
    "Events",
    "accept",
    "counts",
    "draw",
    "polarity_picture",
    "read",
    "time_surface",
]

UInt8Array = npt.NDArray[np.uint8]

MAX_SIDE = 4096
"""Pixels of a sensor's side at most."""

MAX_DURATION_S = 3600.0
"""Length of a recording at most; a longer one has its times in another unit than was said."""

MIN_DURATION_S = 1e-5
"""Length of a recording at least; a shorter one has its times in another unit than was said."""

READING = 1
"""Version of how events are read; part of every event encoder's fingerprint. Raise it when the
same bytes come to give other events."""

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_GREY = 128


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """What an event camera saw: where it grew brighter or darker, and when.

    Attributes:
        t_s: Times in seconds, the first is 0, ascending, float64, shape (N,).
        x: Columns from the left, in [0, width), uint16, shape (N,).
        y: Rows from the top, in [0, height), uint16, shape (N,).
        polarity: True where it grew brighter, bool, shape (N,).
        width: Of the sensor in pixels.
        height: Of the sensor in pixels.
    """

    t_s: npt.NDArray[np.float64]
    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    polarity: npt.NDArray[np.bool_]
    width: int
    height: int


def read(
    content: bytes,
    *,
    time_unit: str | None = None,
    width: int | str | None = None,
    height: int | str | None = None,
    columns: str = "t,x,y,p",
) -> Events:
    """Return the events of a recording.

    Args:
        content: A whole file: npy (structured, or (N, 4)), npz, csv, AEDAT4, Prophesee DAT, or
            the bin files of N-MNIST and N-Caltech101.
        time_unit: What times are in, ``"us"``, ``"ms"``, ``"s"`` or ``"ns"``; needed where
            neither the format nor a column's name (``t_us``) says it.
        width: Of the sensor, where the file does not say; else up to the outermost event.
        height: The same.
        columns: Order of the columns of a table without names.

    Raises:
        InvalidInputError: The file is empty, of another kind, truncated, damaged or too long; its
            time unit is unknown or leads to a length out of bounds; a value is NaN, infinite,
            negative, no whole number of pixels, outside the sensor, or no polarity; or it holds
            fewer than two events.
    """
    return _events(columns_of_file(content, order=columns), time_unit, width, height)


def accept(
    value: Any,
    *,
    time_unit: str | None = None,
    width: int | str | None = None,
    height: int | str | None = None,
    columns: str = "t,x,y,p",
) -> Events:
    """Return decoded events as an item.

    Args:
        value: `Events`, which are checked and kept; a structured array; an array (N, 4); or a
            mapping of arrays, (N,) each, by the names t, x, y and p.
        time_unit: As in `read`.
        width: As in `read`.
        height: As in `read`.
        columns: As in `read`.

    Raises:
        InvalidInputError: As in `read`.
    """
    if isinstance(value, Events):
        return _events(
            Columns(value.t_s, value.x, value.y, value.polarity, "s", value.width, value.height),
            None,
            None,
            None,
        )
    if isinstance(value, Mapping):
        return _events(columns_of_mapping(value), time_unit, width, height)
    if isinstance(value, np.ndarray):
        return _events(columns_of_array(value, order=columns), time_unit, width, height)
    raise InvalidInputError(
        f"events were needed as an array, a mapping of arrays or Events, got "
        f"{type(value).__name__}; pass the path of a file as pathlib.Path, its content as bytes"
    )


def counts(events: Events, n_spans: int = 1) -> FloatArray:
    """Return how many events each pixel had in each of n_spans equal spans of time.

    Args:
        events: N of them.
        n_spans: Spans of time; >= 1.

    Returns:
        Shape (n_spans, 2, height, width); darker first, then brighter.
    """
    span = np.minimum(events.t_s / events.t_s[-1] * n_spans, n_spans - 1).astype(np.int64)
    place = ((span * 2 + events.polarity) * events.height + events.y) * events.width + events.x
    n_cells = n_spans * 2 * events.height * events.width
    found = np.bincount(place, minlength=n_cells).astype(np.float32)
    return found.reshape(n_spans, 2, events.height, events.width)


def time_surface(events: Events, *, tau_s: float | None = None) -> FloatArray:
    """Return how fresh each pixel's last event is at the end: exp(-age / tau), 0 without one.

    Args:
        events: N of them.
        tau_s: Age at which freshness is 1 / e; a third of the recording by default.

    Returns:
        In [0, 1], shape (2, height, width); darker first, then brighter.

    Source:
        Lagorce et al., HOTS: A Hierarchy of Event-Based Time-Surfaces, TPAMI 2017, eq. 3.
    """
    end_s = float(events.t_s[-1])
    last = np.full((2, events.height, events.width), -np.inf)
    # Times ascend, and of equal places the last assignment stays.
    last[events.polarity.astype(np.int64), events.y, events.x] = events.t_s
    freshness: FloatArray = np.exp((last - end_s) / (tau_s or end_s / 3)).astype(np.float32)
    return freshness


def polarity_picture(signed: FloatArray) -> UInt8Array:
    """Return a grey picture of a signed map: white where brighter, black where darker.

    Args:
        signed: Brighter less darker, any scale, shape (H, W). Its 99th percentile of magnitudes
            is drawn as full white or black, so that single noisy pixels do not dim the rest.

    Returns:
        uint8, shape (H, W, 3).
    """
    sizes = np.abs(signed[signed != 0])
    scale = float(np.quantile(sizes, 0.99)) if len(sizes) else 1.0
    grey = np.clip(_GREY + 127 * signed / scale, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def draw(events: Events) -> UInt8Array:
    """Return the event frame beside the time surface, each at least 256 pixels high.

    The frame is red where it grew brighter, blue where darker, the stronger the more often.

    Args:
        events: The events.

    Returns:
        sRGB pixels, uint8, shape (H, W, 3).
    """
    darker, brighter = counts(events)[0]
    most = max(float(np.quantile(brighter + darker, 0.99)), 1.0)
    red, blue = (np.clip(1 - each / most, 0, 1) for each in (darker, brighter))
    frame = np.round(255 * np.stack([red, red * blue, blue], axis=2)).astype(np.uint8)
    faded, fresh = time_surface(events)
    scale = max(1, -(-256 // events.height))
    size = (events.width * scale, events.height * scale)
    sheet = Image.new("RGB", (2 * size[0] + 24, size[1] + 16), "white")
    for n, panel in enumerate((frame, polarity_picture(fresh - faded))):
        large = Image.fromarray(panel).resize(size, Image.Resampling.NEAREST)
        sheet.paste(large, (8 + n * (size[0] + 8), 8))
    return np.array(sheet)


EVENT = Modality(
    name="event",
    units="Events: times in s from 0, x and y in pixels, polarity True where it grew brighter",
    read=read,
    accept=accept,
    suffixes=(".aedat4", ".dat", ".bin", ".npy", ".npz", ".csv"),
    options={
        "time_unit": "what times are in, us, ms, s or ns, where the file does not say",
        "width": "of the sensor in pixels, where the file does not say",
        "height": "of the sensor in pixels, where the file does not say",
        "columns": "order of the columns of a table without names (default t,x,y,p)",
    },
    limits={"events": MAX_EVENTS, "sensor_side_px": MAX_SIDE, "duration_s": MAX_DURATION_S},
    draw=draw,
)


def _events(
    columns: Columns, time_unit: str | None, width: int | str | None, height: int | str | None
) -> Events:
    _check_lengths(columns)
    t_s = _seconds(columns, time_unit)
    x = _pixels(columns.x, "x")
    y = _pixels(columns.y, "y")
    is_bright = _polarity(columns.p)
    n_columns = _side("width", width, columns.width, x)
    n_rows = _side("height", height, columns.height, y)
    if (np.diff(t_s) < 0).any():  # several cameras, or packets that came late
        order = np.argsort(t_s, kind="stable")
        t_s, x, y, is_bright = t_s[order], x[order], y[order], is_bright[order]
    return Events(t_s, x, y, is_bright, n_columns, n_rows)


def _check_lengths(columns: Columns) -> None:
    shapes = {name: np.shape(getattr(columns, name)) for name in "txyp"}
    if len(set(shapes.values())) > 1 or len(shapes["t"]) != 1:
        raise InvalidInputError(f"events need t, x, y and p of one length each, got {shapes}")
    (n_events,) = shapes["t"]
    if n_events > MAX_EVENTS:
        raise InvalidInputError(
            f"the recording has {n_events:,} events, at most {MAX_EVENTS:,} are read; cut it into "
            "shorter ones"
        )
    if n_events < 2:
        raise InvalidInputError(
            f"the recording has {n_events} event{'' if n_events == 1 else 's'}; at least two at "
            "different times are needed"
        )
    for name in "txyp":
        array = getattr(columns, name)
        if array.dtype.kind not in "buif":
            raise InvalidInputError(f"the events' column {name!r} is {array.dtype}, no number")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array))[0])
            raise InvalidInputError(
                f"the events' column {name!r} is {array[row]} in row {row}; leave that event out"
            )


def _seconds(columns: Columns, time_unit: str | None) -> npt.NDArray[np.float64]:
    unit = columns.time_unit or time_unit
    if unit is None:
        raise InvalidInputError(
            f"the events' times, from {columns.t.min()} to {columns.t.max()}, do not say their "
            "unit; give the option time_unit: us, ms, s or ns"
        )
    if unit not in _SECONDS:
        raise InvalidInputError(f"time_unit is {unit!r}; needed: us, ms, s or ns")
    first = columns.t.min()
    if first < 0:
        raise InvalidInputError(
            f"an event has the negative time {first}; subtract the first time from all"
        )
    # Integers are subtracted as such: a float would round microseconds since 1970.
    t_s: npt.NDArray[np.float64] = (columns.t - first).astype(np.float64) * _SECONDS[unit]
    duration_s = float(t_s.max())
    if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise InvalidInputError(
            f"the events last {duration_s:g} s with times in {unit}; needed: {MIN_DURATION_S:g} to "
            f"{MAX_DURATION_S:g} s. Perhaps they are in another unit (option time_unit), or the "
            "recording must be cut"
        )
    return t_s


def _pixels(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint16]:
    low, high = values.min(), values.max()
    if low < 0 or high >= MAX_SIDE:
        raise InvalidInputError(
            f"{name} of the events goes from {low} to {high}; needed: pixels in [0, {MAX_SIDE}). "
            "Perhaps the columns are in another order (option columns)"
        )
    whole = values.astype(np.uint16)
    if values.dtype.kind == "f" and (whole != values).any():
        raise InvalidInputError(
            f"{name} of the events has fractions of a pixel, as {values[whole != values][0]}; "
            "round them, or give another order (option columns)"
        )
    return whole


def _polarity(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    found = np.unique(values).tolist()
    if not (set(found) <= {0, 1} or set(found) <= {-1, 1}):
        shown = ", ".join(map(str, found[:5]))
        raise InvalidInputError(
            f"the events' polarity has the values {shown}{', ...' if len(found) > 5 else ''}; "
            "needed: 0 and 1, or -1 and 1. Perhaps the columns are in another order (option "
            "columns)"
        )
    is_bright: npt.NDArray[np.bool_] = values > 0
    return is_bright


def _side(
    name: str, said: int | str | None, found: int | None, places: npt.NDArray[np.uint16]
) -> int:
    outermost = int(places.max())
    try:
        side = int(found or said or outermost + 1)
    except ValueError:
        side = 0
    if not outermost < side <= MAX_SIDE:
        raise InvalidInputError(
            f"the sensor's {name} is {found or said!r}, an event is at {outermost}; needed: more, "
            f"and at most {MAX_SIDE}"
        )
    return side
