"""AEDAT4, the files of DV and of iniVation's cameras: packets of events in FlatBuffers.

Read here and not through a library: a forged file must cost no more than an error. Every offset is
checked, and a packet is unpacked no further than the events that are taken at most.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError

__all__ = ["AEDAT4_MAGIC", "Recording", "read_aedat4"]

AEDAT4_MAGIC = b"#!AER-DAT4.0\r\n"

_EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("pad", "V3")])
_CODECS = {0: None, 1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The events of a file.

    Attributes:
        events: Structured with t in us, x, y and on, shape (N,).
        width: Of the sensor, if the file says so.
        height: Of the sensor, if the file says so.
    """

    events: npt.NDArray[Any]
    width: int | None
    height: int | None


def read_aedat4(content: bytes, *, max_events: int) -> Recording:
    """Return the events of the first stream of events.

    Args:
        content: A whole file.
        max_events: No more are unpacked.

    Raises:
        InvalidInputError: The file is truncated or damaged, has no events, or more than these.
    """
    try:
        return _read(content, max_events)
    except (struct.error, ValueError, IndexError, OSError, OverflowError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"the AEDAT4 file is truncated or damaged ({error}); copy it again"
        ) from error


def _read(content: bytes, max_events: int) -> Recording:
    place = len(AEDAT4_MAGIC)
    header = _Table(_prefixed(content, place))
    place += 4 + len(header.buffer)
    compression = header.number(0, "<i", default=0)
    if compression not in _CODECS:
        raise InvalidInputError(f"the AEDAT4 file is compressed by unknown method {compression}")
    end = header.number(1, "<q", default=-1)
    stream = _stream_of_events(header.text(2))
    packets, n_left = [], max_events
    for packet in _packets(content, place, len(content) if end < 0 else end, stream.number):
        # A size, some tables, and the events.
        unpacked = _unpacked(packet, _CODECS[compression], n_left * _EVENT.itemsize + 4096)
        events = _Table(_prefixed(unpacked, 0)).vector(0, _EVENT)
        n_left -= len(events)
        if n_left < 0:
            raise InvalidInputError(
                f"the recording has more than {max_events:,} events; cut it into shorter ones"
            )
        packets.append(events)
    if not packets:
        raise InvalidInputError("the AEDAT4 file has no events; record longer")
    return Recording(np.concatenate(packets), stream.width, stream.height)


@dataclass(frozen=True, slots=True)
class _Stream:
    number: int
    width: int | None
    height: int | None


def _stream_of_events(xml: str) -> _Stream:
    """Return which stream holds events; nothing else of the XML is looked at."""
    kinds = []
    for part in re.split(r'(?=<node name="\d+")', xml)[1:]:
        number = re.match(r'<node name="(\d{1,9})"', part)
        kind = re.search(r'key="typeIdentifier"[^>]*>\s*(\w{4})\s*<', part)
        kinds.append(kind[1] if kind else "unknown")
        if number and kinds[-1] == "EVTS":
            width, height = (
                re.search(rf'key="size{axis}"[^>]*>\s*(\d{{1,5}})\s*<', part) for axis in "XY"
            )
            return _Stream(
                int(number[1]), int(width[1]) if width else None, int(height[1]) if height else None
            )
    raise InvalidInputError(
        f"the AEDAT4 file has no stream of events, only {', '.join(kinds) or 'no stream at all'}"
    )


def _packets(content: bytes, place: int, end: int, wanted: int) -> Iterator[bytes]:
    while place < min(end, len(content)):
        stream, size = struct.unpack_from("<ii", content, place)
        place += 8
        if size < 0 or place + size > len(content):
            raise ValueError(f"a packet of {size:,} bytes begins at byte {place:,}, the last ends")
        if stream == wanted:
            yield content[place : place + size]
        place += size


def _unpacked(packet: bytes, codec: str | None, max_bytes: int) -> bytes:
    if codec is None:
        return packet
    import pyarrow  # half a second, and only compressed files need it

    with pyarrow.CompressedInputStream(pyarrow.BufferReader(packet), codec) as stream:
        unpacked: bytes = stream.read(max_bytes)
    return unpacked


def _prefixed(content: bytes, place: int) -> bytes:
    """Return the FlatBuffer that stands at a place with its size before it."""
    (size,) = struct.unpack_from("<I", content, place)
    if not 8 <= size <= len(content) - place - 4:
        raise ValueError(f"a table of {size:,} bytes is said where {len(content) - place:,} are")
    return content[place + 4 : place + 4 + size]


class _Table:
    """The root table of a FlatBuffer; struct and numpy check every offset against its end.

    Args:
        buffer: Without its size.
    """

    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer
        (self._place,) = struct.unpack_from("<I", buffer)
        (offset,) = struct.unpack_from("<i", buffer, self._place)
        self._fields = self._place - offset
        if self._fields < 0:
            raise ValueError("a table lies before its buffer")
        (self._n_bytes,) = struct.unpack_from("<H", buffer, self._fields)

    def number(self, field: int, form: str, *, default: int) -> int:
        """Return a number, or its default where it was left out."""
        place = self._field(field)
        return int(struct.unpack_from(form, self.buffer, place)[0]) if place else default

    def text(self, field: int) -> str:
        """Return a string, empty where it was left out."""
        return self.vector(field, np.dtype("u1")).tobytes().decode("utf-8", "replace")

    def vector(self, field: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return a vector of fixed-size values, empty where it was left out."""
        place = self._field(field)
        if not place:
            return np.zeros(0, dtype)
        place += struct.unpack_from("<I", self.buffer, place)[0]
        (n_values,) = struct.unpack_from("<I", self.buffer, place)
        return np.frombuffer(self.buffer, dtype, count=n_values, offset=place + 4)

    def _field(self, field: int) -> int:
        entry = 4 + 2 * field
        if entry + 2 > self._n_bytes:
            return 0
        offset: int = struct.unpack_from("<H", self.buffer, self._fields + entry)[0]
        return self._place + offset if offset else 0
