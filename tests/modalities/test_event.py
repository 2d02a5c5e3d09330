import contextlib
import io
import struct

import aedat
import flatbuffers
import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.errors import InvalidInputError
from unibind.modalities import event, event_formats
from unibind.modalities.event import (
    EVENT,
    Events,
    accept,
    counts,
    draw,
    polarity_picture,
    read,
    time_surface,
)
from unibind.modalities.event_aedat4 import read_aedat4

T_US = np.array([1000, 1500, 1500, 4000, 21000])
X = np.array([0, 3, 2, 3, 1])
Y = np.array([1, 0, 4, 0, 2])
P = np.array([1, 0, 1, 1, 0])


def saved(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def as_npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def as_csv(header="", separator=",", order="txyp") -> bytes:
    named = dict(zip("txyp", (T_US, X, Y, P), strict=True))
    rows = np.stack([named[name] for name in order], axis=1)
    lines = [separator.join(map(str, row)) for row in rows.tolist()]
    return "\n".join([header, *lines] if header else lines).encode()


def as_dat(header=b"% Data file of events\n% Version 2\n% Width 640\n% Height 480\n", size=8):
    words = (X | Y << 14 | P << 28).astype("<u4")
    body = np.stack([T_US.astype("<u4"), words], axis=1).astype("<u4").tobytes()
    return header + bytes([0x0C, size]) + body


def as_bin(t=T_US, x=X, y=Y, p=P) -> bytes:
    rows = [
        struct.pack(">BBI", column, row, bit << 23 | tick)[:2]
        + (int(bit) << 23 | int(tick)).to_bytes(3, "big")
        for tick, column, row, bit in zip(
            t.tolist(), x.tolist(), y.tolist(), p.tolist(), strict=True
        )
    ]
    return b"".join(rows)


def as_aedat4(*, kind="EVTS", compression=0, n_packets=1, packet=None) -> bytes:
    """Return an AEDAT4 file: a header with the streams in XML, then packets."""
    xml = (
        '<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">'
        '<node name="0" path="/mainloop/Recorder/outInfo/0/">'
        f'<attr key="typeIdentifier" type="string">{kind}</attr>'
        '<node name="info" path="/mainloop/Recorder/outInfo/0/info/">'
        '<attr key="sizeX" type="int">346</attr><attr key="sizeY" type="int">260</attr>'
        "</node></node></node></dv>"
    )
    builder = flatbuffers.Builder(1024)
    text = builder.CreateString(xml)
    builder.StartObject(3)
    builder.PrependInt32Slot(0, compression, 0)
    builder.PrependInt64Slot(1, -1, 0)
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    builder.FinishSizePrefixed(builder.EndObject(), file_identifier=b"IOHE")
    content = b"#!AER-DAT4.0\r\n" + bytes(builder.Output())
    for _ in range(n_packets):
        body = packed(events_table() if packet is None else packet, compression)
        content += struct.pack("<ii", 0, len(body)) + body
    return content


def events_table() -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.StartVector(16, len(T_US), 8)
    for tick, column, row, bit in reversed(list(zip(T_US, X, Y, P, strict=True))):
        builder.Prep(8, 16)
        builder.Pad(3)
        builder.PrependBool(bool(bit))
        builder.PrependInt16(int(row))
        builder.PrependInt16(int(column))
        builder.PrependInt64(int(tick))
    elements = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, elements, 0)
    builder.FinishSizePrefixed(builder.EndObject(), file_identifier=b"EVTS")
    return bytes(builder.Output())


def packed(body: bytes, compression: int) -> bytes:
    codec = {1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}.get(compression)
    if codec is None:
        return body
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, codec) as stream:
        stream.write(body)
    return sink.getvalue().to_pybytes()


