"""Sound files to samples: the header is believed only as far as it is checked.

libsndfile reads far more formats than these four; only they are handed to it. What a header claims
is held against the limits before a sample is decoded, and counted again while decoding block by
block, so that a forged one costs neither memory nor much time.
"""

import io
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unibind.errors import InvalidInputError
from unibind.modalities.audio_resampling import Resampler
from unibind.types import FloatArray

if TYPE_CHECKING:
    from soundfile import SoundFile

__all__ = [
    "MAX_BYTES",
    "MAX_CHANNELS",
    "MAX_DURATION_S",
    "MAX_FILE_RATE_HZ",
    "MAX_RATE_HZ",
    "MAX_VALUES",
    "MIN_DURATION_S",
    "MIN_RATE_HZ",
    "Decoded",
    "Excerpt",
    "decode",
]

MAX_DURATION_S = 600
"""A longer sound is refused: one embedding of ten minutes says nothing. A part can be chosen."""

MIN_DURATION_S = 0.005
"""A shorter sound is refused: nobody hears what it is."""

MAX_BYTES = 2**30
MAX_CHANNELS = 32

MAX_VALUES = 2**28
"""Samples x channels that are decoded at most: ten minutes at 192 kHz in stereo are fewer."""

MAX_RATE_HZ = 48_000
"""Of an item; people hear up to 20 kHz."""

MAX_FILE_RATE_HZ = 768_000
MIN_RATE_HZ = 500

_BLOCK_VALUES = 2**18
_SUPPORTED = "WAV, FLAC, Ogg (Vorbis, Opus) and MP3"
_SAVE_AGAIN = "save or copy it again"
_UNKNOWN = 2**62  # libsndfile's count of frames where the header says none
# Writers that cannot go back to the header leave 0 as the size of a WAV file's samples, or the
# largest number that they can; no file that is read is as large.
_OPEN_SIZE = 0x7FFF_0000
_MAX_JUNK = 2**16  # bytes between an MP3's tag and its first frame, mostly zeros
# 11 set bits; MPEG 1, 2 or 2.5, layer III; neither a reserved bit rate nor a reserved sample rate.
_RATES = "".join(rf"\x{bits:x}0-\x{bits:x}b" for bits in range(15))
_MP3_FRAME = re.compile(rf"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][{_RATES}]".encode())
_MP3_LENGTH = re.compile(rb"Xing|Info|VBRI")  # in its first frame, if an MP3 says its length
_SLACK_FRAMES = 4608  # what a lossy coder's delay and padding may amount to


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which part of a sound is taken.

    Attributes:
        start_s: Where it begins.
        duration_s: How long it is; None takes all that follows.
    """

    start_s: float = 0.0
    duration_s: float | None = None

    @property
    def end_s(self) -> float:
        """Where it ends, at most a little beyond what is ever taken."""
        longest = MAX_DURATION_S + 1.0
        return self.start_s + min(longest, longest if self.duration_s is None else self.duration_s)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What a file held.

    Attributes:
        samples: One channel, the mean of all, shape (S,); not checked for NaN or peaks.
        rate_hz: Of the samples.
        file_rate_hz: What the file said.
    """

    samples: FloatArray
    rate_hz: int
    file_rate_hz: int


def decode(content: bytes, excerpt: Excerpt) -> Decoded:
    """Return the samples of a sound file.

    Args:
        content: The whole file.
        excerpt: Which part of it.

    Raises:
        InvalidInputError: soundfile is not installed; or the file is empty, none of the formats,
            truncated, damaged or beyond the limits.
    """
    _check_size(content)
    kind = _kind(content)
    if kind in _MENDED:
        content = _MENDED[kind](content)
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(_Content(content)) as stream:
            # Where it may seek, soundfile seeks after each block, which fails in a file that does
            # not say its length, and reads no further than the header says.
            stream.seekable = lambda: False
            says_length = kind != "MP3" or _MP3_LENGTH.search(content, 0, 256) is not None
            return _read(stream, excerpt, says_length=says_length)
    except soundfile.LibsndfileError as error:
        reason = " ".join(str(error.error_string).split())
        raise InvalidInputError(
            f"the {kind} file is truncated or damaged ({reason}); {_SAVE_AGAIN}"
        ) from None
    except MemoryError:
        raise InvalidInputError(
            "the sound does not fit into memory; choose a part with start_s and duration_s"
        ) from None


