import datetime
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recording_files import csv_of, npy_of, npz_of, parquet_of

from unibind.encoders.cache import item_key
from unibind.errors import InvalidInputError
from unibind.modalities.registry import open_modality
from unibind.modalities.timeseries import MIN_STEPS, TIMESERIES, Recording, accept, draw, read
from unibind.modalities.timeseries_clock import MAX_GAP
from unibind.modalities.timeseries_size import MAX_CHANNELS, MAX_VALUES

RAMP = np.stack([np.arange(20.0), 100 - np.arange(20.0)])


def test_time_series_enter_by_the_plug_in_door():
    assert open_modality("timeseries") is TIMESERIES


def test_a_column_of_times_gives_the_rate_and_headings_give_names_and_units():
    content = csv_of(RAMP, rate_hz=50, names=["acc x [m/s2]", "turn (rad/s)"])
    found = read(content)
    assert found.rate_hz == 50
    assert found.channels == ("acc x", "turn")
    assert found.units == ("m/s2", "rad/s")
    assert found.duration_s == pytest.approx(0.4)
    np.testing.assert_array_equal(found.values, RAMP.astype(np.float32))


@pytest.mark.parametrize(
    ("heading", "step", "options", "rate_hz"),
    [
        ("time [ms]", 20, {}, 50),
        ("timestamp_ms", 20, {}, 50),
        ("t (s)", 0.02, {}, 50),
        ("Time", 0.02, {}, 50),  # parts of a second
        ("elapsed_us", 20_000, {}, 50),
        ("seconds_elapsed", 2, {}, 0.5),
        ("time", 20, {"rate_hz": 50}, 50),  # only milliseconds fit
        ("time", 20, {"time_unit": "ms"}, 50),
        ("when", 20, {"time": "when", "time_unit": "ms"}, 50),
    ],
)
def test_the_unit_of_times_is_told_or_clear(heading, step, options, rate_hz):
    rows = "\n".join(f"{n * step},{n}" for n in range(20))
    assert read(f"{heading},a\n{rows}".encode(), **options).rate_hz == pytest.approx(rate_hz)


@pytest.mark.parametrize(("power", "unit"), [(9, "s"), (12, "ms"), (15, "us"), (18, "ns")])
def test_times_since_1970_tell_their_unit_by_their_size(power, unit):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    rows = "\n".join(f"{int(1.7 * 10**9) * per_second + n * 2 * per_second},{n}" for n in range(20))
    assert 10**power <= 1.7e9 * per_second
    assert read(f"time,a\n{rows}".encode()).rate_hz == pytest.approx(0.5, rel=1e-3)


def test_times_of_day_count_from_the_first():
    start = datetime.datetime(2026, 1, 31, 23, 59, 50, tzinfo=datetime.UTC)
    stamps = [(start + datetime.timedelta(seconds=2 * n)).isoformat() for n in range(20)]
    rows = "\n".join(f"{stamp},{n}" for n, stamp in enumerate(stamps))
    assert read(f"date,a\n{rows}".encode()).rate_hz == 0.5
    assert read(rows.encode()).rate_hz == 0.5  # without headings
    times = np.array([stamp.removesuffix("+00:00") for stamp in stamps], dtype="datetime64[ms]")
    parquet = parquet_of(when=times, p=np.arange(20))
    assert (read(parquet).rate_hz, read(parquet).channels) == (0.5, ("p",))


@pytest.mark.parametrize("separator", [",", ";", "\t", "  "])
def test_every_usual_separator_is_read(separator):
    rows = "\r\n".join(separator.join([str(n), str(-n)]) for n in range(20))
    found = read(f"a{separator}b\r\n{rows}\r\n".encode("utf-8-sig"), rate_hz=1)
    assert found.channels == ("a", "b")
    np.testing.assert_array_equal(found.values, [np.arange(20), -np.arange(20)])


def test_a_decimal_comma_is_read_where_it_does_not_separate():
    rows = "\n".join(f"{n},5;{n}" for n in range(20))
    np.testing.assert_array_equal(
        read(f"a;b\n{rows}".encode(), rate_hz=1).values[0], np.arange(20) + 0.5
    )


def test_lines_of_explanation_before_the_table_are_skipped():
    content = b"# made by a watch\n\n" + csv_of(RAMP, rate_hz=10)
    assert read(content).values.shape == (2, 20)


