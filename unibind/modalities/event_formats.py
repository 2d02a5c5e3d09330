"""Event recordings as files: columns of time, place and polarity, as the file has them."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.event_aedat4 import AEDAT4_MAGIC, read_aedat4
from unibind.modalities.numpy_files import NPY_MAGIC, NPZ_MAGIC, read_npy, read_npz

__all__ = ["MAX_EVENTS", "Columns", "columns_of_array", "columns_of_file", "columns_of_mapping"]

MAX_EVENTS = 20_000_000
"""Events of a recording at most."""

_MAX_BYTES = MAX_EVENTS * 32
_ORDER = "t,x,y,p"
_NAMES: Mapping[str, str] = {
    "t": "t", "ts": "t", "time": "t", "timestamp": "t", "timestamps": "t", "times": "t",
    "x": "x", "y": "y",
    "p": "p", "pol": "p", "polarity": "p", "polarities": "p", "on": "p", "sign": "p",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Events as they stand in a file, unchecked.

    Attributes:
        t: Times, any number type, shape (N,).
        x: Columns of the sensor, from the left, shape (N,).
        y: Rows of the sensor, from the top, shape (N,).
        p: Polarity, shape (N,).
        time_unit: ``"us"``, ``"ms"``, ``"s"`` or ``"ns"``, if the file says so.
        width: Of the sensor, if the file says so.
        height: Of the sensor, if the file says so.
    """

    t: npt.NDArray[Any]
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    p: npt.NDArray[Any]
    time_unit: str | None = None
    width: int | None = None
    height: int | None = None


def columns_of_file(content: bytes, *, order: str = _ORDER) -> Columns:
    """Return the columns of a recording: npy, npz, csv, AEDAT4, Prophesee DAT, N-MNIST's bin.

    Args:
        content: A whole file.
        order: Names of the columns of a table without names.

    Raises:
        InvalidInputError: It is empty, of another kind, truncated, damaged or too long.
    """
    if not content:
        raise InvalidInputError("the event file is empty (0 bytes); save or copy it again")
    for magic, remedy in _NOT_READ.items():
        if content.startswith(magic):
            raise InvalidInputError(f"the event file is {remedy}")
    if content.startswith(NPY_MAGIC):
        return columns_of_array(read_npy(content, max_bytes=_MAX_BYTES), order=order)
    if content.startswith(NPZ_MAGIC):
        return _npz_columns(content, order)
    for magic, read in _READERS.items():
        if content.startswith(magic):
            return read(content)
    if _is_text(content):
        return _csv_columns(content, order)
    return _bin_columns(content)


def columns_of_array(array: npt.NDArray[Any], *, order: str = _ORDER) -> Columns:
    """Return the columns of a structured array, or of one of shape (N, 4).

    Args:
        array: Structured with fields t, x, y and p, or numbers in `order`.
        order: Names of the columns, with commas between.

    Raises:
        InvalidInputError: It has another shape, or lacks a field.
    """
    if array.dtype.names:
        return columns_of_mapping({name: array[name] for name in array.dtype.names})
    names = _checked_order(order)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InvalidInputError(
            f"events are an array of shape {array.shape}; needed: (N, 4) with columns {order}, or "
            "a structured array with the fields t, x, y and p"
        )
    return columns_of_mapping({name: array[:, n] for n, name in enumerate(names)})


def columns_of_mapping(arrays: Mapping[str, npt.NDArray[Any]]) -> Columns:
    """Return the columns by their names; ``t_us`` or ``time_ms`` also say the unit.

    Raises:
        InvalidInputError: One of t, x, y and p is missing or there twice.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    time_unit = None
    for name, array in arrays.items():
        plain, unit = _plain_name(name)
        if plain is None:
            continue
        if plain in found:
            raise InvalidInputError(f"events have two columns for {plain!r} among {list(arrays)}")
        found[plain] = np.asarray(array)
        time_unit = unit or time_unit
    missing = [name for name in "txyp" if name not in found]
    if missing:
        raise InvalidInputError(
            f"events lack the column {missing[0]!r}; found "
            f"{', '.join(map(str, arrays)) or 'none'}, needed: t, x, y and p"
        )
    return Columns(found["t"], found["x"], found["y"], found["p"], time_unit)


def _plain_name(name: str) -> tuple[str | None, str | None]:
    """Return which of t, x, y and p a column's name means, and the unit in it."""
    word = str(name).strip().lower()
    if word in _NAMES:
        return _NAMES[word], None
    unit = re.search(r"[ _\[(]+(us|µs|ms|s|ns)[\])]?$", word)
    if unit is None or _NAMES.get(word[: unit.start()]) != "t":
        return None, None
    return "t", unit[1].replace("µ", "u")


def _checked_order(order: str) -> list[str]:
    names = [_plain_name(name)[0] or name for name in re.split(r"[,\s]+", str(order).strip())]
    if sorted(names) != ["p", "t", "x", "y"]:
        raise InvalidInputError(
            f"the order of columns is {order!r}; needed: t, x, y and p in some order, as 'x,y,t,p'"
        )
    return names


def _check_count(n_events: int) -> None:
    if n_events > MAX_EVENTS:
        raise InvalidInputError(
            f"the recording has {n_events:,} events, at most {MAX_EVENTS:,} are read; cut it into "
            "shorter ones"
        )


def _npz_columns(content: bytes, order: str) -> Columns:
    arrays = read_npz(content, max_bytes=_MAX_BYTES)
    if len(arrays) == 1:
        return columns_of_array(next(iter(arrays.values())), order=order)
    return columns_of_mapping(arrays)


def _is_text(content: bytes) -> bool:
    return re.fullmatch(rb"[\t\r\n\x20-\x7e]*|\xef\xbb\xbf.*", content[:4096], re.S) is not None


