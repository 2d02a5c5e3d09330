"""Sound: one channel of samples at a known rate, from a file or from an array."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.audio_files import (
    MAX_BYTES,
    MAX_CHANNELS,
    MAX_DURATION_S,
    MAX_FILE_RATE_HZ,
    MAX_RATE_HZ,
    MAX_VALUES,
    MIN_DURATION_S,
    MIN_RATE_HZ,
    Excerpt,
    decode,
)
from unibind.modalities.audio_resampling import resample
from unibind.types import FloatArray, Modality

__all__ = ["AUDIO", "READING", "Sound", "accept", "draw", "read", "samples_at"]

READING = 1
"""Version of how sounds are read; part of every audio encoder's fingerprint. Raise it when the same
bytes come to give other samples."""

MAX_PEAK = 16.0
"""Samples may exceed 1 by this factor, as lossy decoders and loud floating-point files do; a sound
beyond 1 is brought down to it. Still higher ones are in other units."""

_HALF = {np.dtype(np.int8): 2.0**7, np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}
_SHAPES = "(S,), (S, channels) or (channels, S)"


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """One channel of sound.

    Attributes:
        samples: float32 in [-1, 1], shape (S,).
        rate_hz: Samples per second.
    """

    samples: FloatArray
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate_hz


def read(
    content: bytes,
    *,
    rate_hz: float | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> Sound:
    """Return the sound of a WAV, FLAC, Ogg (Vorbis, Opus) or MP3 file.

    Channels are averaged, and a rate above 48 kHz is reduced to it. Silence is a sound.

    Args:
        content: A whole file.
        rate_hz: For arrays, which do not say it; a file does, and must agree.
        start_s: Where in the file the sound begins.
        duration_s: How much of the file is taken; to its end by default.

    Raises:
        InvalidInputError: The file is empty, no such file, truncated, damaged, beyond the limits of
            `AUDIO`, or has NaN or infinite samples; or the options do not fit it.
    """
    decoded = decode(content, _excerpt(start_s, duration_s))
    if rate_hz is not None and _rate(rate_hz) != decoded.file_rate_hz:
        raise InvalidInputError(
            f"the file has {decoded.file_rate_hz} samples per second, rate_hz says {rate_hz:g}; "
            "leave the option out for files"
        )
    return Sound(_within_one(decoded.samples), decoded.rate_hz)


def accept(
    value: Any,
    *,
    rate_hz: float | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> Sound:
    """Return decoded samples as a sound.

    An array has shape (S,), (S, channels) or (channels, S): of two axes the shorter one is the
    channels, of which there are at most 32. Integers are scaled by their type's range (uint8 is
    centred at 128), floating-point samples are taken as they are.

    Args:
        value: A `Sound`; a pair of samples and rate in Hz, in either order; or samples alone, if
            rate_hz is given.
        rate_hz: Samples per second of samples alone.
        start_s: Where the sound begins.
        duration_s: How much is taken.

    Raises:
        InvalidInputError: The value has another type, dtype, shape or range, or no known rate.
    """
    excerpt = _excerpt(start_s, duration_s)
    samples, rate = _samples_and_rate(value, rate_hz)
    first, end = (round(edge * rate) for edge in (excerpt.start_s, excerpt.end_s))
    n_taken = len(samples[first:] if duration_s is None else samples[first:end])
    _check_length(n_taken, rate)
    mono = _within_one(_mono(samples[first : first + n_taken]))
    if rate <= MAX_RATE_HZ:
        return Sound(mono, rate)
    return Sound(_within_one(resample(mono, rate, MAX_RATE_HZ)), MAX_RATE_HZ)


def samples_at(sound: Sound, rate_hz: int) -> FloatArray:
    """Return a sound's samples at another rate, shape (S',), band-limited to what it can carry.

    Raises:
        InvalidInputError: The library that resamples is not installed.
    """
    return resample(sound.samples, sound.rate_hz, rate_hz)


def draw(sound: Sound) -> npt.NDArray[np.uint8]:
    """Return a picture of a sound: its waveform, and its power in mel bands over time.

    Args:
        sound: What `read` or `accept` returned.

    Returns:
        uint8 sRGB, shape (540, 960, 3).
    """
    from unibind.modalities.audio_picture import picture  # matplotlib, for those who look

    return picture(sound.samples, sound.rate_hz)


AUDIO = Modality(
    name="audio",
    units="Sound(samples: float32 (S,), one channel in [-1, 1]; rate_hz: at most 48000)",
    read=read,
    accept=accept,
    suffixes=(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    options={
        "rate_hz": "samples per second of an array; a file says it itself",
        "start_s": "where the sound begins, in seconds; 0 by default",
        "duration_s": "how many seconds are taken; to the end by default",
    },
    limits={
        "duration_s": MAX_DURATION_S,
        "bytes": MAX_BYTES,
        "channels": MAX_CHANNELS,
        "rate_hz": MAX_FILE_RATE_HZ,
        "samples": MAX_VALUES,
    },
    draw=draw,
)


def _excerpt(start_s: float, duration_s: float | None) -> Excerpt:
    for name, seconds in (("start_s", start_s), ("duration_s", duration_s)):
        if seconds is None:
            continue
        if not isinstance(seconds, int | float) or not np.isfinite(seconds) or seconds < 0:
            raise InvalidInputError(f"{name} is {seconds!r}; a number of seconds >= 0 was needed")
    if duration_s == 0:
        raise InvalidInputError("duration_s is 0; leave it out to take everything")
    return Excerpt(float(start_s), None if duration_s is None else float(duration_s))


def _rate(rate_hz: Any) -> int:
    is_number = isinstance(rate_hz, int | float | np.integer | np.floating)
    if not is_number or isinstance(rate_hz, bool) or not MIN_RATE_HZ <= rate_hz <= MAX_FILE_RATE_HZ:
        raise InvalidInputError(
            f"the rate is {rate_hz!r}; a number of samples per second from {MIN_RATE_HZ:,} to "
            f"{MAX_FILE_RATE_HZ:,} was needed"
        )
    if rate_hz != int(rate_hz):
        raise InvalidInputError(f"the rate is {rate_hz!r}; a whole number of Hz was needed")
    return int(rate_hz)


def _samples_and_rate(value: Any, rate_hz: float | None) -> tuple[npt.NDArray[Any], int]:
    samples: Any
    known: Any
    if isinstance(value, Sound):
        samples, known = value.samples, value.rate_hz
    elif isinstance(value, tuple) and len(value) == 2:
        # soundfile gives (samples, rate), scipy (rate, samples): the array tells which is which.
        samples, known = value if isinstance(value[0], np.ndarray) else value[::-1]
    else:
        samples, known = value, rate_hz
    if not isinstance(samples, np.ndarray):
        raise InvalidInputError(
            "a sound was needed as an array, a pair (array, rate in Hz) or a Sound, got "
            f"{type(value).__name__}; pass the path of a file as pathlib.Path, its content as bytes"
        )
    if known is None:
        raise InvalidInputError(
            "an array of samples does not say its rate; give a pair (array, rate in Hz), or the "
            "option rate_hz"
        )
    rate = _rate(known)
    if rate_hz is not None and _rate(rate_hz) != rate:
        raise InvalidInputError(f"the sound has {rate} samples per second, rate_hz says {rate_hz}")
    if samples.ndim not in (1, 2):
        raise InvalidInputError(
            f"an array of samples has the shape {samples.shape}; {_SHAPES} was needed"
        )
    return (samples if samples.ndim == 1 else _channels_last(samples)), rate


def _channels_last(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    n_channels = min(samples.shape)
    if n_channels > MAX_CHANNELS or samples.shape[0] == samples.shape[1]:
        raise InvalidInputError(
            f"an array of samples has the shape {samples.shape}, which does not tell time from "
            f"channels (at most {MAX_CHANNELS}, and fewer than samples); {_SHAPES} was needed"
        )
    return samples if samples.shape[1] == n_channels else samples.T


def _mono(samples: npt.NDArray[Any]) -> FloatArray:
    """Return samples, shape (S,) or (S, channels), as one channel, float32, shape (S,)."""
    if samples.dtype == np.float32 and samples.ndim == 1 and samples.flags.c_contiguous:
        return samples
    if np.issubdtype(samples.dtype, np.floating):
        with np.errstate(over="ignore"):  # infinite then, which is refused
            scaled = samples.astype(np.float32)
    elif samples.dtype == np.uint8:
        scaled = (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    elif samples.dtype in _HALF:
        scaled = (samples / _HALF[samples.dtype]).astype(np.float32)
    else:
        raise InvalidInputError(
            f"an array of samples is {samples.dtype}; needed: floating-point in [-1, 1], int8, "
            "int16, int32 or uint8"
        )
    return np.ascontiguousarray(scaled if scaled.ndim == 1 else scaled.mean(axis=1))


def _check_length(n_samples: int, rate_hz: int) -> None:
    duration_s = n_samples / rate_hz
    if duration_s > MAX_DURATION_S:
        raise InvalidInputError(
            f"the sound lasts {duration_s:,.0f} s, at most {MAX_DURATION_S} s are taken; cut it, "
            "or choose a part with the options start_s and duration_s"
        )
    if duration_s < MIN_DURATION_S:
        raise InvalidInputError(
            f"the sound has {n_samples} samples at {rate_hz} Hz, {duration_s:.3g} s; at least "
            f"{MIN_DURATION_S} s were needed"
        )


def _within_one(mono: FloatArray) -> FloatArray:
    """Return the samples with a peak of at most 1, once they are known to be finite."""
    peak = float(np.abs(mono).max())  # NaN if one is
    if not np.isfinite(peak):
        raise InvalidInputError("a sound has NaN or infinite samples; replace them first")
    if peak > MAX_PEAK:
        raise InvalidInputError(
            f"a sound has floating-point samples up to {peak:.4g}; needed: [-1, 1] (divide by "
            "full scale: 32768 for 16 bits)"
        )
    return mono if peak <= 1 else mono / np.float32(peak)
