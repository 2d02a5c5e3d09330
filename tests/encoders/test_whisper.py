"""The speech tower with its real weights, and its spectrogram against transformers' own."""

import builtins

import ctranslate2
import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from unibind import weights
from unibind.encoders import whisper
from unibind.encoders.registry import open_encoder
from unibind.encoders.whisper import log_mel, windows_of
from unibind.errors import PluginError
from unibind.testing import check_encoder


@pytest.fixture(scope="module")
def tower():
    weights.fetch("whisper-tiny-en")
    return open_encoder("whisper-tiny-en")


def noise(duration_s, seed=0, rate_hz=16000):
    generator = np.random.default_rng(seed)
    return generator.uniform(-0.3, 0.3, round(duration_s * rate_hz)).astype(np.float32)


@pytest.mark.parametrize("duration_s", [0.01, 1.0, 30.0])
def test_the_spectrogram_is_that_of_another_library(duration_s):
    samples = noise(duration_s) * np.linspace(0, 1, round(duration_s * 16000), dtype=np.float32)
    theirs = WhisperFeatureExtractor(feature_size=80)(samples, sampling_rate=16000)
    np.testing.assert_allclose(log_mel(samples), theirs["input_features"][0], atol=2e-3)


def test_it_keeps_the_promises_of_an_encoder(tower):
    check_encoder(tower, [(noise(1), 16000), (noise(0.02, 1, 44100), 44100)])
    assert tower.dim == 384


def test_a_feature_is_the_mean_over_the_sound_without_the_silence_that_follows(tower):
    samples = noise(2.01)
    mel = ctranslate2.StorageView.from_array(log_mel(samples)[None])
    folder = str(weights.path("whisper-tiny-en"))
    model = ctranslate2.models.Whisper(folder, device="cpu", compute_type="int8")
    frames = np.array(model.encode(mel, to_cpu=True))[0]  # (1500, 384), 50 per second
    np.testing.assert_allclose(
        tower.encode([(samples, 16000)])[0], frames[:101].mean(axis=0), atol=1e-3
    )


@pytest.mark.parametrize(
    ("n_samples", "lengths"),
    [
        (100, [100]),
        (480_000, [480_000]),
        (480_100, [480_000]),
        (500_000, [480_000, 20_000]),
        (960_000, [480_000, 480_000]),
    ],
)
def test_a_long_sound_is_cut_into_windows(n_samples, lengths):
    assert [len(window) for window in windows_of(np.zeros(n_samples, np.float32))] == lengths


def test_without_ctranslate2_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "ctranslate2":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PluginError, match=r"pip install 'unibind\[audio\]'"):
        whisper.load_tiny_en()
