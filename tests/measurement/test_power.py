import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.knowledge.sensors import find_sensor
from unibind.measurement.power import PowerMeter
from unibind.modalities.timeseries import Recording
from unibind.plugins import load
from unibind.testing import check_instrument

STEP_S = 10.0


def drawn(power, *, unit="W", name="power"):
    values = np.asarray(power, dtype=np.float32)[None]
    return Recording(values, 1 / STEP_S, (name,), (unit,))


def measured(recording):
    instrument = PowerMeter()
    return dict(zip(instrument.attributes, instrument.measure([recording])[0], strict=True))


def square(n_off=30, n_on=10, n_cycles=12, *, off=2.0, on=100.0):
    return np.tile(np.concatenate([np.full(n_off, off), np.full(n_on, on)]), n_cycles)


def test_it_keeps_the_promises_of_an_instrument():
    noise = np.random.default_rng(0).random(480)
    check_instrument(PowerMeter(), [drawn(square() + noise), drawn(square(on=50.0) + noise)])


def test_it_measures_what_the_sensor_table_names():
    assert list(find_sensor("power meter").attributes) == list(PowerMeter.attributes)
    assert load("unibind.instruments", "power-meter") is PowerMeter


def test_a_load_that_switches_in_a_known_way():
    found = measured(drawn(square()))
    share = 0.25
    mean = 0.75 * 2 + 0.25 * 100
    assert found["mean_w"] == pytest.approx(mean)
    assert found["peak_w"] == 100
    assert found["standby_w"] == 2
    assert found["duty_cycle"] == pytest.approx(share)
    assert found["on_period_s"] == 10 * STEP_S
    assert found["cycle_s"] == 40 * STEP_S
    assert found["peak_to_mean"] == pytest.approx(100 / mean, rel=1e-5)
    assert found["levels"] == 2
    assert found["fluctuation"] == pytest.approx(0, abs=1e-6)
    # Of a two-valued variable: 1 / (p q) - 3.
    assert found["kurtosis"] == pytest.approx(1 / (share * (1 - share)) - 3, rel=1e-4)


def test_three_levels_are_three_and_a_start_surge_is_none():
    power = np.tile(np.repeat([1.0, 50.0, 200.0], 40), 5)
    assert measured(drawn(power))["levels"] == 3
    power[::120] = 2000
    assert measured(drawn(power))["levels"] == 3
    assert measured(drawn(power))["peak_w"] == 2000


def test_fluctuation_is_that_of_the_working_time():
    generator = np.random.default_rng(0)
    power = square(on=100.0) * (1 + 0.1 * generator.standard_normal(480))
    assert measured(drawn(power))["fluctuation"] == pytest.approx(0.1, rel=0.2)


def test_what_never_rests_works_all_the_time_and_has_no_period():
    generator = np.random.default_rng(0)
    found = measured(drawn(60 + generator.standard_normal(300)))
    assert found["duty_cycle"] == 1
    assert all(np.isnan(found[name]) for name in ("standby_w", "on_period_s", "cycle_s"))
    assert found["peak_to_mean"] == pytest.approx(1, abs=0.1)


def test_a_period_that_the_recording_cuts_off_is_not_measured():
    found = measured(drawn(np.repeat([0.0, 50.0], [50, 200])))
    assert found["duty_cycle"] == pytest.approx(0.8)
    assert np.isnan(found["on_period_s"])
    assert np.isnan(found["cycle_s"])


def test_noise_between_the_thresholds_does_not_switch():
    power = square(n_off=30, n_on=30, n_cycles=4, off=0.0)
    power[40] = 20  # on its way up
    assert measured(drawn(power))["on_period_s"] == 300


def test_what_draws_nothing_never_works():
    found = measured(drawn(np.zeros(50)))
    assert (found["mean_w"], found["duty_cycle"], found["levels"]) == (0, 0, 1)
    assert np.isnan(found["kurtosis"])
    assert np.isnan(found["peak_to_mean"])


@pytest.mark.parametrize(("unit", "size"), [("kW", 1e3), ("mW", 1e-3), ("MW", 1e6), ("watts", 1)])
def test_units_of_power_are_converted(unit, size):
    found = measured(drawn(square(), unit=unit, name="load"))
    assert found["peak_w"] == pytest.approx(100 * size)


def test_without_a_unit_ratios_are_left_and_without_a_zero_times_and_shapes():
    known = measured(drawn(square()))
    unscaled = measured(drawn(square() / 7, unit=""))
    moved = measured(drawn((square() - 30) / 7, unit=""))
    watts = ("mean_w", "peak_w", "standby_w")
    ratios = ("peak_to_mean", "fluctuation")
    assert all(np.isnan(unscaled[name]) for name in watts)
    assert all(np.isnan(moved[name]) for name in (*watts, *ratios))
    for name in set(known) - set(watts):
        assert unscaled[name] == pytest.approx(known[name], rel=1e-4, abs=1e-6)
        if name not in ratios:
            assert moved[name] == pytest.approx(known[name], rel=1e-4)


def test_other_recordings_are_not_measured():
    recording = Recording(np.zeros((1, 50), "f"), 1.0, ("acc x",), ("g",))
    assert all(np.isnan(value) for value in measured(recording).values())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1e4, width=32), min_size=8, max_size=60))
def test_every_measurement_stays_in_its_physical_limits(power):
    limits = find_sensor("power meter").attributes
    for name, value in measured(drawn(power)).items():
        assert np.isnan(value) or limits[name].low * (1 - 1e-3) <= value <= limits[name].high
