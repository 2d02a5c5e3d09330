"""Whisper's encoder through CTranslate2: speech to 384 numbers, what is said more than by whom."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from unibind import weights
from unibind.encoders.compiled import n_threads
from unibind.encoders.fingerprints import fingerprint_of, weight_hashes
from unibind.errors import PluginError
from unibind.modalities.audio import AUDIO, READING, accept, samples_at
from unibind.modalities.audio_spectra import hann, mel_filters, power_spectra
from unibind.types import FloatArray

__all__ = ["RATE_HZ", "WINDOW_S", "Whisper", "load_tiny_en", "log_mel", "windows_of"]

RATE_HZ = 16_000
WINDOW_S = 30
N_BANDS = 80

_FRAME, _HOP = 400, 160
_SAMPLES_PER_FEATURE = 2 * _HOP  # the encoder makes one of two frames: 50 per second
_NAME = "whisper-tiny-en"
_FILES = ("model.bin", "config.json")
_COMPUTE = "int8"  # twice as fast as float32; features move by about 1 %


class Whisper:
    """A frozen tower that was trained to transcribe speech.

    The mean over what it makes of the sound itself; the silence that fills its window of 30 s up
    is left out. A longer sound is cut into windows.

    Args:
        model: A ``ctranslate2.models.Whisper``.
        dim: Width of its features.
        fingerprint: Of weights and preprocessing.
    """

    modality = AUDIO

    def __init__(self, model: Any, *, dim: int, fingerprint: str) -> None:
        self.dim = dim
        self.fingerprint = fingerprint
        self._model = model

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the mean features of sounds, shape (N, 384), not normalised.

        Raises:
            InvalidInputError: An item is not a sound that the modality takes.
        """
        rows = np.zeros((len(items), self.dim), dtype=np.float32)
        for row, item in enumerate(items):
            parts = list(self._features(samples_at(accept(item), RATE_HZ)))
            rows[row] = np.concatenate(parts).mean(axis=0)
        return rows

    def _features(self, samples: FloatArray) -> Iterator[FloatArray]:
        """Yield the features of each window, shape (T, 384), 50 per second of sound."""
        import ctranslate2

        for window in windows_of(samples):
            mel = np.ascontiguousarray(log_mel(window)[None])  # (1, 80, 3000)
            encoded = self._model.encode(ctranslate2.StorageView.from_array(mel), to_cpu=True)
            n_real = -(-len(window) // _SAMPLES_PER_FEATURE)
            yield np.array(encoded, dtype=np.float32)[0, :n_real]


def windows_of(samples: FloatArray) -> list[FloatArray]:
    """Return a sound's windows of 30 s, the last one shorter, at 16 kHz.

    A rest of less than half a second is left out, unless it is all there is.
    """
    length = WINDOW_S * RATE_HZ
    windows = [samples[start : start + length] for start in range(0, len(samples), length)]
    return windows[:-1] if len(windows) > 1 and len(windows[-1]) < RATE_HZ // 2 else windows


def log_mel(samples: FloatArray) -> FloatArray:
    """Return the spectrogram that Whisper reads, shape (80, 3000), of at most 30 s of sound.

    Args:
        samples: At 16 kHz, shape (S,); silence follows up to 30 s.

    Source:
        Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, 2022, section
        2.2, as in the released code: Slaney's mel bands, at most 8 decades below the loudest.
    """
    padded = np.zeros(WINDOW_S * RATE_HZ, dtype=np.float32)
    padded[: len(samples)] = samples
    power = power_spectra(padded, window=hann(_FRAME), hop=_HOP, edge="mirror")[:-1]  # (3000, 201)
    filters = mel_filters(RATE_HZ, _FRAME, n_bands=N_BANDS, high_hz=RATE_HZ / 2, scale="slaney")
    decades = np.log10(np.maximum(power @ filters, 1e-10))
    floor = decades.max() - 8
    mel: FloatArray = ((np.maximum(decades, floor) + 4) / 4).T.astype(np.float32)
    return np.ascontiguousarray(mel)


def load_tiny_en() -> Whisper:
    """Return the encoder of Whisper tiny.en with its pinned weights.

    Raises:
        PluginError: ctranslate2 is not installed.
        FetchError: The weights are not here; the message names the command that brings them.
    """
    try:
        import ctranslate2
    except ImportError:
        raise PluginError(
            "Whisper runs in ctranslate2, which is not installed; run pip install 'unibind[audio]'"
        ) from None
    model = ctranslate2.models.Whisper(
        str(weights.path(_NAME)), device="cpu", compute_type=_COMPUTE, intra_threads=n_threads()
    )
    fingerprint = fingerprint_of(
        architecture="whisper-encoder",
        version=1,
        weights=weight_hashes(_NAME, *_FILES),
        compute=_COMPUTE,
        spectrogram=[RATE_HZ, _FRAME, _HOP, N_BANDS],
        windows=[WINDOW_S, "mean of real frames"],
        reading=READING,
    )
    return Whisper(model, dim=384, fingerprint=fingerprint)
