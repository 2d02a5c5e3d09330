"""The instrument "wrist imu": how strongly, how fast and how regularly something moves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import signal

from unibind.measurement.channels import ACCELERATION, TURN, find_channels
from unibind.modalities.timeseries import TIMESERIES, Recording, accept
from unibind.types import FloatArray

__all__ = ["WristImu"]

_Array = npt.NDArray[np.float64]

_GRAVITY_HZ = 0.3
"""Slower changes of acceleration are taken for gravity, where gravity was not removed."""

_LAGS_S = (0.2, 3.0)
_LEAST_OVERLAP = 0.25
_LEAST_PERIODS = 2
_PADDING = 8


class WristImu:
    """Measures motion from channels of acceleration and, if there are some, of turning.

    Acceleration means the length of its vector with gravity removed; what has a spectrum or a
    distribution is summed over the axes, so that it does not matter how the sensor was turned
    (for kurtosis it does, a little). Where it is not known whether gravity was removed, or in
    which unit the sensor counts, strengths are NaN; frequencies and shapes are measured.
    """

    modality = TIMESERIES
    sensor = "wrist imu"
    attributes = (
        "dynamic_rms_ms2",
        "peak_ms2",
        "dominant_hz",
        "periodicity",
        "kurtosis",
        "gyro_rms_rads",
    )

    def measure(self, items: Sequence[Any]) -> FloatArray:
        """Return the attributes of recordings, shape (N, 6); NaN where one does not apply.

        Raises:
            InvalidInputError: An item is not a recording that the modality takes.
        """
        rows = np.full((len(items), len(self.attributes)), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            for name, value in _attributes(accept(item)).items():
                rows[row, self.attributes.index(name)] = value
        return rows


def _attributes(recording: Recording) -> dict[str, float]:
    found: dict[str, float] = {}
    turn = find_channels(recording, TURN)
    acceleration = find_channels(recording, ACCELERATION)
    if acceleration is None:
        return found
    if turn is not None and turn.is_scaled:
        found["gyro_rms_rads"] = _rms(turn.values)
    values = acceleration.values
    if recording.gravity == "included":
        values = _without_gravity(values, recording.rate_hz)
    if acceleration.is_scaled and recording.gravity:
        found["dynamic_rms_ms2"] = _rms(values)
        found["peak_ms2"] = float(np.linalg.norm(values, axis=0).max())
    moving = values - values.mean(axis=1, keepdims=True)
    if moving.std() <= 1e-6 * np.abs(values).max():  # rounding is no motion
        return found
    found["dominant_hz"] = _dominant_hz(moving, recording.rate_hz)
    found["periodicity"] = _periodicity(moving, recording.rate_hz)
    found["kurtosis"] = _kurtosis(moving)
    return found


def _rms(values: _Array) -> float:
    """Return the root mean square of the length of vectors, shape (C, T)."""
    return float(np.sqrt((values**2).sum(axis=0).mean()))


def _without_gravity(values: _Array, rate_hz: float) -> _Array:
    if rate_hz <= 4 * _GRAVITY_HZ or values.shape[1] < 3 * rate_hz:
        centred: _Array = values - values.mean(axis=1, keepdims=True)
        return centred
    low_pass = signal.butter(2, _GRAVITY_HZ, fs=rate_hz, output="sos")
    n_padded = min(values.shape[1] - 1, int(3 * rate_hz / _GRAVITY_HZ))
    filtered: _Array = values - signal.sosfiltfilt(low_pass, values, axis=1, padlen=n_padded)
    return filtered


def _dominant_hz(moving: _Array, rate_hz: float) -> float:
    """Return the frequency of the highest peak of the axes' summed spectrum.

    Slower than two periods in the recording is not seen as a frequency.
    """
    n_steps = moving.shape[1]
    spectrum = np.abs(np.fft.rfft(moving * signal.windows.hann(n_steps), _PADDING * n_steps)) ** 2
    power = spectrum.sum(axis=0)
    frequencies = np.fft.rfftfreq(_PADDING * n_steps, 1 / rate_hz)
    is_seen = frequencies >= _LEAST_PERIODS * rate_hz / n_steps
    return float(frequencies[is_seen][power[is_seen].argmax()])


def _periodicity(moving: _Array, rate_hz: float) -> float:
    """Return the highest autocorrelation at lags of 0.2 to 3 s, at least 0.

    Each lag is normalised by the parts that overlap, of which there must be a quarter.
    """
    n_steps = moving.shape[1]
    first = max(1, int(np.ceil(_LAGS_S[0] * rate_hz)))
    last = min(int(_LAGS_S[1] * rate_hz), int((1 - _LEAST_OVERLAP) * n_steps))
    if last < first:
        return float("nan")
    lags = np.arange(first, last + 1)
    products = np.fft.irfft(np.abs(np.fft.rfft(moving, 2 * n_steps)) ** 2).sum(axis=0)[lags]
    energy = np.concatenate([[0.0], (moving**2).sum(axis=0).cumsum()])
    norms = np.sqrt(energy[n_steps - lags] * (energy[-1] - energy[lags]))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.where(norms > 0, products / norms, 0.0)
    return float(np.clip(correlations.max(), 0.0, 1.0))


def _kurtosis(moving: _Array) -> float:
    """Return the mean of the axes' kurtosis, each weighted by how much it moves."""
    variances = (moving**2).mean(axis=1)
    moves = variances > 0
    kurtoses = (moving[moves] ** 4).mean(axis=1) / variances[moves] ** 2
    return float(np.average(kurtoses, weights=variances[moves]))