class _Content(io.BytesIO):
    """A file in memory that takes any seek, as libsndfile asks for absurd ones in damaged files."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = (0, self.tell(), len(self.getbuffer()))[whence]
        return super().seek(min(max(0, base + offset), 2**40))


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: without the C library that its wheel brings
        raise InvalidInputError(
            "sound files are read with soundfile, which is not installed; run "
            "pip install 'unibind[audio]'"
        ) from None
    return soundfile


def _check_size(content: bytes) -> None:
    if not content:
        raise InvalidInputError(f"the sound file is empty (0 bytes); {_SAVE_AGAIN}")
    if len(content) > MAX_BYTES:
        raise InvalidInputError(
            f"the sound file has {len(content):,} bytes, at most {MAX_BYTES:,} are read; cut it"
        )


def _kind(content: bytes) -> str:
    start = content[:12]
    if start[:4] in (b"RIFF", b"RF64") and start[8:] == b"WAVE":
        return "WAV"
    if start[:4] == b"fLaC":
        return "FLAC"
    if start[:4] == b"OggS":
        return "Ogg"
    if start[:3] == b"ID3" or _MP3_FRAME.match(start):
        return "MP3"
    raise InvalidInputError(
        f"not a sound file that is read ({_describe(content)}); needed: {_SUPPORTED}. A file is "
        "judged by its content, not by its name; convert others, with ffmpeg say"
    )


def _describe(content: bytes) -> str:
    start = content[:12]
    if start.isascii() and b"\0" not in start:
        return f"{len(content):,} bytes of text that start with {start.decode('ascii')!r}"
    return f"{len(content):,} bytes that start with {start.hex(' ')}"


def _with_true_size(content: bytes) -> bytes:
    """Return a WAV file whose samples are as many as its header says.

    libsndfile takes a shorter file for a whole one, and one whose size was left open for empty.
    """
    at, claimed = _samples_chunk(content)
    left = len(content) - at
    if claimed <= left and not (claimed == 0 and left):
        return content
    if claimed == 0 or claimed >= _OPEN_SIZE:
        return content[: at - 4] + struct.pack("<I", left) + content[at:]
    raise InvalidInputError(
        f"the WAV file is truncated: it says {claimed:,} bytes of samples and has {left:,}; "
        f"{_SAVE_AGAIN}"
    )


def _samples_chunk(content: bytes) -> tuple[int, int]:
    """Return where the samples of a WAV file begin, and how many bytes it says they have."""
    at, long_size = 12, None
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        at += 8
        if name == b"data":
            return at, size if long_size is None else long_size
        if name == b"ds64" and at + 16 <= len(content):  # RF64: sizes of 64 bits stand here
            long_size = struct.unpack_from("<Q", content, at + 8)[0]
        at += size + size % 2
    raise InvalidInputError(f"the WAV file has no samples, it is truncated; {_SAVE_AGAIN}")


def _without_tags(content: bytes) -> bytes:
    """Return an MP3 file from its first frame on, without the tags before and behind.

    libsndfile counts a tag, which may hold a picture, as sound, and does not find what follows
    some of them.
    """
    at = 0
    while content[at : at + 3] == b"ID3" and len(content) >= at + 10:
        size = 0
        for byte in content[at + 6 : at + 10]:  # 7 bits in each
            size = size << 7 | byte & 0x7F
        at += 10 + size
    found = _MP3_FRAME.search(content, at, at + _MAX_JUNK)
    if not found:
        raise InvalidInputError(f"the MP3 file is truncated: no sound in it; {_SAVE_AGAIN}")
    end = len(content) - 128 if content[-128:-125] == b"TAG" else len(content)
    return content[found.start() : end]


_MENDED = {"WAV": _with_true_size, "MP3": _without_tags}


def _read(stream: "SoundFile", excerpt: Excerpt, *, says_length: bool) -> Decoded:
    claimed = stream.frames if stream.frames < _UNKNOWN else 0
    _check_header(stream, excerpt, claimed)
    rate_hz = stream.samplerate
    first, end = math.floor(excerpt.start_s * rate_hz), math.ceil(excerpt.end_s * rate_hz)
    counted = _Counted(stream, end)
    to_48_khz = Resampler(rate_hz, MAX_RATE_HZ) if rate_hz > MAX_RATE_HZ else None
    parts, n_taken = [], 0
    for start, block in counted:
        mono = block[max(0, first - start) :].mean(axis=1)
        n_taken += len(mono)
        _check_duration(n_taken, rate_hz)
        parts.append(mono if to_48_khz is None else to_48_khz(mono))
    if says_length and counted.n_frames < min(claimed, end) - _SLACK_FRAMES:
        raise InvalidInputError(
            f"the sound file is truncated: it says {claimed:,} samples and has "
            f"{counted.n_frames:,}; {_SAVE_AGAIN}"
        )
    if n_taken < MIN_DURATION_S * rate_hz:
        raise InvalidInputError(
            f"the sound has {n_taken} samples at {rate_hz} Hz, {n_taken / rate_hz:.3g} s, from "
            f"{excerpt.start_s:g} s on; at least {MIN_DURATION_S} s were needed"
        )
    if to_48_khz is not None:
        parts.append(to_48_khz(np.empty(0, dtype=np.float32), is_last=True))
    return Decoded(np.concatenate(parts), min(rate_hz, MAX_RATE_HZ), rate_hz)


class _Counted:
    """The blocks of a stream with the frame that each begins with, up to an end."""

    def __init__(self, stream: "SoundFile", end: int) -> None:
        self._stream = stream
        self._end = end
        self.n_frames = 0

    def __iter__(self) -> Iterator[tuple[int, FloatArray]]:
        n_channels = self._stream.channels
        step = max(1, _BLOCK_VALUES // n_channels)
        while self.n_frames < self._end:
            wanted = min(step, self._end - self.n_frames)
            block = self._stream.read(wanted, dtype="float32", always_2d=True)
            if not len(block):
                return
            start, self.n_frames = self.n_frames, self.n_frames + len(block)
            if self.n_frames * n_channels > MAX_VALUES:
                raise InvalidInputError(_too_many(self.n_frames, n_channels))
            yield start, block


def _check_header(stream: "SoundFile", excerpt: Excerpt, n_frames: int) -> None:
    rate_hz, n_channels = stream.samplerate, stream.channels
    if not MIN_RATE_HZ <= rate_hz <= MAX_FILE_RATE_HZ:
        raise InvalidInputError(
            f"the sound file says {rate_hz:,} samples per second; {MIN_RATE_HZ:,} to "
            f"{MAX_FILE_RATE_HZ:,} are read. {_SAVE_AGAIN.capitalize()}"
        )
    if n_channels > MAX_CHANNELS:
        raise InvalidInputError(
            f"the sound file says {n_channels} channels, at most {MAX_CHANNELS} are read; mix it "
            "down first"
        )
    taken = min(n_frames, math.ceil(excerpt.end_s * rate_hz))
    if excerpt.duration_s is None:
        _check_duration(n_frames - math.floor(excerpt.start_s * rate_hz), rate_hz)
    if taken * n_channels > MAX_VALUES:
        raise InvalidInputError(_too_many(taken, n_channels))


def _check_duration(n_frames: int, rate_hz: int) -> None:
    if n_frames > MAX_DURATION_S * rate_hz:
        raise InvalidInputError(
            f"the sound lasts {n_frames / rate_hz:,.0f} s, at most {MAX_DURATION_S} s are taken; "
            "cut it, or choose a part with the options start_s and duration_s"
        )


def _too_many(n_frames: int, n_channels: int) -> str:
    return (
        f"the sound has {n_frames:,} samples in {n_channels} channels, at most "
        f"{MAX_VALUES:,} values are decoded; mix it down, or lower its rate"
    )
