"""Events that a camera would have seen: simulated from a picture that it moves over, or a video.

No recording of a real event camera comes with an ordinary package. What is made here is
**simulated**: without noise, without refractory times, without mismatch between pixels.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unibind.errors import InvalidInputError
from unibind.modalities.event import Events
from unibind.modalities.video import Clip
from unibind.types import FloatArray

__all__ = ["THRESHOLD", "simulate_from_clip", "simulate_from_frames", "simulate_saccades"]

THRESHOLD = 0.35
"""Change of log intensity at which a pixel fires; 0.15 to 0.5 in real cameras."""

DARK = 0.1
"""Added to intensity in [0, 1] before its logarithm is taken, as dark current is."""

SACCADE_S = 0.1
"""Length of one of the three saccades."""

# Corners of the triangle that the camera looks at one after the other, in units of the amplitude.
_CORNERS = ((0.0, 0.0), (0.5, 1.0), (1.0, 0.0), (0.0, 0.0))


def simulate_saccades(
    picture: npt.NDArray[np.uint8],
    *,
    threshold: float = THRESHOLD,
    amplitude_px: float | None = None,
    n_steps: int = 8,
) -> Events:
    """Return the events of a camera that looks at a still picture in three quick movements.

    Without movement an event camera sees nothing of a still: the camera goes from a corner of a
    triangle to the next, 100 ms each, and is back after the third.

    Args:
        picture: uint8, shape (H, W) or (H, W, 3).
        threshold: Change of log intensity at which a pixel fires; > 0.
        amplitude_px: How far it moves; a tenth of the longer side by default, 2 at least.
        n_steps: Pictures that are rendered of each movement; between them intensity is
            interpolated.

    Raises:
        InvalidInputError: The picture has another type or shape, an argument is not above 0, or
            the picture is so even that no pixel fires twice.

    Source:
        Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using
        Saccades, Frontiers in Neuroscience 2015, section 2.2. We differ: the movement is rendered,
        not filmed from a screen, and its speed is even.
    """
    light = _intensity(np.asarray(picture)[None])[0]
    reach = amplitude_px or max(2.0, max(light.shape) / 10)
    if not reach > 0 or n_steps < 1:
        raise InvalidInputError(f"amplitude {reach} px in {n_steps} steps; both must be above 0")
    path = np.concatenate(
        [np.linspace(start, end, n_steps, endpoint=False) for start, end in pairwise(_CORNERS)]
        + [np.array(_CORNERS[-1:])]
    )
    frames = (
        ndimage.shift(light, (-reach * down, -reach * right), order=1, mode="nearest")
        for right, down in path
    )
    times_s = np.linspace(0, 3 * SACCADE_S, len(path))
    return _simulated(frames, times_s, threshold, light.shape)


def simulate_from_frames(
    frames: npt.NDArray[np.uint8],
    times_s: npt.NDArray[np.float64],
    *,
    threshold: float = THRESHOLD,
) -> Events:
    """Return the events of a camera that sees what a video shows.

    Between two frames each pixel's log intensity goes in a straight line; an event falls where it
    has changed by the threshold since the pixel's last event.

    Args:
        frames: uint8, shape (T, H, W) or (T, H, W, 3).
        times_s: When each is shown, ascending, shape (T,).
        threshold: Change of log intensity at which a pixel fires; > 0.

    Raises:
        InvalidInputError: There are fewer than two frames, not one time for each, times that do
            not ascend, or so little movement that there are fewer than two events.

    Source:
        Rebecq et al., ESIM: an Open Event Camera Simulator, CoRL 2018, section 3.1.
    """
    light = _intensity(np.asarray(frames))
    moments = np.asarray(times_s, dtype=np.float64)
    if moments.shape != (len(light),) or len(light) < 2 or not (np.diff(moments) > 0).all():
        raise InvalidInputError(
            f"{len(light)} frames with times of shape {moments.shape}; at least two frames are "
            "needed, each with a time, ascending"
        )
    return _simulated(iter(light), moments, threshold, light.shape[1:])


def simulate_from_clip(clip: Clip, *, threshold: float = THRESHOLD) -> Events:
    """Return the events of a camera that sees what a clip shows; see `simulate_from_frames`.

    A clip has few frames of a long video: read it with a high n_frames.
    """
    return simulate_from_frames(clip.frames, clip.times_s, threshold=threshold)


def _intensity(pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """Return linear-looking grey in [0, 1], shape (T, H, W)."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[3:] not in ((), (3,)):
        raise InvalidInputError(
            f"pictures are {pixels.dtype} of shape {pixels.shape[1:]} each; needed: uint8, (H, W) "
            "or (H, W, 3)"
        )
    grey = pixels @ np.array([0.299, 0.587, 0.114]) if pixels.ndim == 4 else pixels
    return (grey / 255.0).astype(np.float32)


def _simulated(
    frames: Iterator[FloatArray],
    times_s: npt.NDArray[np.float64],
    threshold: float,
    shape: tuple[int, ...],
) -> Events:
    if not threshold > 0:
        raise InvalidInputError(f"the threshold is {threshold}; it must be above 0")
    before = np.log(DARK + next(frames).astype(np.float64))
    level = before.copy()  # of each pixel's last event
    found: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]] = []
    for frame, start_s, end_s in zip(frames, times_s[:-1], times_s[1:], strict=True):
        now = np.log(DARK + frame.astype(np.float64))
        # Rounding must not fire, or hold back, a pixel that changed by exactly the threshold.
        n_fired = np.floor(np.abs(now - level) / threshold + 1e-9).astype(np.int64)
        pixel = np.repeat(np.arange(n_fired.size), n_fired.ravel())
        if len(pixel):
            sign = np.sign(now - level)
            nth = np.arange(len(pixel)) - np.repeat(
                np.cumsum(n_fired.ravel()) - n_fired.ravel(), n_fired.ravel()
            )
            crossed = level.ravel()[pixel] + sign.ravel()[pixel] * threshold * (nth + 1)
            slope = (now - before).ravel()[pixel]
            share = np.clip((crossed - before.ravel()[pixel]) / slope, 0, 1)
            found.append((start_s + share * (end_s - start_s), pixel, sign.ravel()[pixel] > 0))
            level = level + sign * threshold * n_fired
        before = now
    n_events = sum(len(pixel) for _, pixel, _ in found)
    if n_events < 2:
        raise InvalidInputError(
            f"{n_events} events came of it; the picture is too even, or nothing moves"
        )
    t_s, places, is_bright = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(t_s, kind="stable")
    height, width = shape
    return Events(
        t_s=t_s[order] - t_s[order[0]],
        x=(places[order] % width).astype(np.uint16),
        y=(places[order] // width).astype(np.uint16),
        polarity=is_bright[order],
        width=width,
        height=height,
    )
