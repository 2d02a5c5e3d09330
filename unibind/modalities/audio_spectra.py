"""Spectra of sound: frames of power, and the mel bands that ears and networks sum them into."""

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray

__all__ = ["MelScale", "hann", "mel_filters", "power_spectra"]

MelScale = Literal["htk", "slaney"]
_N_FRAMES_AT_ONCE = 256


def hann(length: int, *, is_periodic: bool = True) -> FloatArray:
    """Return a Hann window, shape (length,): periodic, for spectra, or symmetric."""
    phase = np.arange(length) / (length if is_periodic else length - 1)
    return (0.5 - 0.5 * np.cos(2 * np.pi * phase)).astype(np.float32)


def power_spectra(
    samples: FloatArray, *, window: FloatArray, hop: int, edge: Literal["zeros", "mirror"] = "zeros"
) -> FloatArray:
    """Return the power spectra of frames that are centred every `hop` samples.

    Args:
        samples: Shape (S,).
        window: What frames are multiplied by, shape (L,), L even.
        hop: Samples from one frame to the next.
        edge: What lies beyond the ends: silence, or the sound mirrored, if it is long enough.

    Returns:
        Squared magnitudes, shape (T, L / 2 + 1), T = 1 + S // hop.
    """
    half = len(window) // 2
    is_mirrored = edge == "mirror" and len(samples) > half
    padded = np.pad(samples, half, mode="reflect" if is_mirrored else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]  # (T, L), a view
    spectra = np.empty((len(frames), half + 1), dtype=np.float32)
    for start in range(0, len(frames), _N_FRAMES_AT_ONCE):
        rows = slice(start, start + _N_FRAMES_AT_ONCE)
        spectrum = np.fft.rfft(frames[rows] * window)
        spectra[rows] = spectrum.real**2 + spectrum.imag**2
    return spectra


@cache
def mel_filters(
    rate_hz: int, n_samples: int, *, n_bands: int, high_hz: float, scale: MelScale
) -> FloatArray:
    """Return the weights that sum a power spectrum into mel bands, shape (L / 2 + 1, bands).

    Args:
        rate_hz: Samples per second.
        n_samples: L, the length of a frame.
        n_bands: How many bands from 0 to `high_hz`, equally wide in mel.
        high_hz: Where the last one ends.
        scale: ``"htk"``: mel is logarithmic, a band's flanks are straight over mel, its weights
            sum to 1. ``"slaney"``: mel is linear below 1 kHz, the flanks are straight over Hz, the
            area is 1.

    Source:
        Young et al., The HTK Book; Slaney, Auditory Toolbox, 1998.
    """
    bins_hz = np.arange(n_samples // 2 + 1) * (rate_hz / n_samples)
    edges_mel = np.linspace(0.0, float(_to_mel(np.array(high_hz), scale)), n_bands + 2)
    edges_hz = _to_hz(edges_mel, scale)
    if scale == "htk":
        weights = _triangles(edges_mel, _to_mel(bins_hz, scale))
        weights /= np.maximum(weights.sum(axis=0), np.finfo(np.float64).tiny)
    else:
        weights = _triangles(edges_hz, bins_hz) / ((edges_hz[2:] - edges_hz[:-2]) / 2)
    filters = weights.astype(np.float32)
    filters.flags.writeable = False  # one array for all callers
    return filters


def _triangles(
    edges: npt.NDArray[np.floating], bins: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """Return triangles over three neighbouring edges each, height 1, shape (bins, edges - 2)."""
    rising = (bins[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins[:, None]) / np.diff(edges)[1:]
    triangles: npt.NDArray[np.floating] = np.maximum(0.0, np.minimum(rising, falling))
    return triangles


_LINEAR_HZ = 200 / 3  # Slaney: Hz per mel up to 1 kHz
_BREAK_MEL = 15.0
_LOG_STEP = np.log(6.4) / 27


def _to_mel(hz: npt.NDArray[np.floating], scale: MelScale) -> npt.NDArray[np.floating]:
    if scale == "htk":
        mel: npt.NDArray[np.floating] = 1127.0 * np.log1p(hz / 700.0)
        return mel
    above = _BREAK_MEL + np.log(np.maximum(hz, 1000.0) / 1000.0) / _LOG_STEP
    return np.where(hz < 1000.0, hz / _LINEAR_HZ, above)


def _to_hz(mel: npt.NDArray[np.floating], scale: MelScale) -> npt.NDArray[np.floating]:
    if scale == "htk":
        hz: npt.NDArray[np.floating] = 700.0 * np.expm1(mel / 1127.0)
        return hz
    above = 1000.0 * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, above)
