"""Which container a video's bytes are, and what can be told of them before anything is decoded."""

import struct
from collections.abc import Callable, Mapping

from unibind.errors import InvalidInputError

__all__ = ["ANIMATIONS", "container_of", "frame_delays_ms"]

ANIMATIONS = ("gif", "webp")
"""Containers of pictures that move; Pillow reads them, with their transparency."""

_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_LEAST_DELAY_MS = 10
_BROWSERS_DELAY_MS = 100


def container_of(content: bytes) -> str:
    """Return ``"mov"`` (MP4 too), ``"matroska"`` (WebM too), ``"avi"``, ``"gif"`` or ``"webp"``.

    The bytes decide, not a file's name, and nothing else is ever handed to a demuxer: some
    formats that FFmpeg knows, playlists say, name other files and addresses to open.

    Raises:
        InvalidInputError: The content is empty, of another kind, or shorter than it says.
    """
    if not content:
        raise InvalidInputError("the video file is empty (0 bytes); save or copy it again")
    for kind, (is_it, declared_size) in _CONTAINERS.items():
        if is_it(content):
            size = declared_size(content)
            if size > len(content):
                raise InvalidInputError(
                    f"the video is truncated: it says {size:,} bytes, {len(content):,} are here; "
                    "copy it again"
                )
            return kind
    raise InvalidInputError(
        f"not a video ({len(content):,} bytes that start with {content[:12].hex(' ')}); needed: "
        "MP4, MOV, WebM, Matroska, AVI, GIF or animated WebP. A file is judged by its content, "
        "not by its name"
    )


def frame_delays_ms(content: bytes, kind: str) -> list[int]:
    """Return how long each frame of an animation is shown, in ms; nothing is decoded.

    A delay of 10 ms or less means "as fast as you can" and is shown as 100 ms, as browsers do.

    Args:
        content: A GIF or WebP.
        kind: Which of `ANIMATIONS`.

    Raises:
        InvalidInputError: It is truncated or damaged.
    """
    delays = (_gif_delays if kind == "gif" else _webp_delays)(content)
    return [delay if delay > _LEAST_DELAY_MS else _BROWSERS_DELAY_MS for delay in delays]


def _is_quicktime(content: bytes) -> bool:
    return content[4:8] in _QUICKTIME_BOXES


def _quicktime_size(content: bytes) -> int:
    """Return where the last top-level box ends."""
    place = 0
    while place + 8 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        if size == 1 and place + 16 <= len(content):  # the real size follows, in 64 bits
            (size,) = struct.unpack_from(">Q", content, place + 8)
        if size == 0:  # to the end of the file
            return len(content)
        if size < 8:
            break
        place += size
    return place


def _matroska_size(content: bytes) -> int:
    """Return where the segment ends, if it says so; a live recording does not."""
    header, start = _ebml_number(content, 4)
    place = start + header
    if content[place : place + 4] != _SEGMENT:
        return 0
    size, start = _ebml_number(content, place + 4)
    n_bits = 7 * (start - place - 4)
    return 0 if size == (1 << n_bits) - 1 else start + size


def _ebml_number(content: bytes, place: int) -> tuple[int, int]:
    """Return the number of variable length that stands at a place, and where it ends."""
    first = content[place] if place < len(content) else 0
    n_bytes = 9 - first.bit_length()
    raw = int.from_bytes(content[place : place + n_bytes], "big")
    return raw & ((1 << 7 * n_bytes) - 1), place + n_bytes


def _riff_size(content: bytes) -> int:
    size: int = struct.unpack_from("<I", content, 4)[0]
    return 8 + size


_CONTAINERS: Mapping[str, tuple[Callable[[bytes], bool], Callable[[bytes], int]]] = {
    "gif": (lambda content: content[:6] in (b"GIF87a", b"GIF89a"), lambda content: 13),
    "webp": (lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP", _riff_size),
    "avi": (lambda content: content[:4] == b"RIFF" and content[8:12] == b"AVI ", _riff_size),
    "matroska": (lambda content: content.startswith(_EBML), _matroska_size),
    "mov": (_is_quicktime, _quicktime_size),
}


def _webp_delays(content: bytes) -> list[int]:
    delays, place = [], 12
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        if name == b"ANMF" and place + 24 <= len(content):
            delays.append(int.from_bytes(content[place + 20 : place + 23], "little"))
        place += 8 + size + size % 2
    return delays or [0]


def _gif_delays(content: bytes) -> list[int]:
    """Walk the blocks of a GIF up to its trailer, which a truncated one does not reach."""
    delays, delay = [], 0
    try:
        place = 13 + _table_size(content[10])
        while content[place] != 0x3B:
            if content[place] == 0x21:  # an extension; 0xF9 holds the delay of the next frame
                if content[place + 1] == 0xF9:
                    delay = 10 * int.from_bytes(content[place + 4 : place + 6], "little")
                place = _after_blocks(content, place + 2)
            elif content[place] == 0x2C:  # a frame
                place += 10 + _table_size(content[place + 9])
                place = _after_blocks(content, place + 1)
                delays.append(delay)
            else:
                raise InvalidInputError(
                    f"the GIF is damaged: its byte {place:,} begins no block; save or copy it again"
                )
    except IndexError:
        raise InvalidInputError(
            f"the GIF is truncated: it ends within frame {len(delays) + 1}; copy it again"
        ) from None
    return delays


def _table_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(content: bytes, place: int) -> int:
    while content[place]:
        place += 1 + content[place]
    return place + 1