def _csv_columns(content: bytes, order: str) -> Columns:
    _check_count(content.count(b"\n"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the event table is not UTF-8 text ({error})") from error
    first = next((row for row in text.splitlines() if row.strip() and row[0] != "#"), "")
    delimiter = next((each for each in ",;\t" if each in first), None)
    cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
    has_names = bool(re.search(r"[a-z]", re.sub(r"nan|inf|\de[+-]?\d", "", first.lower())))
    names = cells if has_names else _checked_order(order)
    body = text[text.index(first) + len(first) :] if has_names else text
    if not any(row.strip() and row[0] != "#" for row in io.StringIO(body)):
        raise InvalidInputError("the event table has no rows; needed: one for each event")
    try:
        table = np.loadtxt(io.StringIO(body), delimiter=delimiter, comments="#", ndmin=2)
    except ValueError as error:
        raise InvalidInputError(
            f"the event table is no table of numbers: {str(error).partition(';')[0]}; correct that "
            "row, or leave it out"
        ) from error
    if table.shape[1] != len(names):
        raise InvalidInputError(
            f"the event table has {table.shape[1]} columns for the {len(names)} names "
            f"{', '.join(names)}; needed: t, x, y and p"
        )
    return columns_of_mapping({name: table[:, n] for n, name in enumerate(names)})


def _dat_columns(content: bytes) -> Columns:
    """Read Prophesee's DAT: lines that begin with %, two bytes, then eight bytes an event."""
    header, place = {}, 0
    while content[place : place + 1] == b"%":
        end = content.find(b"\n", place)
        if end < 0:
            raise InvalidInputError("the DAT file ends within its header; copy it again")
        words = content[place + 1 : end].decode("ascii", "replace").split()
        if len(words) >= 2:
            header[words[0].lower()] = words[1]
        place = end + 1
    if "evt" in header or "format" in header:
        raise InvalidInputError(
            "the event file is a Prophesee RAW recording, which is not read; convert it with "
            "Metavision's metavision_file_to_dat or metavision_file_to_csv"
        )
    if len(content) < place + 2 or content[place + 1] != 8:
        raise InvalidInputError(
            f"the DAT file's events are not of 8 bytes each ({content[place : place + 2].hex(' ')})"
            "; only contrast events (type 0 or 12) are read"
        )
    body = content[place + 2 :]
    if len(body) % 8:
        raise InvalidInputError(
            f"the DAT file is truncated: {len(body):,} bytes of events are no multiple of 8"
        )
    _check_count(len(body) // 8)
    words_ = np.frombuffer(body, "<u4").reshape(-1, 2)
    place_bits = words_[:, 1]
    return Columns(
        t=_unwrapped(words_[:, 0]),
        x=place_bits & 0x3FFF,
        y=place_bits >> 14 & 0x3FFF,
        p=place_bits >> 28 & 1,
        time_unit="us",
        width=_number(header.get("width")),
        height=_number(header.get("height")),
    )


def _number(word: str | None) -> int | None:
    return int(word) if word and word.isdigit() and len(word) < 6 else None


def _unwrapped(ticks: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Return 32-bit times that began anew after 71 minutes as times that go on."""
    wide = ticks.astype(np.int64)
    n_wraps = np.cumsum(np.diff(wide, prepend=wide[:1]) < -(2**31))
    unwrapped: npt.NDArray[np.int64] = wide + (n_wraps << 32)
    return unwrapped


def _aedat4_columns(content: bytes) -> Columns:
    recording = read_aedat4(content, max_events=MAX_EVENTS)
    events = recording.events
    return Columns(
        t=events["t"],
        x=events["x"],
        y=events["y"],
        p=events["on"] != 0,
        time_unit="us",
        width=recording.width,
        height=recording.height,
    )


def _bin_columns(content: bytes) -> Columns:
    """Read the five bytes an event of N-MNIST and N-Caltech101: x, y, polarity and 23 bits of µs.

    The format has no signature, so its times must tell: they never go back.
    """
    if len(content) % 5:
        raise _unknown(content)
    _check_count(len(content) // 5)
    raw = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64)
    t = (raw[:, 2] & 0x7F) << 16 | raw[:, 3] << 8 | raw[:, 4]
    is_overflow = raw[:, 1] == 240  # an entry that only says: later times are 8,192 us later
    t = t + (np.cumsum(is_overflow) << 13)
    kept = ~is_overflow
    if kept.sum() < 2 or (np.diff(t[kept]) < 0).any():
        raise _unknown(content)
    return Columns(t[kept], raw[kept, 0], raw[kept, 1], raw[kept, 2] >> 7, "us")


def _unknown(content: bytes) -> InvalidInputError:
    return InvalidInputError(
        f"not a recording of events ({len(content):,} bytes that start with "
        f"{content[:12].hex(' ')}); needed: npy, npz, csv, AEDAT4, Prophesee DAT, or N-MNIST's "
        "bin. A file is judged by its content, not by its name"
    )


_READERS: Mapping[bytes, Callable[[bytes], Columns]] = {
    AEDAT4_MAGIC: _aedat4_columns,
    b"% ": _dat_columns,
}

_NOT_READ: Mapping[bytes, str] = {
    b"#!AER-DAT1": "AEDAT 1, which is not read; export it as CSV or AEDAT4 (jAER, DV)",
    b"#!AER-DAT2": "AEDAT 2, which is not read; export it as CSV or AEDAT4 (jAER, DV)",
    b"#!AER-DAT3": "AEDAT 3.1, which is not read; export it as CSV or AEDAT4 (DV)",
    b"\x89HDF": "HDF5, which is not read; save its t, x, y and p as npz",
    b"#ROSBAG": "a ROS bag, which is not read; export its events as CSV or npz",
}
