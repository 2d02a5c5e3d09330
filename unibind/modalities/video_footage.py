"""A video before it is sampled: when its frames are shown, and a way to decode some of them."""

import io
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from unibind.errors import InvalidInputError, PluginError
from unibind.modalities.video_containers import ANIMATIONS, container_of, frame_delays_ms

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = [
    "MAX_DECODED_PIXELS",
    "MAX_DURATION_S",
    "MAX_FRAMES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "Footage",
    "open_footage",
]

UInt8Array = npt.NDArray[np.uint8]

MAX_PIXELS = 36_000_000
"""Width x height of a frame at most: 8K."""

MAX_FRAMES = 1_000_000
"""Frames of a file at most: nine hours at 30 a second."""

MAX_DURATION_S = 6 * 3600.0
"""Length of a file at most."""

MAX_DECODED_PIXELS = 2e10
"""Width x height x frames that are decoded for one clip at most: 10,000 frames of 1080p."""

MAX_SIDE = 512
"""Pixels of the longer side of an item's frames; larger ones are reduced."""

_SEEK_FRAMES = 300
"""If more frames than these are to be skipped, decoding goes on at a key frame before the next."""


# What Pillow raises on broken or forged animations.
_BROKEN = (
    OSError, ValueError, SyntaxError, LookupError, TypeError, EOFError, RuntimeError, struct.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """A file whose frames were counted but not decoded.

    Attributes:
        times_s: When each frame appears, from 0, ascending, shape (M,).
        duration_s: Until the last frame disappears.
        decode: Called with ascending numbers of frames and the seconds it may take; yields their
            pixels, uint8, shape (H, W, 3). Time that the caller takes does not count.
    """

    times_s: npt.NDArray[np.float64]
    duration_s: float
    decode: Callable[[Sequence[int], float], Iterator[UInt8Array]]


def open_footage(content: bytes) -> Footage:
    """Return what a video file shows, and when.

    Args:
        content: MP4, MOV, WebM, Matroska, AVI, GIF or animated WebP.

    Raises:
        InvalidInputError: It is none of these, truncated, damaged, too large or too long, holds
            no pictures, or is a GIF or WebP of one frame, which is a picture.
        PluginError: It needs the extra 'video', which is not installed.
    """
    kind = container_of(content)
    footage = _animation(content, kind) if kind in ANIMATIONS else _stream(content, kind)
    if not footage.duration_s > 0:
        raise InvalidInputError(
            f"the video's {len(footage.times_s)} frames last {footage.duration_s:g} s in all; say "
            "how fast they follow each other with the option frames_per_s"
        )
    _check_duration(footage.duration_s)
    return footage


def _check_duration(duration_s: float) -> None:
    if duration_s > MAX_DURATION_S:
        raise InvalidInputError(
            f"the video lasts {duration_s:,.0f} s, at most {MAX_DURATION_S:,.0f} s are read; "
            "cut it into shorter files"
        )


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InvalidInputError(
            f"the video's frames are {width} x {height} px; at most {MAX_PIXELS:,} pixels are "
            "decoded, reduce them first"
        )


def _check_count(n_frames: int) -> None:
    if n_frames > MAX_FRAMES:
        raise InvalidInputError(
            f"the video has more than {MAX_FRAMES:,} frames; cut it into shorter files"
        )


class _Budget:
    """Stops decoding that takes too long or too much, whatever the header said."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._left_s = limit_s
        self._n_pixels = 0
        self.resume()

    def resume(self) -> None:
        self._mark = time.monotonic()

    def spend(self, width: int, height: int) -> None:
        """Account for one decoded frame and the time since the last."""
        _check_pixels(width, height)
        now = time.monotonic()
        self._left_s -= now - self._mark
        self._mark = now
        self._n_pixels += width * height
        if self._left_s < 0:
            raise InvalidInputError(
                f"decoding the video takes longer than {self._limit_s:g} s; make it shorter or "
                "smaller, or cut it into windows"
            )
        if self._n_pixels > MAX_DECODED_PIXELS * max(1.0, self._limit_s / 60):
            raise InvalidInputError(
                f"more than {MAX_DECODED_PIXELS:,.0f} pixels would have to be decoded; make the "
                "video smaller, or give it more key frames"
            )


def _animation(content: bytes, kind: str) -> Footage:
    delays = frame_delays_ms(content, kind)
    if len(delays) < 2:
        raise InvalidInputError(
            f"the {kind.upper()} has one frame only: it is a picture; read it as an image"
        )
    _check_count(len(delays))
    ends = np.cumsum(delays) / 1000

    def decode(numbers: Sequence[int], limit_s: float) -> Iterator[UInt8Array]:
        budget = _Budget(limit_s)
        try:
            with Image.open(io.BytesIO(content), formats=[kind.upper()]) as picture:
                _check_pixels(*picture.size)
                size = _reduced(*picture.size)
                for number in range(numbers[-1] + 1):  # each frame is drawn over the one before
                    picture.seek(number)
                    budget.spend(*picture.size)
                    if number in numbers:
                        yield _on_white(picture, size)
                        budget.resume()
        except InvalidInputError:
            raise
        except _BROKEN as error:
            raise InvalidInputError(
                f"the {kind.upper()} is truncated or damaged ({error}); save or copy it again"
            ) from error

    return Footage(np.concatenate([[0.0], ends[:-1]]), float(ends[-1]), decode)


def _on_white(picture: Image.Image, size: tuple[int, int]) -> UInt8Array:
    frame = picture.convert("RGBA")
    ground = Image.new("RGBA", frame.size, "white")
    opaque = Image.alpha_composite(ground, frame).convert("RGB")
    return np.array(opaque if opaque.size == size else opaque.resize(size, Image.Resampling.BOX))


def _reduced(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, MAX_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _av() -> Any:
    try:
        import av  # heavy, and an extra
    except ImportError as error:
        raise PluginError(
            f"videos need PyAV ({error}); install it with pip install 'unibind[video]'"
        ) from error
    return av


def _stream(content: bytes, kind: str) -> Footage:
    av = _av()
    try:
        with _opened(content, kind) as container:
            stream = _pictures_of(container)
            _check_pixels(stream.width, stream.height)
            if container.duration:
                _check_duration(container.duration / av.time_base)
            shown, length = _shown(container, stream)
            base = stream.time_base or Fraction(1, 1000)
    except av.FFmpegError as error:
        raise _damaged(error) from error

    def decode(numbers: Sequence[int], limit_s: float) -> Iterator[UInt8Array]:
        try:
            with _opened(content, kind) as again:
                yield from _decoded(again, _pictures_of(again), shown, numbers, _Budget(limit_s))
        except av.FFmpegError as error:
            raise _damaged(error) from error

    ticks = np.array(shown, dtype=np.float64) - shown[0]
    times_s = ticks * float(base)
    return Footage(times_s, float(times_s[-1] + length * base), decode)


def _damaged(error: Exception) -> InvalidInputError:
    return InvalidInputError(f"the video is truncated or damaged ({error}); save or copy it again")


def _opened(content: bytes, kind: str) -> "InputContainer":
    # No protocol is allowed: a container must not make us open another file or an address.
    options = {"protocol_whitelist": "none"}
    container: InputContainer = _av().open(
        io.BytesIO(content), format=kind, options=options, metadata_errors="ignore"
    )
    return container


def _pictures_of(container: "InputContainer") -> "VideoStream":
    if not container.streams.video:
        raise InvalidInputError("the file has no pictures, perhaps only sound; read it as audio")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise InvalidInputError(
            "the video is damaged, or its pictures are coded in a way that no decoder here knows; "
            "convert it to MP4 with H.264"
        )
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _shown(container: "InputContainer", stream: "VideoStream") -> tuple[list[int], int]:
    """Return when frames appear, ascending, and how long the last stays, in ticks of the stream."""
    lasting: dict[int, int] = {}
    for packet in container.demux(stream):
        tick = packet.dts if packet.pts is None else packet.pts
        if tick is None or packet.is_discard or not packet.size:
            continue
        lasting[tick] = packet.duration or 0
        _check_count(len(lasting))
    if not lasting:
        raise InvalidInputError("the video has no frames; save or copy it again")
    shown = sorted(lasting)
    gaps = np.diff(shown)
    return shown, lasting[shown[-1]] or (int(np.median(gaps)) if len(gaps) else 0)


def _decoded(
    container: "InputContainer",
    stream: "VideoStream",
    shown: Sequence[int],
    numbers: Sequence[int],
    budget: _Budget,
) -> Iterator[UInt8Array]:
    """Yield the pixels of the numbered frames; long stretches between them are leapt over."""
    frames, place, size = container.decode(stream), 0, None
    for number in numbers:
        if number - place > _SEEK_FRAMES:
            container.seek(shown[number], stream=stream)
            frames = container.decode(stream)
        for frame in frames:
            budget.spend(frame.width, frame.height)
            if frame.pts is None or frame.pts >= shown[number]:
                size = size or _upright_size(frame, stream)
                yield _pixels(frame, size)
                budget.resume()
                break
        else:
            raise InvalidInputError(
                f"the video is truncated or damaged: it lists {len(shown):,} frames, number "
                f"{number + 1:,} cannot be decoded; save or copy it again"
            )
        place = number


def _upright_size(frame: "VideoFrame", stream: "VideoStream") -> tuple[int, int]:
    """Return the size before rotation; pixels of some recordings are wider than high."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return _reduced(max(1, round(frame.width * (aspect if 0.1 < aspect < 10 else 1))), frame.height)


def _pixels(frame: "VideoFrame", size: tuple[int, int]) -> UInt8Array:
    width, height = size
    pixels = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    # A phone writes pictures as its sensor lies, and beside them how to turn them.
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
