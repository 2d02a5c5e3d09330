"""The sound meter against signals of known answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.knowledge.sensors import find_sensor
from unibind.measurement.sound import SoundMeter
from unibind.modalities.audio import Sound
from unibind.modalities.registry import installed
from unibind.plugins import load
from unibind.testing import check_instrument

RATE_HZ = 44100
T = np.arange(2 * RATE_HZ) / RATE_HZ


def tone(hertz=800.0, level=1.0, seconds=T):
    return 0.5 * level * np.sin(2 * np.pi * hertz * seconds)


def noise(seconds=T, seed=0):
    return 0.2 * np.random.default_rng(seed).standard_normal(len(seconds)).clip(-4, 4)


def clicks(per_second=3.0):
    samples = np.zeros(3 * RATE_HZ)
    for start in np.arange(0, 3, 1 / per_second):
        at = round(start * RATE_HZ) + 50
        samples[at : at + 100] = noise(T[:100], seed=round(10 * start))
    return samples


def measured(samples, rate_hz=RATE_HZ):
    meter = SoundMeter()
    row = meter.measure([Sound(samples.astype(np.float32), rate_hz)])[0]
    return dict(zip(meter.attributes, row, strict=True))


def test_it_keeps_the_promises_of_an_instrument():
    beeps = tone() * (np.mod(T, 0.5) < 0.25)
    check_instrument(
        SoundMeter(), [(beeps.astype(np.float32), RATE_HZ), (noise().astype(np.float32), 8000)]
    )


def test_it_measures_what_the_sensor_table_names():
    assert list(find_sensor("sound").attributes) == list(SoundMeter.attributes)
    assert load("unibind.instruments", "sound") is SoundMeter
    assert SoundMeter.modality is installed()["audio"]


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22254, 44100, 48000])
@pytest.mark.parametrize("hertz", [55.0, 440.0, 3000.0])
def test_a_steady_tone(hertz, rate_hz):
    seconds = np.arange(rate_hz) / rate_hz
    found = measured(tone(hertz, seconds=seconds), rate_hz)
    assert found["pitch_hz"] == pytest.approx(hertz, rel=2e-3)
    assert found["centroid_hz"] == pytest.approx(hertz, rel=0.03)
    assert found["tonality"] > 0.99
    assert found["level_variation"] < 0.02
    assert found["event_s"] == pytest.approx(1.0, abs=0.02)
    assert np.isnan(found["repetition_hz"])


def test_the_pitch_of_a_tone_is_its_fundamental_even_where_that_is_missing():
    rich = sum(tone(200 * n, 0.2) for n in (1, 2, 3, 4, 5))
    without = sum(tone(200 * n, 0.2) for n in (2, 3, 4, 5))
    for samples in (rich, without):
        found = measured(samples)
        assert found["pitch_hz"] == pytest.approx(200, rel=1e-3)
        assert found["tonality"] > 0.99
    assert measured(rich)["centroid_hz"] == pytest.approx(600, rel=0.01)


def test_noise_has_no_pitch_and_no_tonality():
    found = measured(noise())
    assert np.isnan(found["pitch_hz"])
    assert found["tonality"] < 0.15
    assert found["centroid_hz"] == pytest.approx(RATE_HZ / 4, rel=0.01)
    assert found["level_variation"] < 0.1
    assert np.isnan(found["repetition_hz"])


def test_tonality_falls_as_noise_is_mixed_in():
    found = [measured(tone() + share * noise())["tonality"] for share in (0, 1, 3, 9)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.99
    assert found[-1] < 0.25


def test_the_pitch_of_a_chirp_is_that_of_its_middle():
    found = measured(0.5 * np.sin(2 * np.pi * (200 * T + 400 * T**2)))  # 200 to 1800 Hz
    assert found["pitch_hz"] == pytest.approx(1000, rel=0.05)
    assert found["centroid_hz"] == pytest.approx(1000, rel=0.05)
    assert found["tonality"] > 0.95


@pytest.mark.parametrize("per_second", [1.0, 3.0, 8.0])
def test_clicks_repeat(per_second):
    found = measured(clicks(per_second))
    assert found["repetition_hz"] == pytest.approx(per_second, rel=0.02)
    assert found["event_s"] < 0.02
    assert found["attack_s"] < 0.005
    assert found["level_variation"] > 0.95
    assert np.isnan(found["pitch_hz"])
    assert found["tonality"] < 0.2


def test_beeps_last_as_long_as_they_do():
    found = measured(tone() * (np.mod(T, 0.5) < 0.2))
    assert found["event_s"] == pytest.approx(0.2, abs=0.012)
    assert found["repetition_hz"] == pytest.approx(2, rel=0.02)
    assert found["pitch_hz"] == pytest.approx(800, rel=2e-3)


def test_events_that_follow_irregularly_are_counted():
    starts = (0.1, 0.35, 1.0, 1.3)
    samples = sum(tone() * ((start < T) & (start + 0.1 > T)) for start in starts)
    found = measured(samples)
    assert found["repetition_hz"] == pytest.approx(3 / 1.2, rel=0.02)
    assert found["event_s"] == pytest.approx(0.1, abs=0.012)


@pytest.mark.parametrize("depth", [0.2, 0.5, 0.9])
def test_the_depth_of_an_amplitude_modulation_is_its_level_variation(depth):
    found = measured(0.5 * (1 + depth * np.sin(2 * np.pi * 4 * T)) * tone(1000))
    assert found["level_variation"] == pytest.approx(depth, rel=0.15)
    assert found["repetition_hz"] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("attack_s", [0.05, 0.3, 1.0])
def test_a_rising_level_is_timed(attack_s):
    found = measured(tone(1000, np.minimum(1, T / attack_s)))
    assert found["attack_s"] == pytest.approx(attack_s, rel=0.05)


def test_a_decaying_tone_lasts_until_it_is_20_db_down():
    found = measured(tone(600, np.exp(-T / 0.2)))
    assert found["event_s"] == pytest.approx(0.2 * np.log(10), rel=0.03)
    assert found["attack_s"] < 0.005
    assert found["pitch_hz"] == pytest.approx(600, rel=1e-3)
    assert np.isnan(found["repetition_hz"])


def test_silence_has_no_attributes():
    assert all(np.isnan(value) for value in measured(np.zeros(9000)).values())
    assert all(np.isnan(value) for value in measured(np.full(9000, 0.5)).values())


@given(
    seed=st.integers(0, 99),
    n_samples=st.integers(300, 20_000),
    rate_hz=st.sampled_from([1000, 8000, 48000]),
    gain=st.floats(0.01, 1.0),
)
@settings(max_examples=30, deadline=None)
def test_any_sound_has_finite_attributes_in_their_limits_that_loudness_does_not_change(
    seed, n_samples, rate_hz, gain
):
    generator = np.random.default_rng(seed)
    steps = generator.choice([0.0, 0.1, 1.0], size=n_samples // 100 + 1).repeat(100)[:n_samples]
    samples = 0.25 * steps * generator.standard_normal(n_samples).clip(-4, 4)
    limits = find_sensor("sound").attributes
    loud, soft = measured(samples, rate_hz), measured(gain * samples, rate_hz)
    for name, value in loud.items():
        assert np.isnan(value) or limits[name].low <= value <= limits[name].high, name
        if not np.isnan(loud["event_s"]) and not np.isnan(soft["event_s"]):
            assert soft[name] == pytest.approx(value, rel=1e-2, abs=1e-3, nan_ok=True), name
