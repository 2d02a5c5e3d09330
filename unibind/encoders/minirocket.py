"""MiniRocket: recordings to how often fixed random patterns occur in them, through aeon."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.recording_windows import N_STEPS, VIEWS, windows_of
from unibind.encoders.reference_signals import SIGNALS_VERSION, reference_signals
from unibind.errors import PluginError
from unibind.modalities.timeseries import READING, TIMESERIES, accept
from unibind.sources import cache_dir
from unibind.types import FloatArray

__all__ = ["N_FEATURES", "MiniRocket", "load"]

N_FEATURES = 2520
"""Features of one view: 84 kernels of 9 steps, each at several dilations and thresholds."""

_SEED = 0
_N_SIGNALS = 240

# aeon's compiled loops are parallel, and numba's simplest way to do that ends the process when
# two threads are in such a loop at once.
_ONE_AT_A_TIME = threading.Lock()


class MiniRocket:
    """Frozen random kernels: nothing was trained, and nothing depends on a training set.

    Each channel is seen apart and made comparable (`recording_windows`), so recordings of any
    number of channels and any length get features of one width: means over windows and channels
    of the share of steps at which a kernel's output exceeds a threshold. What amplitude a channel
    has, and which channel it is, are not in them.

    MiniRocket takes the thresholds from the training set. Here they come from fixed artificial
    signals, so that the encoder is the same everywhere and forever.

    Args:
        transforms: One fitted aeon transform for each of `VIEWS`.

    Source:
        Dempster, Schmidt and Webb, MiniRocket, KDD 2021 (arXiv:2012.08791); the differenced view
        as in Tan et al., MultiRocket, 2022 (arXiv:2102.00457).
    """

    modality = TIMESERIES
    dim = N_FEATURES * len(VIEWS)
    fingerprint = fingerprint_of(
        architecture="minirocket",
        version=1,
        n_features=N_FEATURES,
        n_steps=N_STEPS,
        views=list(VIEWS),
        signals=[SIGNALS_VERSION, _N_SIGNALS, _SEED],
        reading=READING,
    )

    def __init__(self, transforms: Sequence[Any]) -> None:
        self._transforms = transforms

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the features of recordings, shape (N, 5040), in [0, 1].

        Raises:
            InvalidInputError: An item is not a recording that the modality takes.
        """
        features = np.zeros((len(items), self.dim), dtype=np.float32)
        for row, item in enumerate(items):
            recording = accept(item)
            features[row] = np.concatenate(
                [
                    _mean_features(transform, windows_of(recording.values, view=view))
                    for transform, view in zip(self._transforms, VIEWS, strict=True)
                ]
            )
        return features


def load() -> MiniRocket:
    """Return the encoder; the first one on a machine compiles for about half a minute.

    Raises:
        PluginError: aeon is not installed.
    """
    return MiniRocket(_transforms())


@cache
def _transforms() -> tuple[Any, ...]:
    kind = _import_aeon()
    signals = reference_signals(_N_SIGNALS, N_STEPS, seed=_SEED)
    fitted = []
    for view in VIEWS:
        transform = kind(n_kernels=N_FEATURES, random_state=_SEED, n_jobs=1)
        with _ONE_AT_A_TIME, _own_random_state():
            fitted.append(transform.fit(windows_of(signals, view=view)))
    return tuple(fitted)


def _mean_features(transform: Any, windows: FloatArray) -> FloatArray:
    with _ONE_AT_A_TIME:
        features = np.asarray(transform.transform(windows), dtype=np.float32)
    mean: FloatArray = features.mean(axis=0)
    return mean


@cache
def _import_aeon() -> Any:
    """Import aeon's transform, whose compiled code is then kept in our cache folder."""
    try:
        import numba

        with _numba_cache(numba):
            from aeon.transformations.collection.convolution_based import MiniRocket as Transform
    except ImportError as error:
        raise PluginError(
            f"the encoder minirocket needs aeon ({error}); pip install 'unibind[timeseries]'"
        ) from error
    return Transform


@contextmanager
def _numba_cache(numba: Any) -> Iterator[None]:
    """Let what is imported inside keep its machine code where it can surely be written."""
    if "NUMBA_CACHE_DIR" in os.environ:  # the user's own choice
        yield
        return
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_dir() / "numba")
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


@contextmanager
def _own_random_state() -> Iterator[None]:
    """Give numpy's global generator back as it was: aeon seeds it."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)