STRUCTURED = np.zeros(5, dtype=[("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "i1")])
for _name, _column in zip("txyp", (T_US, X, Y, 2 * P - 1), strict=True):
    STRUCTURED[_name] = _column

FILES = {
    "npy, columns": (saved(np.stack([T_US, X, Y, P], 1)), {"time_unit": "us"}),
    "npy, float": (saved(np.stack([T_US, X, Y, P], 1) * 1.0), {"time_unit": "us"}),
    "npy, other order": (
        saved(np.stack([X, Y, P, T_US], 1)),
        {"time_unit": "us", "columns": "x,y,p,t"},
    ),
    "npy, structured": (saved(STRUCTURED), {"time_unit": "us"}),
    "npz": (as_npz(t=T_US, x=X, y=Y, p=P), {"time_unit": "us"}),
    "npz, unit named": (as_npz(t_us=T_US, x=X, y=Y, polarity=P > 0), {}),
    "npz, one array": (as_npz(events=STRUCTURED), {"time_unit": "us"}),
    "csv": (as_csv(), {"time_unit": "us"}),
    "csv, header": (as_csv("timestamp [us],x,y,polarity"), {}),
    "csv, spaces and order": (
        as_csv(separator=" ", order="xypt"),
        {"time_unit": "us", "columns": "x y p t"},
    ),
    "csv, semicolons, comment": (b"# a recording\n" + as_csv("t_us;x;y;p", ";"), {}),
    "dat": (as_dat(), {}),
    "bin": (as_bin(), {}),
    "aedat4": (as_aedat4(), {}),
    "aedat4, compressed": (as_aedat4(compression=1), {}),
}


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_same_events(name):
    content, options = FILES[name]
    events = read(content, **options)
    np.testing.assert_allclose(events.t_s, (T_US - 1000) / 1e6, atol=1e-12)
    assert events.x.tolist() == X.tolist()
    assert events.y.tolist() == Y.tolist()
    assert events.polarity.tolist() == (P > 0).tolist()
    size = {"dat": (640, 480), "aed": (346, 260)}.get(name[:3], (4, 5))
    assert (events.width, events.height) == size


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("n_cut", [1, 3, 7])
def test_a_truncated_file_is_refused_or_ends_earlier(name, n_cut):
    content, options = FILES[name]
    try:
        events = read(content[:-n_cut], **options)
    except InvalidInputError:
        return
    assert name.startswith("csv")  # a text does not say how long it is
    assert len(events.t_s) <= len(T_US)


@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)])
def test_the_unit_of_time_is_what_was_said(unit, factor):
    array = np.array([[0.0, 1, 2, 0], [30_000.0 / (1 if unit != "s" else 100), 1, 2, 1]])
    assert accept(array, time_unit=unit).t_s[-1] == pytest.approx(array[1, 0] * factor)


def test_microseconds_since_1970_keep_their_differences():
    t = np.array([1_700_000_000_000_001, 1_700_000_000_000_021], dtype=np.int64)
    events = accept({"t_us": t, "x": X[:2], "y": Y[:2], "p": P[:2]})
    assert events.t_s.tolist() == [0.0, pytest.approx(20e-6)]


def test_events_out_of_order_are_sorted_with_all_that_belongs_to_them():
    shuffled = np.random.default_rng(0).permutation(5)
    events = accept(np.stack([T_US, X, Y, P], 1)[shuffled], time_unit="us")
    assert (np.diff(events.t_s) >= 0).all()
    found = sorted(zip(events.t_s.tolist(), events.x.tolist(), events.y.tolist(), strict=True))
    assert [each[1:] for each in found] == [(0, 1), (2, 4), (3, 0), (3, 0), (1, 2)]


def test_the_overflow_entries_of_n_mnist_move_the_later_times():
    t, x, y, p = (np.insert(each, 3, n) for each, n in ((T_US, 0), (X, 0), (Y, 240), (P, 0)))
    t[4:] -= 1 << 13 >> 2
    events = read(as_bin(t, x, y, p))
    later = t[4:] + (1 << 13)
    np.testing.assert_allclose(events.t_s[3:], (later - 1000) / 1e6)
    assert len(events.t_s) == 5


def test_the_times_of_dat_go_on_after_71_minutes():
    header = b"% Version 2\n"
    ticks = np.array([2**32 - 10, 5, 30], "<u4")
    body = np.stack([ticks, np.array([1, 2, 3], "<u4")], 1).tobytes()
    events = read(header + b"\x00\x08" + body)
    np.testing.assert_allclose(events.t_s, [0, 15e-6, 40e-6], atol=1e-12)


def test_events_are_accepted_as_they_are():
    events = accept(np.stack([T_US, X, Y, P], 1), time_unit="us", width=640, height="480")
    again = accept(events)
    np.testing.assert_array_equal(again.t_s, events.t_s)
    assert (again.width, again.height) == (640, 480)


