"""Times and gaps: a column of times to one sampling rate, missing values to interpolated ones."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError

__all__ = [
    "JITTER",
    "MAX_GAP",
    "MAX_MISSING_SHARE",
    "RATE_TOLERANCE",
    "evenly_sampled",
    "without_gaps",
]

MAX_GAP = 10
"""Missing steps in a row that are interpolated; a longer gap is refused."""

MAX_MISSING_SHARE = 0.2
"""Share of a channel's steps that may be missing."""

JITTER = 0.1
"""Times are even if each step differs from the median step by no more than this share of it."""

RATE_TOLERANCE = 0.05
"""How far a told sampling rate may be from the one that the column of times gives."""

_MAX_REPEATED_SHARE = 0.1

_Array = npt.NDArray[np.float64]


def without_gaps(values: _Array, names: Sequence[str]) -> _Array:
    """Return values, shape (C, T), with short runs of NaN interpolated linearly.

    At the ends the nearest value is repeated.

    Args:
        values: NaN where a value is missing.
        names: Of the C channels, for messages.

    Raises:
        InvalidInputError: A channel has an infinite value, a gap of more than `MAX_GAP` steps or
            more than `MAX_MISSING_SHARE` of its steps missing.
    """
    filled = values
    for c, name in enumerate(names):
        _check_infinite(values[c], name)
        is_missing = np.isnan(values[c])
        if not is_missing.any():
            continue
        _check_gaps(is_missing, name)
        if filled is values:
            filled = values.copy()
        rows = np.arange(len(is_missing))
        filled[c, is_missing] = np.interp(
            rows[is_missing], rows[~is_missing], values[c, ~is_missing]
        )
    return filled


def evenly_sampled(
    values: _Array, times_s: _Array | None, *, told_hz: float | None, names: Sequence[str]
) -> tuple[_Array, float]:
    """Return values at even steps, shape (C, T'), and their sampling rate in Hz.

    Uneven times are resampled linearly to steps of the median length; even ones within `JITTER`
    are left as they are.

    Args:
        values: Finite, shape (C, T).
        times_s: Of the T steps, in seconds, if there is a column of times.
        told_hz: The sampling rate, if it was told.
        names: Of the C channels, for messages.

    Raises:
        InvalidInputError: There are neither times nor a told rate; both, and they contradict each
            other; times go back, repeat too often, or leave a gap of more than `MAX_GAP` steps.
    """
    if times_s is None:
        if told_hz is None:
            raise InvalidInputError(
                "the sampling rate is not known: there is no column of times among "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}; say rate_hz=... "
                "(samples per second), or which column has times (time=NAME)"
            )
        return values, told_hz
    values, times_s = _without_repeats(values, times_s)
    steps = np.diff(times_s)
    if not len(steps):
        return values, told_hz or 1.0  # one row: refused by its length
    median = float(np.median(steps))
    is_even = bool((np.abs(steps - median) <= JITTER * median).all())
    rate_hz = len(steps) / float(times_s[-1] - times_s[0]) if is_even else 1.0 / median
    rate_hz = float(f"{rate_hz:.9g}")  # what rounding leaves of 10 Hz is 10 Hz
    _check_rate(rate_hz, told_hz)
    if is_even:
        return values, rate_hz
    longest = int(steps.argmax())
    if steps[longest] > (MAX_GAP + 1) * median:
        raise InvalidInputError(
            f"the times leave a gap of {steps[longest]:.4g} s after {times_s[longest]:.6g} s, "
            f"where steps are {median:.4g} s; at most {MAX_GAP} missing steps are interpolated, "
            "cut the recording there"
        )
    n_steps = 1 + int((times_s[-1] - times_s[0]) / median + 1e-6)
    grid = times_s[0] + median * np.arange(n_steps)
    return np.stack([np.interp(grid, times_s, channel) for channel in values]), rate_hz


def _without_repeats(values: _Array, times_s: _Array) -> tuple[_Array, _Array]:
    steps = np.diff(times_s)
    back = np.flatnonzero(steps < 0)
    if back.size:
        raise InvalidInputError(
            f"the times go back after value {back[0] + 1}: {times_s[back[0]]:.6g} s, then "
            f"{times_s[back[0] + 1]:.6g} s; sort the rows, or cut the recording there"
        )
    is_repeat = np.concatenate([[False], steps == 0])
    if is_repeat.mean() > _MAX_REPEATED_SHARE:
        raise InvalidInputError(
            f"{is_repeat.sum():,} of {len(times_s):,} rows have the time of the row before; the "
            "times are too coarse to give a rate: say rate_hz=... and time=none"
        )
    return (values[:, ~is_repeat], times_s[~is_repeat]) if is_repeat.any() else (values, times_s)


def _check_rate(found_hz: float, told_hz: float | None) -> None:
    if told_hz is None or abs(told_hz - found_hz) <= RATE_TOLERANCE * found_hz:
        return
    factor = max(told_hz / found_hz, found_hz / told_hz)
    power = round(np.log10(factor) / 3)
    hint = "leave rate_hz out, or correct it"
    if power and abs(factor / 1000.0**power - 1) < RATE_TOLERANCE:
        hint = "the unit of the times may be another one: say time_unit=ms, say, or correct rate_hz"
    raise InvalidInputError(
        f"the column of times gives {found_hz:.6g} Hz, rate_hz says {told_hz:.6g}; {hint}"
    )


def _check_infinite(channel: _Array, name: str) -> None:
    infinite = np.flatnonzero(np.isinf(channel))
    if infinite.size:
        raise InvalidInputError(
            f"channel {name!r} has an infinite value, first as value {infinite[0] + 1}; correct "
            "it, or leave it empty if it is missing"
        )


def _check_gaps(is_missing: npt.NDArray[np.bool_], name: str) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_missing.astype(np.int8), [0]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    n_missing, n_steps = int(is_missing.sum()), len(is_missing)
    if n_missing == n_steps:
        raise InvalidInputError(
            f"channel {name!r} has no values; leave it out with channels=NAME,NAME"
        )
    longest = int(lengths.argmax())
    if lengths[longest] > MAX_GAP:
        raise InvalidInputError(
            f"channel {name!r} misses {lengths[longest]:,} values in a row from value "
            f"{starts[longest] + 1:,} on; at most {MAX_GAP} are interpolated: cut the recording "
            "there, or leave the channel out"
        )
    if n_missing > MAX_MISSING_SHARE * n_steps:
        raise InvalidInputError(
            f"channel {name!r} misses {n_missing:,} of {n_steps:,} values; at most "
            f"{MAX_MISSING_SHARE:.0%} are interpolated: leave the channel out"
        )
