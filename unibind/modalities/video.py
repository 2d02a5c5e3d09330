"""Video: any common file to a few frames, chosen by time, upright and small enough to batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from unibind.errors import InvalidInputError
from unibind.modalities.video_footage import (
    MAX_DECODED_PIXELS,
    MAX_DURATION_S,
    MAX_FRAMES,
    MAX_PIXELS,
    MAX_SIDE,
    Footage,
    open_footage,
)
from unibind.types import Modality, Window

__all__ = [
    "MAX_DECODING_S",
    "N_FRAMES",
    "READING",
    "VIDEO",
    "Clip",
    "accept",
    "cut",
    "draw",
    "read",
]

UInt8Array = npt.NDArray[np.uint8]

N_FRAMES = 16
"""Frames of a clip, unless the option n_frames says otherwise."""

MAX_KEPT = 256
"""Frames of a clip at most, whatever the option says."""

MAX_DECODING_S = 60.0
"""Seconds that decoding one clip may take."""

READING = 1
"""Version of how videos are read; part of every video encoder's fingerprint. Raise it when the
same bytes come to give other frames."""


_TICK_S = 1e-6  # times of frames are rounded to ticks of their container


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Some frames of a video, in the order of time.

    Attributes:
        frames: sRGB pixels, uint8, shape (T, H, W, 3).
        times_s: When each was shown, from the beginning of the file, ascending, shape (T,).
        duration_s: How long the clip is shown.
    """

    frames: UInt8Array
    times_s: npt.NDArray[np.float64]
    duration_s: float


def read(
    content: bytes, *, frames_per_s: float | None = None, n_frames: int | str = N_FRAMES
) -> Clip:
    """Return frames of a video file, at the middles of n_frames equal spans of its time.

    Of two spans that fall on one frame (it is shown long, as in a slide show) the frame is kept
    once. Frames are turned upright as the file says, transparency is laid over white, pixels that
    are not square are made so, and a longer side above `MAX_SIDE` is reduced to it.

    Args:
        content: A whole file: MP4, MOV, WebM, Matroska, AVI, GIF or animated WebP.
        frames_per_s: How fast frames follow each other, instead of what the file says.
        n_frames: How many frames are kept at most, in [1, 256].

    Raises:
        InvalidInputError: The file is empty, no video, truncated, damaged, too large or too long,
            takes longer than `MAX_DECODING_S` to decode, has no duration, or is a GIF or WebP of
            one frame; or an option is no number in its range.
        PluginError: PyAV, the extra 'video', is not installed.
    """
    n_kept = _checked_count(n_frames)
    footage = _at_rate(open_footage(content), frames_per_s)
    numbers = _middles(footage, 0.0, footage.duration_s, n_kept)
    frames = list(footage.decode(numbers, MAX_DECODING_S))
    return Clip(np.stack(frames), footage.times_s[numbers], footage.duration_s)


def accept(
    value: Any, *, frames_per_s: float | None = None, n_frames: int | str = N_FRAMES
) -> Clip:
    """Return decoded frames as an item.

    Args:
        value: A `Clip`, which is checked and kept; or an array, uint8, shape (T, H, W, 3) or
            (T, H, W, 1), of which `n_frames` are kept at most.
        frames_per_s: How fast the frames of an array follow each other; needed.
        n_frames: As in `read`.

    Raises:
        InvalidInputError: The value has another type, dtype, shape or range, or the array comes
            without frames_per_s.
    """
    if isinstance(value, Clip):
        return _checked(value)
    if not isinstance(value, np.ndarray):
        raise InvalidInputError(
            f"a video was needed as an array or a Clip, got {type(value).__name__}; pass the path "
            "of a file as pathlib.Path, its content as bytes"
        )
    pixels = _checked_pixels(value)
    if frames_per_s is None:
        raise InvalidInputError(
            f"an array of {len(pixels)} frames does not say how fast they follow each other; give "
            "the option frames_per_s"
        )
    step = 1 / _checked_rate(frames_per_s)
    times_s = np.arange(len(pixels), dtype=np.float64) * step
    footage = Footage(times_s, len(pixels) * step, lambda numbers, _: iter(pixels[list(numbers)]))
    numbers = _middles(footage, 0.0, footage.duration_s, _checked_count(n_frames))
    frames = np.stack([_small(frame) for frame in pixels[numbers]])
    return Clip(frames, times_s[numbers], footage.duration_s)


