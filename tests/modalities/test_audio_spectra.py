"""Spectra and mel bands against sums written from their definitions, and another library."""

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank

from unibind.modalities.audio_spectra import hann, mel_filters, power_spectra


def test_power_spectra_are_those_of_centred_frames():
    samples = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    window, hop = hann(64), 24
    spectra = power_spectra(samples, window=window, hop=hop)
    assert spectra.shape == (1 + 1000 // hop, 33)
    padded = np.concatenate([np.zeros(32), samples, np.zeros(32)])
    for t in (0, 1, 7, len(spectra) - 1):
        frame = padded[t * hop : t * hop + 64] * window
        phase = np.exp(-2j * np.pi * np.outer(np.arange(33), np.arange(64)) / 64)
        np.testing.assert_allclose(spectra[t], np.abs(phase @ frame) ** 2, rtol=1e-3, atol=1e-3)


def test_a_mirrored_edge_goes_on_where_the_sound_ends():
    samples = np.ones(1000, np.float32)
    spectra = power_spectra(samples, window=hann(64), hop=50, edge="mirror")
    np.testing.assert_allclose(spectra[0], spectra[5], atol=1e-4)


def test_many_frames_are_those_of_few():
    samples = np.random.default_rng(1).standard_normal(30_000).astype(np.float32)
    many = power_spectra(samples, window=hann(32), hop=16)
    few = power_spectra(samples[16_000:17_000], window=hann(32), hop=16)
    np.testing.assert_allclose(many[1001:1060], few[1:60], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("is_periodic", "last"), [(True, 1), (False, 0)])
def test_a_window_is_a_raised_cosine(is_periodic, last):
    window = hann(8, is_periodic=is_periodic)
    assert window[0] == 0
    np.testing.assert_allclose(window[-1], np.sin(np.pi / 8) ** 2 * last, atol=1e-7)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_filters_are_those_of_another_library(scale):
    ours = mel_filters(16000, 400, n_bands=20, high_hz=7000.0, scale=scale)
    theirs = mel_filter_bank(
        num_frequency_bins=201,
        num_mel_filters=20,
        min_frequency=0.0,
        max_frequency=7000.0,
        sampling_rate=16000,
        norm="slaney" if scale == "slaney" else None,
        mel_scale=scale,
        triangularize_in_mel_space=scale == "htk",
    )
    if scale == "htk":
        theirs = theirs / theirs.sum(axis=0)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_mel_filters_are_shared_and_not_writable():
    filters = mel_filters(8000, 64, n_bands=4, high_hz=4000.0, scale="htk")
    with pytest.raises(ValueError, match="read-only"):
        filters[0] = 1