def test_four_formats_hold_the_same_recording():
    options = {"rate_hz": 50, "channels": "a,b", "units": "g"}
    items = [
        read(csv_of(RAMP, names=["a", "b"]), **options),
        read(parquet_of(a=RAMP[0], b=RAMP[1]), **options),
        read(npy_of(RAMP), **options),
        read(npy_of(np.asfortranarray(RAMP.T)), axis="time,channel", **options),
        read(npz_of(values=RAMP), **options),
        accept(RAMP, **options),
    ]
    keys = {item_key(item) for item in items}
    assert len(keys) == 1
    assert None not in keys


def test_an_npz_says_rate_names_and_units_beside_its_values():
    content = npz_of(
        values=RAMP,
        rate_hz=np.float64(25),
        channels=np.array(["a", "b"]),
        units=np.array(["W", ""]),
    )
    found = read(content)
    assert (found.rate_hz, found.channels, found.units) == (25, ("a", "b"), ("W", ""))
    assert read(npz_of(values=RAMP, time=np.arange(20) / 4)).rate_hz == 4


def test_channels_are_chosen_by_name_in_the_order_that_was_told():
    content = csv_of(np.stack([RAMP[0], RAMP[1], RAMP[0]]), rate_hz=10, names=["a [g]", "b", "c"])
    found = read(content, channels="c, a")
    assert (found.channels, found.units) == (("c", "a"), ("", "g"))


def test_a_row_for_each_channel_is_read_where_told():
    rows = "\n".join(f"x{c}," + ",".join(map(str, RAMP[c])) for c in range(2))
    found = read(rows.encode(), axis="channel,time", rate_hz=5)
    assert found.channels == ("x0", "x1")
    np.testing.assert_array_equal(found.values, RAMP)


@pytest.mark.parametrize(
    ("names", "gravity"),
    [
        (["Linear Acceleration x (m/s^2)", "gyr"], "removed"),
        (["userAcceleration.x", "gyr"], "removed"),
        (["acc_x", "gyr"], ""),
        (["linear acc x", "acc y"], ""),
    ],
)
def test_gravity_is_known_removed_only_where_every_acceleration_says_so(names, gravity):
    assert read(csv_of(RAMP, rate_hz=10, names=names)).gravity == gravity
    assert read(csv_of(RAMP, rate_hz=10, names=names), gravity="included").gravity == "included"


def test_short_gaps_are_interpolated_and_ends_repeat_the_nearest_value():
    values = np.arange(30.0)[None].copy()
    values[0, [0, 11, 12, 29]] = np.nan
    expected = np.arange(30.0)
    expected[[0, 29]] = 1, 28
    np.testing.assert_allclose(read(csv_of(values, rate_hz=10)).values[0], expected, rtol=1e-6)


def test_uneven_times_are_resampled_to_the_median_step():
    steps = np.full(40, 0.1)
    steps[::7] = 0.25
    times = np.cumsum(steps)
    rows = "\n".join(f"{t},{3 * t}" for t in times)
    found = read(f"time,a\n{rows}".encode())
    assert found.rate_hz == 10
    line = 3 * (times[0] + np.arange(found.values.shape[1]) / 10)  # a line is itself in between
    np.testing.assert_allclose(found.values[0], line, rtol=1e-5)


def test_jitter_within_the_tolerance_leaves_values_as_they_are():
    times = np.arange(40) / 60
    rows = "\n".join(f"{round(t, 3)},{n}" for n, t in enumerate(times))  # whole milliseconds
    found = read(f"time,a\n{rows}".encode())
    np.testing.assert_array_equal(found.values[0], np.arange(40))
    assert found.rate_hz == pytest.approx(60, rel=1e-3)


def test_a_few_repeated_times_are_left_out():
    times = [*range(15), 14, *range(15, 30)]
    rows = "\n".join(f"{t},{t}" for t in times)
    np.testing.assert_array_equal(read(f"time_s,a\n{rows}".encode()).values[0], np.arange(30))