def cut(
    content: bytes,
    *,
    window_s: float,
    stride_s: float | None = None,
    n_frames: int | str = 8,
    frames_per_s: float | None = None,
) -> Iterator[Window]:
    """Yield windows of a long video, so that a search finds the moment and not only the film.

    The file is decoded once, however the windows overlap, and only the frames of the window at
    hand are in memory. A rest shorter than half a window is left to the window before.

    Args:
        content: As in `read`.
        window_s: Length of a window; > 0.
        stride_s: From begin to begin; a window's length by default, so that none overlap.
        n_frames: Frames of each window at most.
        frames_per_s: As in `read`.

    Raises:
        InvalidInputError: As in `read`, or a length is not above 0.
    """
    stride = window_s if stride_s is None else stride_s
    for name, length_s in (("window_s", window_s), ("stride_s", stride)):
        if not (np.isfinite(length_s) and length_s >= 0.1):
            raise InvalidInputError(f"{name} is {length_s}; at least 0.1 s is needed")
    n_kept = _checked_count(n_frames)
    footage = _at_rate(open_footage(content), frames_per_s)
    spans = list(_spans(footage.duration_s, window_s, stride))
    wanted = [_middles(footage, start, end, n_kept) for start, end in spans]
    decoded = footage.decode(sorted({n for each in wanted for n in each}), 60.0 * len(spans))
    numbers = iter(sorted({n for each in wanted for n in each}))
    kept: dict[int, UInt8Array] = {}
    for (start, end), needed in zip(spans, wanted, strict=True):
        while needed[-1] not in kept:
            kept[next(numbers)] = next(decoded)
        kept = {number: frame for number, frame in kept.items() if number >= needed[0]}
        frames = np.stack([kept[number] for number in needed])
        yield Window(start, end, Clip(frames, footage.times_s[needed], end - start))


