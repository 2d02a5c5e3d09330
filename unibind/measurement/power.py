"""The instrument "power meter": how much an appliance draws, and when it works."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.measurement.channels import POWER, find_channels
from unibind.modalities.timeseries import TIMESERIES, Recording, accept
from unibind.types import FloatArray

__all__ = ["PowerMeter"]

_Array = npt.NDArray[np.float64]

_LOW, _HIGH = 0.05, 0.99
"""Quantiles that stand for the power while it does nothing, and while it works hardest: a start
surge is no level."""

_SWITCHES_ON, _SWITCHES_OFF = 0.3, 0.15
"""Shares of the way from low to high at which work begins and ends: two, so that noise does not
switch."""

_STEADY = 0.2
"""Below this share of the highest power, differences are fluctuation, and it works all the time."""

_N_BINS = 20
_LEAST_SHARE = 0.02


class PowerMeter:
    """Measures the power that one appliance draws, from a channel of power.

    Of several such channels the first counts. Where the unit is not known, watts are NaN. Values
    below zero show that the zero is not known either (archives take the mean off): then ratios
    to the mean are NaN too, and times, levels and kurtosis are left.
    """

    modality = TIMESERIES
    sensor = "power meter"
    attributes = (
        "mean_w",
        "peak_w",
        "standby_w",
        "duty_cycle",
        "on_period_s",
        "cycle_s",
        "peak_to_mean",
        "levels",
        "fluctuation",
        "kurtosis",
    )

    def measure(self, items: Sequence[Any]) -> FloatArray:
        """Return the attributes of recordings, shape (N, 10); NaN where one does not apply.

        Raises:
            InvalidInputError: An item is not a recording that the modality takes.
        """
        rows = np.full((len(items), len(self.attributes)), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            for name, value in _attributes(accept(item)).items():
                rows[row, self.attributes.index(name)] = value
        return rows


def _attributes(recording: Recording) -> dict[str, float]:
    measured = find_channels(recording, POWER)
    if measured is None:
        return {}
    power = measured.values[0]
    # A meter's noise around zero is no sign that the zero was moved.
    has_zero = measured.is_scaled or power.min() >= -0.01 * np.abs(power).max()
    low, high = np.quantile(power, (_LOW, _HIGH))
    works = _working(power, low, high, has_zero=has_zero)
    found = {"duty_cycle": float(works.mean()), "levels": float(_n_levels(power, low, high))}
    found |= _times(works, recording.rate_hz)
    if power.std() > 1e-6 * np.abs(power).max():
        found["kurtosis"] = float(((power - power.mean()) ** 4).mean() / power.var() ** 2)
    if measured.is_scaled:
        found |= {"mean_w": float(power.mean()), "peak_w": float(power.max())}
        if not works.all():
            found["standby_w"] = float(np.median(power[~works]))
    if has_zero and power.mean() > 0:
        found["peak_to_mean"] = float(power.max() / power.mean())
        if works.any() and power[works].mean() > 0:
            found["fluctuation"] = float(power[works].std() / power[works].mean())
    return found


def _working(power: _Array, low: float, high: float, *, has_zero: bool) -> npt.NDArray[np.bool_]:
    """Return for each step whether the appliance works, shape (T,)."""
    if high <= low or (has_zero and high - low < _STEADY * high):
        return np.full(len(power), not has_zero or high > 0)
    share = (power - low) / (high - low)
    # What lies between the two thresholds goes on as it was; at the start it counts as off.
    decided = np.where(share > _SWITCHES_ON, 1, np.where(share < _SWITCHES_OFF, 0, -1))
    decided[0] = max(decided[0], 0)
    last_decided = np.maximum.accumulate(np.where(decided >= 0, np.arange(len(power)), 0))
    works: npt.NDArray[np.bool_] = decided[last_decided] == 1
    return works


def _times(works: npt.NDArray[np.bool_], rate_hz: float) -> dict[str, float]:
    """Return the median period of work and the median time between starts, of whole ones."""
    changes = np.flatnonzero(np.diff(works.astype(np.int8)))
    starts, ends = changes[~works[changes]], changes[works[changes]]
    found = {}
    if starts.size:
        after = ends[ends > starts[0]]
        whole = after - starts[: len(after)]
        if whole.size:
            found["on_period_s"] = float(np.median(whole)) / rate_hz
    if starts.size > 1:
        found["cycle_s"] = float(np.median(np.diff(starts))) / rate_hz
    return found


def _n_levels(power: _Array, low: float, high: float) -> int:
    """Return how many groups of values the power keeps to, apart from each other, at least 1."""
    width = (high - low) / _N_BINS
    if width <= 1e-9 * max(abs(high), abs(low)):
        return 1
    is_kept = np.abs(np.diff(power, append=power[-1])) <= width
    bins = np.clip((power[is_kept] - low) / width, 0, _N_BINS - 1).astype(np.int64)
    counts = np.bincount(bins, minlength=_N_BINS)
    is_level = counts >= _LEAST_SHARE * len(power)
    n_groups = int((np.diff(np.concatenate([[0], is_level.astype(np.int8)])) == 1).sum())
    return max(1, n_groups)
