"""Artificial signals of many kinds, always the same: what thresholds are taken from."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray

__all__ = ["SIGNALS_VERSION", "reference_signals"]

SIGNALS_VERSION = 1
"""One more whenever the signals change; part of the fingerprint of whoever uses them."""

_Signal = npt.NDArray[np.float64]


def reference_signals(n_signals: int, n_steps: int, *, seed: int) -> FloatArray:
    """Return signals, shape (n_signals, n_steps): each kind in turn, with drawn parameters."""
    generator = np.random.default_rng(seed)
    rows = [_KINDS[n % len(_KINDS)](generator, n_steps) for n in range(n_signals)]
    return np.stack(rows).astype(np.float32)


def _noise(generator: np.random.Generator, n_steps: int) -> _Signal:
    return generator.standard_normal(n_steps)


def _walk(generator: np.random.Generator, n_steps: int) -> _Signal:
    return generator.standard_normal(n_steps).cumsum()


def _oscillation(generator: np.random.Generator, n_steps: int) -> _Signal:
    n_periods, phase = generator.uniform(1, n_steps / 8), generator.uniform(0, 2 * np.pi)
    turns = 2 * np.pi * n_periods * np.arange(n_steps) / n_steps + phase
    return np.sin(turns) + 0.1 * generator.standard_normal(n_steps)


def _switching(generator: np.random.Generator, n_steps: int) -> _Signal:
    n_periods = np.exp(generator.uniform(0, np.log(n_steps / 16)))
    turns = 2 * np.pi * (n_periods * np.arange(n_steps) / n_steps + generator.random())
    levels: _Signal = np.sign(np.sin(turns) - generator.uniform(-0.9, 0.9))
    return levels + 0.05 * generator.standard_normal(n_steps)


def _bursts(generator: np.random.Generator, n_steps: int) -> _Signal:
    signal = 0.02 * generator.standard_normal(n_steps)
    for _ in range(generator.integers(1, 8)):
        start = generator.integers(0, n_steps)
        end = start + generator.integers(1, max(2, n_steps // 8))
        signal[start:end] += generator.exponential()
    return signal


def _relaxation(generator: np.random.Generator, n_steps: int) -> _Signal:
    memory, pushes = generator.uniform(0.5, 0.99), generator.standard_normal(n_steps)
    signal = np.zeros(n_steps)
    for step in range(1, n_steps):
        signal[step] = memory * signal[step - 1] + pushes[step]
    return signal


_KINDS: tuple[Callable[[np.random.Generator, int], _Signal], ...] = (
    _noise,
    _walk,
    _oscillation,
    _switching,
    _bursts,
    _relaxation,
)