def draw(clip: Clip) -> UInt8Array:
    """Return a contact sheet: the clip's frames row by row, each with its time.

    Args:
        clip: The clip.

    Returns:
        sRGB pixels, uint8, shape (H, W, 3).
    """
    n_columns = min(len(clip.frames), 4)
    n_rows = -(-len(clip.frames) // n_columns)
    height, width = clip.frames.shape[1:3]
    scale = 240 / max(height, width)
    cell = max(1, round(width * scale)), max(1, round(height * scale))
    sheet = Image.new("RGB", (n_columns * (cell[0] + 8) + 8, n_rows * (cell[1] + 22) + 8), "white")
    pen = ImageDraw.Draw(sheet)
    for n, (frame, time_s) in enumerate(zip(clip.frames, clip.times_s, strict=True)):
        left, top = 8 + n % n_columns * (cell[0] + 8), 8 + n // n_columns * (cell[1] + 22)
        sheet.paste(Image.fromarray(frame).resize(cell), (left, top))
        pen.text((left, top + cell[1] + 2), f"{time_s:.2f} s", fill="black")
    return np.array(sheet)


VIDEO = Modality(
    name="video",
    units=f"Clip: uint8 frames (T, H, W, 3), sRGB, longer side at most {MAX_SIDE} px; times in s",
    read=read,
    accept=accept,
    suffixes=(".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif", ".webp"),
    options={
        "frames_per_s": "how fast frames follow each other; needed for arrays, of a file it "
        "replaces the file's own times",
        "n_frames": f"how many frames are kept at most (default {N_FRAMES})",
    },
    limits={
        "frame_px": MAX_PIXELS,
        "frames": MAX_FRAMES,
        "duration_s": MAX_DURATION_S,
        "decoding_s": MAX_DECODING_S,
        "decoded_px": MAX_DECODED_PIXELS,
        "kept_frames": MAX_KEPT,
    },
    draw=draw,
    cut=cut,
    before=("image",),
)


def _middles(footage: Footage, start_s: float, end_s: float, n: int) -> list[int]:
    """Return the numbers of the frames shown at the middles of n equal spans, each once."""
    moments = start_s + (np.arange(n) + 0.5) / n * (end_s - start_s)
    shown = np.searchsorted(footage.times_s, moments + _TICK_S, side="right") - 1
    return [int(number) for number in np.unique(np.maximum(shown, 0))]


def _spans(duration_s: float, window_s: float, stride_s: float) -> Iterator[tuple[float, float]]:
    n_spans = max(1, round((duration_s - window_s) / stride_s + 1e-9) + 1)
    for n in range(n_spans):
        is_last = n == n_spans - 1
        start = n * stride_s
        yield start, duration_s if is_last else min(start + window_s, duration_s)


def _at_rate(footage: Footage, frames_per_s: float | None) -> Footage:
    if frames_per_s is None:
        return footage
    rate, n = _checked_rate(frames_per_s), len(footage.times_s)
    return Footage(np.arange(n, dtype=np.float64) / rate, n / rate, footage.decode)


def _checked_rate(frames_per_s: Any) -> float:
    try:
        rate = float(frames_per_s)
    except (TypeError, ValueError):
        rate = float("nan")
    if not 1e-3 <= rate <= 1e5:
        raise InvalidInputError(
            f"frames_per_s is {frames_per_s!r}; needed: frames per second, in [0.001, 100000]"
        )
    return rate


def _checked_count(n_frames: Any) -> int:
    try:
        n = int(n_frames)
    except (TypeError, ValueError):
        n = 0
    if not 1 <= n <= MAX_KEPT:
        raise InvalidInputError(f"n_frames is {n_frames!r}; needed: a number in [1, {MAX_KEPT}]")
    return n


def _checked_pixels(value: npt.NDArray[Any]) -> UInt8Array:
    if value.dtype != np.uint8 or value.ndim != 4 or value.shape[3] not in (1, 3):
        remedy = "give uint8 frames of shape (T, H, W, 3)"
        if value.ndim == 4 and value.shape[1] in (1, 3):
            remedy = "its channels stand second: np.moveaxis(array, 1, -1) puts them last"
        elif value.ndim == 3:
            remedy = "it looks like one picture: read it as an image, or give (1, H, W, 3)"
        elif np.issubdtype(value.dtype, np.floating):
            remedy = "np.round(255 * array).astype(np.uint8) makes bytes of values in [0, 1]"
        raise InvalidInputError(f"a video is {value.dtype} of shape {value.shape}; {remedy}")
    if min(value.shape[:3]) < 1:
        raise InvalidInputError(f"a video of shape {value.shape} has no pixels; give at least one")
    if len(value) > MAX_FRAMES or value.shape[1] * value.shape[2] > MAX_PIXELS:
        raise InvalidInputError(
            f"a video of shape {value.shape} is too large; at most {MAX_FRAMES:,} frames of "
            f"{MAX_PIXELS:,} pixels are taken"
        )
    return np.broadcast_to(value, (*value.shape[:3], 3))


def _small(frame: UInt8Array) -> UInt8Array:
    scale = MAX_SIDE / max(frame.shape[:2])
    if scale >= 1:
        return frame
    size = [max(1, round(side * scale)) for side in frame.shape[1::-1]]
    return np.asarray(Image.fromarray(frame).resize((size[0], size[1]), Image.Resampling.BOX))


def _checked(clip: Clip) -> Clip:
    _checked_pixels(clip.frames)
    times: Sequence[float] | npt.NDArray[np.float64] = clip.times_s
    if np.shape(times) != (len(clip.frames),):
        raise InvalidInputError(
            f"a clip has {len(clip.frames)} frames and times of shape {np.shape(times)}; one time "
            "each is needed"
        )
    is_good = np.isfinite(times).all() and (np.diff(times) > 0).all() and clip.duration_s > 0
    if not is_good or len(clip.frames) > MAX_KEPT or max(clip.frames.shape[1:3]) > MAX_SIDE:
        raise InvalidInputError(
            f"a clip needs ascending times, a duration above 0, at most {MAX_KEPT} frames and "
            f"sides of at most {MAX_SIDE} px; got {clip.frames.shape}, {clip.duration_s} s"
        )
    return clip