BAD = {
    "no unit": ({}, {"time_unit": None}, r"do not say their unit; give the option time_unit"),
    "odd unit": ({}, {"time_unit": "days"}, "time_unit is 'days'"),
    "wrong unit, long": ({}, {"time_unit": "s"}, r"last 20000 s with times in s; .* another unit"),
    "wrong unit, short": ({}, {"time_unit": "ns"}, "last 2e-05 s|another unit"),
    "negative time": ({"t": T_US - 2000}, {}, "negative time -1000"),
    "one moment": ({"t": T_US * 0}, {}, "last 0 s"),
    "nan": ({"t": T_US * np.nan}, {}, "column 't' is nan in row 0"),
    "inf": ({"x": X + np.inf}, {}, r"column 'x' is inf"),
    "text": ({"x": X.astype(str)}, {}, "column 'x' is .* no number"),
    "negative place": ({"x": X - 1}, {}, "x of the events goes from -1"),
    "far place": ({"y": Y * 5000}, {}, r"y of the events goes from 0 to 20000"),
    "half pixel": ({"x": X + 0.5}, {}, "fractions of a pixel, as 0.5"),
    "polarity": ({"p": P + 1}, {}, "polarity has the values 1, 2"),
    "many polarities": ({"p": T_US}, {}, r"polarity has the values 1000, .*needed: 0 and 1"),
    "lengths": ({"p": P[:3]}, {}, "of one length each"),
    "small sensor": ({}, {"width": 3}, "sensor's width is 3, an event is at 3"),
    "no sensor": ({}, {"height": "tall"}, "sensor's height is 'tall'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_refused(name):
    changed, options, telling = BAD[name]
    if name == "wrong unit, short":
        changed, options = {"t": T_US // 1000}, {"time_unit": "ns"}
    columns = dict(zip("txyp", (T_US, X, Y, P), strict=True)) | changed
    with pytest.raises(InvalidInputError, match=telling):
        accept(columns, **({"time_unit": "us"} | options))


@pytest.mark.parametrize("n", [0, 1])
def test_no_event_and_one_event_are_refused(n):
    with pytest.raises(InvalidInputError, match=rf"has {n} event.*at least two"):
        accept(np.stack([T_US, X, Y, P], 1)[:n], time_unit="us")
    with pytest.raises(InvalidInputError):
        read(as_dat()[: -8 * (5 - n)])


@pytest.mark.parametrize(
    ("content", "telling"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5, which is not read"),
        (b"#!AER-DAT3.1\r\n" + bytes(50), r"AEDAT 3\.1, which is not read; export it"),
        (b"% camera\n% evt 3.0\n" + bytes(80), "Prophesee RAW recording"),
        (b"% no end", "ends within its header"),
        (b"% Version 2\n\x0c\x04" + bytes(80), "not of 8 bytes each"),
        (b"#!AER-DAT4.0\r\n" + bytes(80), "AEDAT4 file is truncated or damaged"),
        (b"t_us,x,y,p\n", "has no rows"),
        (b"t_us,x,y\n1,2,3\n20,3,4\n", "lack the column 'p'"),
        (b"t_us,ts,x,y,p\n1,1,2,3,1\n", "two columns for 't'"),
        (b"t_us,x,y,p\n1,2,3,1\n2000,3,left,0\n", "'left' .* row 1, column 3"),
        (b"t_us,x,y,p\n1,2,3,1\n2000,3,4\n", "columns changed from 4 to 3"),
        (b"1,2,3\n2,3,4\n", "3 columns for the 4 names t, x, y, p"),
        (b"1,2,3,1\xff\xfe\n" * 2000, "not a recording|not UTF-8"),
        (bytes(range(256)) * 5, "not a recording of events"),
        (bytes(51), "not a recording of events"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(content, telling):
    with pytest.raises(InvalidInputError, match=telling):
        read(content, time_unit="us")


def test_an_unknown_order_of_columns_is_refused():
    with pytest.raises(InvalidInputError, match=r"order of columns is 'x,y,t'; needed"):
        accept(np.zeros((4, 4)), columns="x,y,t")
    with pytest.raises(InvalidInputError, match=r"shape \(4, 3\); needed: \(N, 4\)"):
        accept(np.zeros((4, 3)))
    with pytest.raises(InvalidInputError, match="got str; pass the path"):
        accept("events.npy")


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4])
def test_aedat4_is_read_as_its_makers_library_reads_it(compression, tmp_path):
    content = as_aedat4(compression=compression)
    (tmp_path / "recording.aedat4").write_bytes(content)
    decoder = aedat.Decoder(tmp_path / "recording.aedat4")
    assert decoder.id_to_stream()[0] == {"type": "events", "width": 346, "height": 260}
    theirs = np.concatenate([packet["events"] for packet in decoder])
    ours = read_aedat4(content, max_events=1000)
    for name in ("t", "x", "y", "on"):
        np.testing.assert_array_equal(ours.events[name], theirs[name])
    assert (ours.width, ours.height) == (346, 260)


def test_an_aedat4_file_without_events_says_what_it_has():
    with pytest.raises(InvalidInputError, match="no stream of events, only TRIG"):
        read(as_aedat4(kind="TRIG"))
    with pytest.raises(InvalidInputError, match="has no events; record longer"):
        read(as_aedat4(n_packets=0))
    with pytest.raises(InvalidInputError, match="unknown method 9"):
        read(as_aedat4(compression=9))


def test_a_packet_that_swells_is_unpacked_no_further_than_the_events_taken():
    bomb = as_aedat4(compression=3, packet=bytes(10**8))
    assert len(bomb) < 20_000
    with pytest.raises(InvalidInputError, match="truncated or damaged"):
        read(bomb)


@pytest.mark.parametrize("name", ["npy, columns", "npz", "csv", "dat", "bin", "aedat4"])
def test_too_many_events_are_refused_before_they_are_read(name, monkeypatch):
    content, options = FILES[name]
    monkeypatch.setattr(event, "MAX_EVENTS", 3)
    monkeypatch.setattr(event_formats, "MAX_EVENTS", 3)
    with pytest.raises(InvalidInputError, match=r"has (\d|more than 3) events"):
        read(content, **options)


def test_a_hundred_million_events_are_refused():
    huge = np.broadcast_to(np.float64(1), (10**8,))
    with pytest.raises(InvalidInputError, match="100,000,000 events, at most 20,000,000"):
        accept({"t_us": huge, "x": huge, "y": huge, "p": huge})


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_are_events_or_an_error(data):
    content, options = FILES[data.draw(st.sampled_from(sorted(FILES)))]
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        events = read(bytes(damaged), **options)
    except InvalidInputError:
        return
    assert len(events.t_s) >= 2
    assert events.x.max() < events.width <= event.MAX_SIDE
    assert events.y.max() < events.height <= event.MAX_SIDE
    assert (np.diff(events.t_s) >= 0).all()


STARTS = (
    b"",
    b"% Version 2\n\x0c\x08",
    b"PK\x03\x04",
    b"\x93NUMPY\x01\x00",
    b"#!AER-DAT4.0\r\n",
    b"#!AER-DAT4.0\r\n\x20\0\0\0\x08\0\0\0IOHE",
)


@given(content=st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_events_or_an_error(content):
    for start in STARTS:
        with contextlib.suppress(InvalidInputError):
            assert isinstance(read(start + content, time_unit="us"), Events)


# What is made of events


@pytest.fixture
def some() -> Events:
    generator = np.random.default_rng(0)
    n = 200
    return accept(
        {
            "t_s": np.sort(generator.uniform(0, 2, n)),
            "x": generator.integers(0, 6, n),
            "y": generator.integers(0, 5, n),
            "p": generator.integers(0, 2, n),
        },
        width=6,
        height=5,
    )


def test_counts_are_what_a_loop_counts(some):
    expected = np.zeros((3, 2, 5, 6))
    for t, x, y, p in zip(some.t_s, some.x, some.y, some.polarity, strict=True):
        expected[min(int(t / some.t_s[-1] * 3), 2), int(p), y, x] += 1
    np.testing.assert_array_equal(counts(some, 3), expected)
    assert counts(some).sum() == 200


def test_a_time_surface_is_the_freshness_of_the_last_event(some):
    end = some.t_s[-1]
    expected = np.zeros((2, 5, 6))
    for t, x, y, p in zip(some.t_s, some.x, some.y, some.polarity, strict=True):
        expected[int(p), y, x] = np.exp(-(end - t) / 0.25)
    np.testing.assert_allclose(time_surface(some, tau_s=0.25), expected, rtol=1e-5)
    assert time_surface(some).max() == 1


def test_a_polarity_picture_is_grey_where_nothing_was():
    signed = np.array([[0.0, 2.0], [-2.0, 1.0]], dtype=np.float32)
    assert polarity_picture(signed)[:, :, 0].tolist() == [[128, 255], [1, 191]]
    assert (polarity_picture(np.zeros((3, 3), np.float32)) == 128).all()


def test_the_drawing_is_red_where_brighter_and_blue_where_darker():
    events = accept(
        {"t_us": np.arange(0, 100, 10), "x": [0, 3] * 5, "y": [0] * 10, "p": [1, 0] * 5},
        width=4,
        height=4,
    )
    sheet = draw(events)
    assert sheet.shape == (256 + 16, 2 * 256 + 24, 3)
    assert sheet[20, 20].tolist() == [255, 0, 0]
    assert sheet[20, 250].tolist() == [0, 0, 255]
    assert sheet[200, 100].tolist() == [255, 255, 255]


def test_the_modality_says_what_must_be_told():
    assert set(EVENT.options) == {"time_unit", "width", "height", "columns"}
    assert EVENT.with_options({"time_unit": "us"}).read(as_csv()).width == 4
