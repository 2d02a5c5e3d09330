"""aiSFX: sounds to 512 numbers, learned from libraries of sound effects; the sound tower of mini.

The weights are CC BY 4.0: name Alison B. Ma and Alexander Lerch (ISMIR 2022) where you use them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unibind import weights
from unibind.encoders.compiled import Forward, Input, compile_network, side_by_side
from unibind.encoders.fingerprints import fingerprint_of, weight_hashes
from unibind.modalities.audio import AUDIO, READING, accept, samples_at
from unibind.modalities.audio_spectra import hann, mel_filters, power_spectra
from unibind.types import FloatArray

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MAX_WINDOWS", "Aisfx", "load", "log_mel", "windows_of"]

RATE_HZ = 44_100
FRAME = 2048
HOP = 1024
N_BANDS = 96

WINDOW = 100
"""Frames of the spectrogram that the network sees at once: 2.3 s."""

MAX_WINDOWS = 60
"""A sound of more than about a minute is looked at in so many windows, evenly spread."""

_SCALE = 9.457798957824707  # the largest value in the spectrograms that it was trained on
_NAME = "aisfx"
_FILE = "checkpoint.pth"
_BATCH = 4
_MEL = Input("mel", np.float32, ("B", WINDOW, N_BANDS))


class Aisfx:
    """A frozen tower that was trained to sort sound effects into the categories of libraries.

    Args:
        trunk: Log-mel windows, shape (B, 100, 96), to features (B, 512).
        fingerprint: Of weights and preprocessing.
    """

    modality = AUDIO
    dim = 512

    def __init__(self, trunk: Forward, *, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self._trunk = trunk

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the features of sounds, the mean of their windows', shape (N, 512), >= 0.

        Raises:
            InvalidInputError: An item is not a sound that the modality takes.
        """
        return side_by_side(self._encode_one, items, batch_size=1, dim=self.dim)

    def _encode_one(self, items: Sequence[Any]) -> FloatArray:
        (item,) = items
        windows = windows_of(log_mel(samples_at(accept(item), RATE_HZ)))
        features = [
            self._trunk(windows[start : start + _BATCH]) for start in range(0, len(windows), _BATCH)
        ]
        mean: FloatArray = np.concatenate(features).mean(axis=0, keepdims=True)
        return mean


def log_mel(samples: FloatArray) -> FloatArray:
    """Return the spectrogram that the network was trained on, shape (T, 96), about 0 to 1.

    Args:
        samples: At 44.1 kHz, shape (S,).

    Source:
        The package's front end, which is Essentia's: frames centred every 1024 samples, a
        symmetric Hann window, power in 96 HTK mel bands up to 22.05 kHz, log10(1 + 10000 x).
    """
    power = power_spectra(samples, window=hann(FRAME, is_periodic=False), hop=HOP)
    filters = mel_filters(RATE_HZ, FRAME, n_bands=N_BANDS, high_hz=RATE_HZ / 2, scale="htk")
    mel: FloatArray = np.log10(1 + 1e4 * (power @ filters)) / np.float32(_SCALE)
    return mel


def windows_of(mel: FloatArray) -> FloatArray:
    """Return windows of a spectrogram, shape (W, 100, 96), W >= 1, that overlap by half.

    The last one ends where the sound ends. A shorter sound is followed by silence, as it was in
    training.

    Args:
        mel: Shape (T, 96).
    """
    if len(mel) < WINDOW:
        mel = np.pad(mel, ((0, WINDOW - len(mel)), (0, 0)))
    last = len(mel) - WINDOW
    n_windows = min(MAX_WINDOWS, 1 + -(-last // (WINDOW // 2)))
    starts = np.linspace(0, last, n_windows).round().astype(int)
    return np.stack([mel[start : start + WINDOW] for start in starts])


def load() -> Aisfx:
    """Return the tower with its pinned weights.

    Raises:
        FetchError: They are not here; the message names the command that brings them.
    """
    file = weights.path(_NAME) / _FILE
    fingerprint = fingerprint_of(
        architecture="aisfx",
        version=1,
        weights=weight_hashes(_NAME, _FILE),
        spectrogram=[RATE_HZ, FRAME, HOP, N_BANDS, _SCALE],
        windows=[WINDOW, MAX_WINDOWS, "zeros", "mean"],
        reading=READING,
    )
    trunk = compile_network(
        lambda: _network(file), name=_NAME, fingerprint=fingerprint, inputs=[_MEL]
    )
    return Aisfx(trunk, fingerprint=fingerprint)


def _network(file: Path) -> "nn.Module":
    import torch

    from unibind.encoders.networks.aisfx import Aisfx as Network

    # Beside the weights stands how many classes each training library had, as numpy integers.
    harmless: list[Any] = [
        (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]
        np.dtype,
        np.dtypes.Int64DType,
    ]
    with torch.serialization.safe_globals(harmless):
        state, _ = torch.load(file, map_location="cpu", weights_only=True)
    return Network(state)
