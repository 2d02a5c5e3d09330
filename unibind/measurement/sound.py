"""The instrument "sound": how long, how high, how bright, how regular, how sudden a sound is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.modalities.audio import AUDIO, Sound, accept, samples_at
from unibind.modalities.audio_spectra import hann, power_spectra
from unibind.types import FloatArray

__all__ = ["SoundMeter"]

_Array = npt.NDArray[np.float64]

_SILENT = 10 ** (-80 / 20)
"""A recording whose level never exceeds this share of full scale, -80 dB, is silent."""

_LEVEL_S = 0.010  # over which a level is taken
_STEP_S = 0.002  # from one level to the next
_AUDIBLE = 0.1  # -20 dB below the loudest: an event is what exceeds this
_GAP_S = 0.06  # a shorter pause belongs to the event
_RISE = (0.1, 0.9)  # of its highest level: where the attack of an event is timed

_PITCH_HZ = (40.0, 5000.0)
_PITCH_RATE_HZ = 44_100
_PERIODIC = 0.7  # least similarity of a frame that has a pitch
_NEARLY = 0.9
_VOICED = 0.3  # share of loud frames that must have a pitch
_MAX_PITCH_FRAMES = 400

_REPEATED = 0.4  # least autocorrelation of the level at the period of a repetition
_REPETITION_HZ = (0.2, 25.0)
_STEADY = 0.1  # a level that varies by less, relatively, repeats nothing


class SoundMeter:
    """Measures a recording of a sound near its source; nothing depends on how loud it is.

    Silence has no attributes. A sound that goes on to the ends of the recording lasts at least as
    long as measured.
    """

    modality = AUDIO
    sensor = "sound"
    attributes = (
        "event_s",
        "pitch_hz",
        "centroid_hz",
        "tonality",
        "repetition_hz",
        "attack_s",
        "level_variation",
    )

    def measure(self, items: Sequence[Any]) -> FloatArray:
        """Return the attributes of sounds, shape (N, 7); NaN where one does not apply.

        Raises:
            InvalidInputError: An item is not a sound that the modality takes.
        """
        rows = np.full((len(items), len(self.attributes)), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            for name, value in _attributes(accept(item)).items():
                rows[row, self.attributes.index(name)] = value
        return rows


def _attributes(sound: Sound) -> dict[str, float]:
    samples = sound.samples - sound.samples.mean(dtype=np.float64).astype(np.float32)
    level = _Level.of(samples, sound.rate_hz)
    if level.values.max() < _SILENT:
        return {}
    events = _events(level)
    pitch_hz, tonality = _pitch_and_tonality(Sound(samples, sound.rate_hz), level)
    return {
        "event_s": float(np.median([end - start for start, end in events])) * level.step_s,
        "pitch_hz": pitch_hz,
        "centroid_hz": _centroid_hz(samples, sound.rate_hz),
        "tonality": tonality,
        "repetition_hz": _repetition_hz(level, events),
        "attack_s": float(np.median([_attack_s(level, event) for event in events])),
        "level_variation": _variation(level, events),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """Root mean square level over time, shape (L,), one value every step_s, full scale is 1."""

    values: _Array
    step_s: float

    @classmethod
    def of(cls, samples: FloatArray, rate_hz: int) -> "_Level":
        length = max(2, round(_LEVEL_S * rate_hz))
        step = max(1, round(_STEP_S * rate_hz))
        padded = np.pad(samples.astype(np.float64) ** 2, (length // 2, length - length // 2))
        energy = np.concatenate([[0.0], np.cumsum(padded)])
        starts = np.arange(0, len(samples), step)
        power = (energy[starts + length] - energy[starts]) / length
        return cls(np.sqrt(np.maximum(power, 0)), step / rate_hz)


def _events(level: _Level) -> list[tuple[int, int]]:
    """Return the runs of steps, first and end, in which something is heard."""
    is_loud = level.values > _AUDIBLE * level.values.max()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_loud, [False]]).astype(int)))
    starts, ends = edges[::2], edges[1::2]
    pauses = (starts[1:] - ends[:-1]) * level.step_s
    is_apart = pauses > _GAP_S
    firsts = starts[np.concatenate([[True], is_apart])]
    lasts = ends[np.concatenate([is_apart, [True]])]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def _attack_s(level: _Level, event: tuple[int, int]) -> float:
    """Return how long an event's level takes to rise from nothing to its highest.

    Timed between 10 and 90 % of it, and drawn out to the whole. What the level's own smoothing
    adds is taken off, in squares; less than a millisecond cannot be told.
    """
    values = level.values[event[0] : event[1]]
    start, end = (int(np.argmax(values >= share * values.max())) for share in _RISE)
    seconds = (end - start) * level.step_s / (_RISE[1] - _RISE[0])
    return max(1e-3, float(np.sqrt(max(0.0, seconds**2 - _LEVEL_S**2))))


def _variation(level: _Level, events: list[tuple[int, int]]) -> float:
    """Return how far the level goes up and down between first and last event, 0 to 1.

    The depth of an amplitude modulation, (high - low) / (high + low); low is the 5th percentile,
    high the highest, since what comes and goes may be gone nearly all of the time.
    """
    # Single periods of a low tone are no variation, nor are the edges of the recording.
    smooth_s = 1 / _REPETITION_HZ[1]
    edge = round(smooth_s / level.step_s / 2)
    between = _smoothed(level, smooth_s)[events[0][0] + edge : events[-1][1] - edge]
    if not len(between):
        return 0.0
    low, high = float(np.quantile(between, 0.05)), float(between.max())
    return (high - low) / (high + low)


def _smoothed(level: _Level, seconds: float) -> _Array:
    length = max(1, round(seconds / level.step_s))
    power = np.convolve(level.values**2, np.ones(length) / length, mode="full")
    middle = length // 2
    smoothed: _Array = np.sqrt(power[middle : middle + len(level.values)])
    return smoothed


def _repetition_hz(level: _Level, events: list[tuple[int, int]]) -> float:
    """Return how often per second the level repeats itself, or events follow each other."""
    values = _smoothed(level, 1 / _REPETITION_HZ[1])[events[0][0] : events[-1][1]]
    is_steady = values.std() < _STEADY * values.mean()
    values = values - values.mean()
    n = len(values)
    padded = np.fft.rfft(values, 2 * n)
    products = np.fft.irfft(np.abs(padded) ** 2)[:n]
    least, most = (round(1 / hertz / level.step_s) for hertz in _REPETITION_HZ[::-1])
    lags = np.arange(least, min(most, n // 2))
    # A lag that leaves half of the sound or more to compare; each lag by its own overlap.
    energy = np.concatenate([[0.0], np.cumsum(values**2)])
    overlap = np.sqrt(energy[n - lags] * (energy[n] - energy[lags]))
    with np.errstate(invalid="ignore", divide="ignore"):
        similarity = np.nan_to_num(products[lags] / overlap)
    if len(lags) > 2 and not is_steady:
        inner = similarity[1:-1]
        is_peak = (inner >= similarity[:-2]) & (inner > similarity[2:]) & (inner > _REPEATED)
        if is_peak.any():  # the first that is nearly as good as the best: its multiples repeat too
            is_best = is_peak & (inner > 0.9 * inner[is_peak].max())
            return float(1 / (lags[1 + int(np.argmax(is_best))] * level.step_s))
    if len(events) > 2:
        span_s = (events[-1][0] - events[0][0]) * level.step_s
        return (len(events) - 1) / span_s
    return float("nan")


def _centroid_hz(samples: FloatArray, rate_hz: int) -> float:
    """Return the mean frequency of the spectrum, weighted by power."""
    length = 2 ** round(np.log2(0.046 * rate_hz))
    power = power_spectra(samples, window=hann(length), hop=length // 2).sum(axis=0, dtype=float)
    return float(power @ np.arange(len(power)) / power.sum() * rate_hz / length)


def _pitch_and_tonality(sound: Sound, level: _Level) -> tuple[float, float]:
    """Return the median fundamental frequency, NaN if too little has one, and the tonality.

    A frame's tonality is how well it resembles itself one period later: about 0.1 for noise, 1 for
    a tone with any harmonics. Both are taken over the frames of at least half the highest level.

    Source:
        McLeod and Wyvill, A Smarter Way to Find Pitch, ICMC 2005, eq. 9 and section 5: the first
        peak nearly as high as the highest. We differ: the window keeps its length at each lag.
    """
    rate_hz = max(sound.rate_hz, _PITCH_RATE_HZ)  # so that a short period is still many samples
    longest, shortest = round(rate_hz / _PITCH_HZ[0]), int(rate_hz / _PITCH_HZ[1])
    frames = _loud_frames(samples_at(sound, rate_hz), rate_hz, level, length=2 * longest)
    similarity = _similarity(frames, longest)  # (T, lags)
    # What stands before the first sign change is the frame's likeness to itself.
    similarity[np.minimum.accumulate(similarity > 0, axis=1)] = 0
    similarity[:, : shortest - 1] = 0
    inner = similarity[:, 1:-1]
    is_peak = (inner >= similarity[:, :-2]) & (inner > similarity[:, 2:])
    heights = np.where(is_peak, inner, 0)
    highest = heights.max(axis=1)
    tonality = float(highest.clip(0, 1).mean())
    is_voiced = highest > _PERIODIC
    if is_voiced.mean() < _VOICED:
        return float("nan"), tonality
    first = np.argmax(heights >= _NEARLY * highest[:, None], axis=1)[is_voiced]
    periods = 1 + first + _summits(similarity[is_voiced], 1 + first)
    return float(rate_hz / np.median(periods)), tonality


def _loud_frames(samples: FloatArray, rate_hz: int, level: _Level, *, length: int) -> _Array:
    """Return frames around the loud moments, at most 400 spread evenly, shape (T, length)."""
    loud = np.flatnonzero(level.values >= 0.5 * level.values.max())
    apart = max(1, round(0.01 / level.step_s))
    steps = np.unique(loud // apart) * apart
    chosen = steps[np.linspace(0, len(steps) - 1, min(len(steps), _MAX_PITCH_FRAMES)).astype(int)]
    middles = np.round(chosen * level.step_s * rate_hz).astype(int)
    # Within the sound, so that no frame is half silence, if the sound is long enough for that.
    starts = np.clip(middles - length // 2, 0, max(0, len(samples) - length))
    padded = np.pad(samples, (0, max(0, length - len(samples)))).astype(np.float64)
    return np.stack([padded[start : start + length] for start in np.unique(starts)])


def _similarity(frames: _Array, longest: int) -> _Array:
    """Return how like each frame's start is to what comes a lag later, shape (T, longest).

    Twice the sum of products over the sum of both energies, -1 to 1, and 1 at lag 0.
    """
    n_fft = 2 ** int(np.ceil(np.log2(3 * longest)))
    start, whole = np.fft.rfft(frames[:, :longest], n_fft), np.fft.rfft(frames, n_fft)
    products = np.fft.irfft(np.conj(start) * whole, n_fft)[:, :longest]
    energy = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    moved = energy[:, longest : 2 * longest] - energy[:, :longest]
    both = moved[:, :1] + moved
    similarity: _Array = 2 * products / np.maximum(both, 1e-9 * both.max())
    return similarity


def _summits(similarity: _Array, lags: npt.NDArray[np.int64]) -> _Array:
    """Return where, beside each peak's lag, the parabola through three neighbours is highest."""
    rows = np.arange(len(lags))
    before, here, after = (similarity[rows, lags + k] for k in (-1, 0, 1))
    bend = np.minimum(before - 2 * here + after, -1e-12)
    summits: _Array = np.clip((before - after) / 2 / bend, -0.5, 0.5)
    return summits
