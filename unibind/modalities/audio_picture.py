"""A picture of a sound: waveform above, mel bands below."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unibind.modalities.audio_spectra import hann, mel_filters, power_spectra
from unibind.types import FloatArray

__all__ = ["picture"]

_N_COLUMNS = 900
_N_BANDS = 96
_FRAME = 2048
_RANGE_DB = 80.0


def picture(samples: FloatArray, rate_hz: int) -> npt.NDArray[np.uint8]:
    """Return uint8 sRGB, shape (540, 960, 3), of samples, shape (S,)."""
    figure = Figure(figsize=(9.6, 5.4), dpi=100, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    wave, bands = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    duration_s = len(samples) / rate_hz
    envelope = _envelope(samples)
    wave.plot(np.linspace(0, duration_s, len(envelope)), envelope, linewidth=0.8)
    wave.set(ylim=(-1, 1), ylabel="amplitude", title=f"{duration_s:.3g} s at {rate_hz} Hz")
    bands.imshow(
        _decibels(samples, rate_hz).T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-_RANGE_DB,
        vmax=0,
        extent=(0, duration_s, 0, _N_BANDS),
    )
    ticks = np.linspace(0, _N_BANDS, 6)
    top = 1127 * np.log1p(rate_hz / 2 / 700)
    hertz = 700 * np.expm1(top * ticks / _N_BANDS / 1127)
    bands.set_yticks(ticks, [f"{each:.0f}" for each in hertz])
    bands.set(xlabel="seconds", ylabel="Hz (mel bands)")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _envelope(samples: FloatArray) -> FloatArray:
    """Return the lowest and the highest sample of each column in turn, shape (2 * columns,)."""
    starts = np.unique(np.linspace(0, len(samples), _N_COLUMNS, endpoint=False).astype(int))
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    return np.stack([low, high], axis=1).ravel()


def _decibels(samples: FloatArray, rate_hz: int) -> FloatArray:
    """Return the power in mel bands below the loudest, shape (columns, bands), dB in [-80, 0]."""
    hop = max(_FRAME // 8, len(samples) // _N_COLUMNS)
    filters = mel_filters(rate_hz, _FRAME, n_bands=_N_BANDS, high_hz=rate_hz / 2, scale="htk")
    power = power_spectra(samples, window=hann(_FRAME), hop=hop) @ filters
    loudest = max(float(power.max()), 1e-30)  # of silence nothing is louder
    decibels: FloatArray = 10 * np.log10(np.maximum(power / loudest, 10 ** (-_RANGE_DB / 10)))
    return decibels
