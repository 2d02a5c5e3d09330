"""A recording as a picture: one trace for each channel, with its unit, over a common time axis."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unibind.types import FloatArray

__all__ = ["MAX_TRACES", "plot"]

MAX_TRACES = 12
"""Channels that are drawn; the title says how many there are."""

_WIDTH_PX, _TRACE_PX, _MARGIN_PX, _DPI = 960, 110, 90, 100
_UNITS_OF_TIME = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def plot(
    values: FloatArray, rate_hz: float, *, channels: Sequence[str], units: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Return the plot of a recording, uint8, shape (H, 960, 3).

    Args:
        values: Shape (C, T).
        rate_hz: Steps per second.
        channels: Names of the C channels.
        units: Units of the C channels; "" where unknown.
    """
    n_drawn = min(len(values), MAX_TRACES)
    height_px = _MARGIN_PX + max(2, n_drawn) * _TRACE_PX
    figure = Figure(figsize=(_WIDTH_PX / _DPI, height_px / _DPI), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    duration_s = values.shape[1] / rate_hz
    per_unit, unit = next(
        (each for each in _UNITS_OF_TIME if duration_s >= 3 * each[0]), _UNITS_OF_TIME[-1]
    )
    title = f"{len(values)} channels" if len(values) > 1 else "1 channel"
    if n_drawn < len(values):
        title += f", the first {n_drawn} drawn"
    title += f", {values.shape[1]:,} steps at {rate_hz:.6g} Hz"
    figure.suptitle(f"{title}, {duration_s / per_unit:.4g} {unit}")
    panels = figure.subplots(n_drawn, 1, sharex=True, squeeze=False)[:, 0]
    for c, axes in enumerate(panels):
        steps, trace = _envelope(values[c])
        axes.plot(steps / rate_hz / per_unit, trace, linewidth=0.9)
        label = axes.set_ylabel(f"{_short(channels[c])}\n[{_short(units[c]) or 'unit unknown'}]")
        label.set_parse_math(False)
        axes.grid(visible=True, alpha=0.3)
        axes.margins(x=0)
    panels[-1].set_xlabel(f"time [{unit}]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks is drawn as a box
        canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(pixels[:, :, :3])


def _envelope(trace: FloatArray) -> tuple[npt.NDArray[np.float64], FloatArray]:
    """Return steps and values to draw: of a long trace the least and the highest per pixel."""
    n_steps, n_pixels = len(trace), 2 * _WIDTH_PX
    if n_steps <= 2 * n_pixels:
        return np.arange(n_steps, dtype=np.float64), trace
    starts = np.linspace(0, n_steps, n_pixels, endpoint=False).astype(np.int64)
    both = np.stack([np.minimum.reduceat(trace, starts), np.maximum.reduceat(trace, starts)])
    return np.repeat(starts, 2).astype(np.float64), both.T.ravel()


def _short(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= 24 else f"{plain[:21]}..."
