import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.knowledge.sensors import find_sensor
from unibind.measurement.motion import WristImu
from unibind.modalities.registry import installed
from unibind.modalities.timeseries import Recording
from unibind.plugins import load
from unibind.testing import check_instrument

RATE_HZ = 50.0
T = np.arange(1000) / RATE_HZ
NAMES = ("acc x", "acc y", "acc z", "gyr x", "gyr y", "gyr z")
UNITS = ("m/s2",) * 3 + ("rad/s",) * 3


def moving(*axes, units=UNITS, gravity="removed", rate_hz=RATE_HZ, names=NAMES):
    n_steps = max(np.size(axis) for axis in axes)
    rows = [np.broadcast_to(axis, n_steps) for axis in (*axes, *([0.0] * (6 - len(axes))))]
    return Recording(np.stack(rows).astype(np.float32), rate_hz, names, units, gravity)


def measured(recording):
    instrument = WristImu()
    return dict(zip(instrument.attributes, instrument.measure([recording])[0], strict=True))


def test_it_keeps_the_promises_of_an_instrument():
    noise = np.random.default_rng(0).standard_normal((6, 300))
    check_instrument(WristImu(), [moving(*noise), moving(*(noise * 3))])


def test_it_measures_what_the_sensor_table_names():
    assert list(find_sensor("wrist imu").attributes) == list(WristImu.attributes)
    assert load("unibind.instruments", "wrist-imu") is WristImu
    assert WristImu.modality is installed()["timeseries"]


def test_a_swing_of_known_size_and_frequency():
    # 3 m/s2 at 2 Hz along a line that is no axis; turning at a constant 0.5 rad/s.
    swing = 3 * np.sin(2 * np.pi * 2 * T)
    found = measured(moving(0.6 * swing, 0.8 * swing, 0.0, 0.3, 0.4))
    assert found["dynamic_rms_ms2"] == pytest.approx(3 / np.sqrt(2), rel=1e-3)
    assert found["peak_ms2"] == pytest.approx(3, rel=5e-3)
    assert found["dominant_hz"] == pytest.approx(2, abs=0.02)
    assert found["periodicity"] == pytest.approx(1, abs=1e-3)
    assert found["kurtosis"] == pytest.approx(1.5, rel=1e-2)  # of a sine
    assert found["gyro_rms_rads"] == pytest.approx(0.5, rel=1e-5)


def test_noise_has_the_kurtosis_of_a_normal_distribution_and_no_period():
    noise = np.random.default_rng(1).standard_normal((3, 20_000))
    found = measured(moving(*noise))
    assert found["kurtosis"] == pytest.approx(3, abs=0.1)
    assert found["periodicity"] < 0.1
    assert found["dynamic_rms_ms2"] == pytest.approx(np.sqrt(3), rel=0.02)


def test_periodicity_is_the_highest_correlation_by_the_formula():
    x = np.random.default_rng(2).standard_normal((2, 200)).cumsum(axis=1)
    x -= x.mean(axis=1, keepdims=True)
    best = 0.0
    for lag in range(2, 31):  # 0.2 to 3 s at 10 Hz
        early, late = x[:, :-lag], x[:, lag:]
        best = max(best, (early * late).sum() / np.sqrt((early**2).sum() * (late**2).sum()))
    found = measured(moving(*x, rate_hz=10.0))
    assert found["periodicity"] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize(("unit", "size"), [("g", 9.80665), ("mg", 9.80665e-3), ("m/s\u00b2", 1)])
def test_units_of_acceleration_are_converted(unit, size):
    found = measured(moving(np.sin(T), units=(unit,) * 3 + ("deg/s",) * 3))
    plain = measured(moving(size * np.sin(T)))
    assert found["dynamic_rms_ms2"] == pytest.approx(plain["dynamic_rms_ms2"], rel=1e-4)


def test_degrees_are_converted():
    found = measured(moving(np.sin(T), 0, 0, 180.0, units=("g",) * 3 + ("dps",) * 3))
    assert found["gyro_rms_rads"] == pytest.approx(np.pi, rel=1e-5)


def test_gravity_that_is_included_is_taken_off():
    swing = 3 * np.sin(2 * np.pi * 2 * T)
    found = measured(moving(swing, 0.0, 9.81, gravity="included"))
    assert found["dynamic_rms_ms2"] == pytest.approx(3 / np.sqrt(2), rel=0.05)
    assert found["peak_ms2"] == pytest.approx(3, rel=0.2)  # the filter swings in at the ends
    assert found["dominant_hz"] == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize(
    "unknown", [{"gravity": ""}, {"units": ("",) * 6}, {"units": ("volts",) * 3 + ("",) * 3}]
)
def test_strengths_are_unknown_where_unit_or_gravity_is_shapes_are_not(unknown):
    found = measured(moving(np.sin(2 * np.pi * T), 0, 0, 1.0, **unknown))
    assert np.isnan(found["dynamic_rms_ms2"])
    assert np.isnan(found["peak_ms2"])
    if "volts" not in unknown.get("units", ()):
        assert found["dominant_hz"] == pytest.approx(1, abs=0.02)
        assert found["periodicity"] > 0.99


def test_other_recordings_are_not_measured():
    recording = Recording(np.zeros((1, 50), "f"), 1.0, ("power",), ("W",))
    assert all(np.isnan(value) for value in measured(recording).values())


def test_rest_is_measured_as_rest():
    found = measured(moving(0.0 * T))
    assert (found["dynamic_rms_ms2"], found["peak_ms2"], found["gyro_rms_rads"]) == (0, 0, 0)
    assert np.isnan(found["dominant_hz"])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    angle=st.floats(0, 2 * np.pi),
    gain=st.floats(0.01, 100),
)
def test_turning_the_sensor_changes_nothing_and_a_gain_only_the_strengths(seed, angle, gain):
    x = np.random.default_rng(seed).standard_normal((3, 200)).cumsum(axis=1)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ x
    here, there = measured(moving(*x)), measured(moving(*(gain * turned)))
    for name in ("dominant_hz", "periodicity"):
        assert there[name] == pytest.approx(here[name], rel=1e-3)
    for name in ("dynamic_rms_ms2", "peak_ms2"):
        assert there[name] == pytest.approx(gain * here[name], rel=1e-3)
