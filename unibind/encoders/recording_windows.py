"""Recordings of any length and any number of channels as windows of one length."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from unibind.types import FloatArray

__all__ = ["MAX_WINDOWS", "N_STEPS", "VIEWS", "windows_of"]

N_STEPS = 1024
"""Steps of a window: a shorter recording is stretched to it, a longer one is cut into several."""

MAX_WINDOWS = 32
"""Windows of one channel, spread evenly over it; what lies between them is not seen."""

MAX_WINDOWED_CHANNELS = 64
"""Channels that are seen, spread evenly over all."""

_FLAT = 1e-6


def windows_of(values: FloatArray, *, view: str) -> FloatArray:
    """Return the windows of all channels of a recording, shape (W, 1, N_STEPS).

    Each channel is made comparable first: mean 0 and standard deviation 1 over the whole
    recording; a constant channel is 0.

    Args:
        values: Shape (C, T).
        view: One of `VIEWS`.
    """
    kept = values[_spread(len(values), MAX_WINDOWED_CHANNELS)]
    standard = _standardised(VIEWS[view](_standardised(kept)))  # (C', T)
    n_steps = standard.shape[1]
    if n_steps <= N_STEPS:
        windows = _stretched(standard)[:, None]
    else:
        n_windows = min(-(-n_steps // N_STEPS), MAX_WINDOWS)
        starts = np.linspace(0, n_steps - N_STEPS, n_windows).astype(np.int64)
        windows = np.stack([standard[:, start : start + N_STEPS] for start in starts], axis=1)
    return np.ascontiguousarray(windows.reshape(-1, 1, N_STEPS), dtype=np.float32)


def _standardised(values: FloatArray) -> FloatArray:
    wide = values.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    # Rounding is no signal: 1e-6 of the level is what float32 resolves.
    is_flat = spread <= _FLAT * np.abs(wide).max(axis=1, keepdims=True)
    standard: FloatArray = np.where(is_flat, 0.0, centred / np.where(is_flat, 1.0, spread))
    return standard


def _stretched(values: FloatArray) -> FloatArray:
    n_steps = values.shape[1]
    places = np.linspace(0, n_steps - 1, N_STEPS)
    return np.stack([np.interp(places, np.arange(n_steps), channel) for channel in values])


def _differences(values: FloatArray) -> FloatArray:
    return np.diff(values, axis=1, prepend=values[:, :1])


def _spread(n: int, n_most: int) -> "slice | list[int]":
    if n <= n_most:
        return slice(None)
    return [int(place) for place in np.linspace(0, n - 1, n_most)]


VIEWS: Mapping[str, Callable[[FloatArray], FloatArray]] = MappingProxyType(
    {"values": lambda values: values, "differences": _differences}
)
"""What kernels are shown of a channel: the signal, and its change from step to step."""