BAD_FILES = {
    "empty": (b"", {}, r"empty \(0 bytes\)"),
    "only headings": (b"a,b\n", {"rate_hz": 1}, "no rows"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", {}, "needed: CSV, Parquet, npy or npz"),
    "another encoding": ("t\u00e9mp\n1".encode("latin-1"), {}, "not UTF-8"),
    "words": (b"it was a dark and stormy night", {}, "no rows"),
    "text in a number column": (
        csv_of(RAMP, rate_hz=10).replace(b"3.0,97.0", b"3.0,high"), {},
        r"'c1' has text in row 5: 'high'",
    ),
    "rows of different lengths": (csv_of(RAMP) + b"\n1,2,3,4", {"rate_hz": 1}, "do not fit"),
    "no rate": (csv_of(RAMP), {}, "sampling rate is not known.*rate_hz="),
    "no such time column": (csv_of(RAMP), {"time": "when"}, "no column 'when'; there are c0, c1"),
    "no such channel": (csv_of(RAMP, rate_hz=1), {"channels": "z"}, "no column 'z'"),
    "one row": (csv_of(RAMP[:, :1], rate_hz=1), {}, f"1 steps.*at least {MIN_STEPS}"),
    "turned": (csv_of(RAMP.T[:, :2], rate_hz=1), {}, "2 steps.*axis=channel,time"),
    "infinite": (csv_of(RAMP).replace(b"3.0", b"inf", 1), {"rate_hz": 1}, "'c0' has an infinite"),
    "nothing in a channel": (
        csv_of(np.stack([RAMP[0], RAMP[0] * np.nan]), rate_hz=1), {}, "'c1' has no values",
    ),
    "too large for float32": (csv_of(RAMP * 1e40, rate_hz=1), {}, "too large values"),
    "wrong rate": (csv_of(RAMP, rate_hz=10), {"rate_hz": 25}, "gives 10 Hz, rate_hz says 25"),
    "wrong unit of time": (
        csv_of(RAMP, rate_hz=10).replace(b"[s]", b"[ms]"), {"rate_hz": 10}, "time_unit=ms",
    ),
    "unknown unit of time": (
        b"time,a\n" + b"\n".join(b"%d,1" % (20 * n) for n in range(20)), {}, "say time_unit=",
    ),
    "times in words": (
        b"time,a\n" + b"\n".join(b"noon,1" for n in range(20)), {}, "neither numbers nor ISO 8601",
    ),
    "a time is missing": (
        csv_of(RAMP, rate_hz=10).replace(b"\n0.3,", b"\n,"), {}, "row 5 has no time",
    ),
    "units for other channels": (
        csv_of(RAMP, rate_hz=1), {"units": "g,g,g"}, "3 units were told for 2 channels",
    ),
    "headings but turned": (csv_of(RAMP), {"axis": "channel,time"}, "starts with the headings"),
    "too many columns": (b"1,2\n" * 9, {"rate_hz": 1, "channels": "a"}, "1 channels were named"),
    "npy cut off": (npy_of(RAMP)[:-9], {"rate_hz": 1}, "npy file.*truncated"),
    "npy header cut off": (npy_of(RAMP)[:20], {"rate_hz": 1}, "npy file is truncated"),
    "npy of text": (npy_of(np.array(["a"] * 20)), {"rate_hz": 1}, "needed: real numbers"),
    "npy of complex": (npy_of(RAMP * 1j), {"rate_hz": 1}, "needed: real numbers"),
    "npz without values": (npz_of(a=RAMP, b=RAMP), {"rate_hz": 1}, "'values'"),
    "npz with a bad rate": (npz_of(values=RAMP, fs=np.float64(-1)), {}, "one number above 0"),
    "npz with a time too few": (npz_of(values=RAMP, t=np.arange(19.0)), {}, "19 times for 20"),
    "npz with a name too few": (
        npz_of(values=RAMP, channels=np.array(["a"])), {"rate_hz": 1}, "1 channels for 2 channels",
    ),
    "npz cut off": (npz_of(values=RAMP)[:60], {"rate_hz": 1}, "npz file is truncated"),
    "parquet cut off": (parquet_of(a=RAMP[0])[:-9], {"rate_hz": 1}, "Parquet file is truncated"),
    "parquet of texts": (
        parquet_of(a=["x"] * 20), {"rate_hz": 1}, "'a' has text in row 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_what_to_do(name):
    content, options, telling = BAD_FILES[name]
    with pytest.raises(InvalidInputError, match=f"(?s){telling}"):
        read(content, **options)


def test_a_gap_that_is_too_long_is_refused_and_one_step_less_is_not():
    values = np.arange(200.0)[None].copy()
    values[0, 50 : 50 + MAX_GAP] = np.nan
    assert np.isfinite(read(csv_of(values, rate_hz=1)).values).all()
    values[0, 50 + MAX_GAP] = np.nan
    with pytest.raises(InvalidInputError, match=r"'c0' misses 11 values in a row from value 51"):
        read(csv_of(values, rate_hz=1))


def test_many_short_gaps_are_refused_too():
    values = np.arange(200.0)[None].copy()
    values[0, ::4] = np.nan
    with pytest.raises(InvalidInputError, match=r"'c0' misses 50 of 200 values"):
        read(csv_of(values, rate_hz=1))


@pytest.mark.parametrize(
    ("times", "telling"),
    [
        ([*range(10), *range(5, 15)], "go back after value 10"),
        ([*range(10), *range(50, 60)], "leave a gap of 41 s after 9 s"),
        ([n // 2 for n in range(30)], "15 of 30 rows have the time of the row before.*time=none"),
    ],
)
def test_times_that_make_no_recording_are_refused(times, telling):
    rows = "\n".join(f"{t},{n}" for n, t in enumerate(times))
    with pytest.raises(InvalidInputError, match=telling):
        read(f"time_s,a\n{rows}".encode())


def test_times_can_be_left_out():
    rows = "\n".join(f"{n // 2},{n}" for n in range(30))
    found = read(f"time_s,a\n{rows}".encode(), time="none", rate_hz=2, channels="a")
    assert (found.rate_hz, found.channels) == (2, ("a",))


@pytest.mark.parametrize(
    ("shape", "axis", "telling"),
    [
        ((6, 10_000), "time,channel", "10,000 channels; at most 1,024.*axis=channel,time"),
        ((900, 6), "channel,time", "900 channels of 6 steps.*axis=time,channel"),
        ((20, 30), None, "not clear which axis is time"),
        ((2, 20, 30), None, "looks like a batch"),
        ((), None, r"shape \(\)"),
        ((0,), None, "it is empty"),
        ((3, 5), "channel,time", "5 steps in 3 channels"),
    ],
)
def test_wrong_or_unclear_axes_are_refused(shape, axis, telling):
    with pytest.raises(InvalidInputError, match=telling):
        accept(np.zeros(shape), rate_hz=1, axis=axis)


def test_the_long_axis_is_time_where_the_shape_leaves_no_doubt():
    array = np.arange(600.0).reshape(6, 100)
    np.testing.assert_array_equal(accept(array, rate_hz=1).values, array)
    np.testing.assert_array_equal(accept(array.T, rate_hz=1).values, array)
    assert accept(np.arange(10), rate_hz=1).values.shape == (1, 10)


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        ({"rate_hz": 0}, "rate_hz is 0"),
        ({"rate_hz": "fast"}, "rate_hz is 'fast'"),
        ({"rate_hz": True}, "rate_hz is True"),
        ({"rate_hz": float("nan")}, "rate_hz is nan"),
        ({"axis": "up"}, "axis is 'up'"),
        ({"gravity": "some"}, "gravity is 'some'; it can be included or removed"),
        ({"time_unit": "h"}, "time_unit is 'h'"),
        ({"time": 3}, "time is 3"),
        ({"units": 3}, "units is 3"),
        ({"channels": "a,a"}, "name each channel once"),
        ({"colour": "red"}, "no option 'colour'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options, telling):
    with pytest.raises(InvalidInputError, match=telling):
        accept(RAMP, **options)


@pytest.mark.parametrize(
    ("recording", "telling"),
    [
        ("a path", "got str"),
        (Recording(RAMP, 1.0, ("a", "b"), ("", "")), "float32"),
        (Recording(RAMP[:, :3].astype("f"), 1.0, ("a", "b"), ("", "")), r"\(2, 3\)"),
        (Recording(np.full((1, 9), np.nan, "f"), 1.0, ("a",), ("",)), "'a' has NaN"),
        (Recording(RAMP.astype("f"), -1.0, ("a", "b"), ("", "")), "rate_hz -1"),
        (Recording(RAMP.astype("f"), 1.0, ("a",), ("", "")), "1 names and 2 units"),
    ],
)
def test_a_value_that_is_no_whole_recording_is_refused(recording, telling):
    with pytest.raises(InvalidInputError, match=telling):
        accept(recording)


def test_a_constant_channel_is_a_recording():
    assert accept(np.zeros((2, 50)), rate_hz=10).values.max() == 0


def test_recordings_of_different_lengths_and_channels_stand_side_by_side():
    shapes = [accept(np.zeros(shape), rate_hz=1).values.shape for shape in ((9,), (3, 40), (80,))]
    assert shapes == [(1, 9), (3, 40), (1, 80)]


def test_too_many_rows_are_refused_before_they_are_parsed():
    content = b"0\n" * (MAX_VALUES + 1)
    tracemalloc.start()
    with pytest.raises(InvalidInputError, match="20,000,001 values; at most 20,000,000"):
        read(content, rate_hz=1)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_too_many_columns_are_refused_before_they_are_parsed():
    line = b"1," * MAX_CHANNELS + b"1\n"
    with pytest.raises(InvalidInputError, match=r"1,025 columns.*axis=channel,time"):
        read(line * 10, rate_hz=1)
    with pytest.raises(InvalidInputError, match="first line of the file is longer"):
        read(b"1," * 3_000_000, rate_hz=1)


@pytest.mark.parametrize("shape", ["(10000000000,)", "(-1, 20)", "(1000000, 20)", "(2, 20, 1)"])
def test_a_forged_npy_header_is_refused_before_its_data_is_read(shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    tracemalloc.start()
    with pytest.raises(InvalidInputError):
        read(content + bytes(320), rate_hz=1)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_an_npz_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path: Path):
    bomb = npz_of(values=np.zeros(MAX_VALUES + 1, dtype=np.int8))
    assert len(bomb) < 100_000
    with pytest.raises(InvalidInputError, match="20,000,001 values"):
        read(bomb, rate_hz=1)


def test_objects_in_an_npz_are_never_unpacked(tmp_path):
    path = tmp_path / "objects.npz"
    with zipfile.ZipFile(path, "w") as archive:
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (20,), }".ljust(117) + b"\n"
        npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"cos\nsystem\n"
        archive.writestr("values.npy", npy)
    with pytest.raises(InvalidInputError, match="objects are not read"):
        read(path.read_bytes(), rate_hz=1)


def test_a_parquet_with_too_many_rows_is_refused_from_its_metadata():
    import pyarrow

    zeros = pyarrow.array(np.zeros(MAX_VALUES // 2 + 1, dtype=np.int8))
    content = parquet_of(a=zeros, b=zeros)
    with pytest.raises(InvalidInputError, match="10,000,001 rows of 2 values"):
        read(content, rate_hz=1)


@settings(max_examples=60, deadline=None)
@given(
    values=arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(20, 60)),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    rate_hz=st.sampled_from([0.1, 1, 12.5, 50, 1000]),
)
def test_what_was_written_is_read_back_in_every_format(values, rate_hz):
    as_csv = read(csv_of(values, rate_hz=rate_hz))
    columns = {f"c{c}": row for c, row in enumerate(values)}
    as_parquet = read(parquet_of(**columns), rate_hz=rate_hz)
    as_npz = read(npz_of(values=values, rate_hz=np.float64(rate_hz)), axis="channel,time")
    for found in (as_csv, as_parquet, as_npz):
        np.testing.assert_array_equal(found.values, values)
        assert found.rate_hz == pytest.approx(rate_hz, rel=1e-6)


SEEDS = [
    csv_of(RAMP, rate_hz=10),
    parquet_of(a=RAMP[0], b=RAMP[1]),
    npy_of(RAMP),
    npz_of(values=RAMP, rate_hz=np.float64(5)),
]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    cut=st.floats(0, 1),
)
def test_a_damaged_file_is_read_or_refused_and_never_more(seed, edits, cut):
    content = bytearray(seed)
    for place, byte in edits:
        content[int(place * (len(content) - 1))] = byte
    try:
        found = read(bytes(content[: int(cut * len(content)) + 1]), rate_hz=10, time="none")
    except InvalidInputError:
        return
    assert np.isfinite(found.values).all()
    assert found.values.shape[1] >= MIN_STEPS


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text("0123456789.,;\n -eabn\t", max_size=200)))
def test_any_bytes_are_read_or_refused(content):
    raw = content if isinstance(content, bytes) else content.encode()
    try:
        found = read(raw, rate_hz=1)
    except InvalidInputError:
        return
    assert np.isfinite(found.values).all()


def test_a_plot_shows_every_channel_apart():
    t = np.arange(400) / 50
    flat = Recording(np.zeros((2, 400), "f"), 50.0, ("acc x", "b$_1"), ("m/s2", ""))
    wave = Recording(
        np.stack([np.sin(t), np.zeros(400)]).astype("f"), 50.0, flat.channels, flat.units
    )
    pictures = [draw(flat), draw(wave)]
    assert pictures[0].dtype == np.uint8
    assert pictures[0].shape == pictures[1].shape
    assert pictures[0].shape[2] == 3
    changed = np.flatnonzero((pictures[0] != pictures[1]).any(axis=(1, 2)))
    assert len(changed) > 0
    assert changed.max() < 0.6 * len(pictures[0])  # only the upper trace


def test_a_plot_of_many_channels_and_steps_stays_small():
    many = Recording(np.zeros((40, 30_000), "f"), 1.0, ("\u6c34$",) * 40, ("",) * 40)
    assert draw(many).shape[0] < 1500


def test_a_spike_in_a_long_recording_is_drawn():
    values = np.zeros((1, 100_000), "f")
    flat = draw(Recording(values, 100.0, ("a",), ("",)))
    values = values.copy()
    values[0, 50_000] = 1
    assert (draw(Recording(values, 100.0, ("a",), ("",))) != flat).any()
