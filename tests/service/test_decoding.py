"""Decoders: what a hostile file can do to one, and what comes back through the pipe."""

import io
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import png
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unibind.modalities.image import IMAGE
from unibind.service import frames
from unibind.service.decoding import DecoderPool
from unibind.service.frames import BrokenFrameError, pack, receive, send, unpack
from unibind.service.refusals import Refusal
from unibind.types import Modality


@dataclass(frozen=True)
class Trace:
    values: np.ndarray
    rate_hz: float
    names: tuple[str, ...]
    unit: str | None = None


def read(content: bytes) -> Trace:
    raise NotImplementedError


TRACE = Modality("trace", "V", read, read)


def through(item, modality=TRACE):
    spec, buffers = pack(item)
    stream = io.BytesIO()
    send(stream, {"item": spec}, buffers)
    stream.seek(0)
    message, received = receive(io.BufferedReader(stream), max_bytes=10**9)
    return unpack(message["item"], received, modality)


@given(
    arrays.arrays(
        st.sampled_from(["<f4", "u1", "<i8", "?", "<f8"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_an_array_comes_back_bit_for_bit(array):
    back = through(array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


def test_a_dataclass_comes_back_as_what_it_was():
    trace = Trace(np.arange(6, dtype=np.float32).reshape(2, 3), 50.0, ("x", "y"))
    back = through(trace)
    assert isinstance(back, Trace)
    np.testing.assert_array_equal(back.values, trace.values)
    assert (back.rate_hz, back.names, back.unit) == (50.0, ("x", "y"), None)


@pytest.mark.parametrize("item", [[1], {"a": 1}, object(), np.array([object()]), b"x"])
def test_what_no_item_is_made_of_does_not_leave_its_process(item):
    with pytest.raises(TypeError, match="cannot leave its process"):
        pack(item)


@pytest.mark.parametrize(
    "spec",
    [
        {"of": "Path", "fields": {}},
        {"of": "Popen", "fields": {"args": {"value": "x"}}},
        {"array": ["|O", [1], 0]},
        {"array": ["<f4", [3], 0]},
        {"array": ["<f4", [-1], 0]},
        {"array": ["<f4", [2**40, 2**40], 0]},
        {"array": ["<f4", [1], 7]},
        {"value": {"a": 1}},
        {"other": 1},
        {"of": "Trace", "fields": {"nonsense": {"value": 1}}},
    ],
)
def test_a_decoder_that_was_taken_over_can_only_send_items(spec):
    with pytest.raises(BrokenFrameError, match="returned no trace"):
        unpack(spec, [bytearray(4)], TRACE)


def test_nesting_ends():
    spec = {"value": 1}
    for _ in range(40):
        spec = {"tuple": [spec]}
    with pytest.raises(BrokenFrameError, match="nested too deep"):
        unpack(spec, [], TRACE)


@pytest.mark.parametrize("cut", [1, 7, 9, 20])
def test_half_a_frame_is_none(cut):
    stream = io.BytesIO()
    send(stream, {"a": 1}, [b"12345678"])
    with pytest.raises(BrokenFrameError, match="ended"):
        receive(io.BufferedReader(io.BytesIO(stream.getvalue()[:cut])), max_bytes=99)


def test_a_frame_larger_than_allowed_is_not_read():
    stream = io.BytesIO()
    send(stream, {}, [b"x" * 100])
    with pytest.raises(BrokenFrameError, match="at most 99"):
        receive(io.BufferedReader(io.BytesIO(stream.getvalue())), max_bytes=99)
    with pytest.raises(BrokenFrameError, match="announces"):
        receive(io.BufferedReader(io.BytesIO(b"\xff" * 20)), max_bytes=99)


def test_frames_use_no_pickle():
    assert "pickle" not in Path(frames.__file__).read_text().split('"""', 2)[2]


# Real processes.


@pytest.fixture(scope="module")
def pool():
    deaths = []
    made = DecoderPool(1, memory_bytes=300 * 2**20, time_s=5, on_death=lambda: deaths.append(1))
    made.deaths = deaths
    yield made
    made.close()


def test_a_picture_is_what_it_is_without_a_process(pool):
    content = png(3)
    np.testing.assert_array_equal(pool.read("image", content, {}), IMAGE.read(content))


def test_a_preview_is_a_small_png(pool):
    assert pool.draw("image", png(4), {}).startswith(b"\x89PNG")


def test_what_a_file_is_is_told_by_name_and_content(pool):
    assert pool.tell(png(5), "a.png", ["image"]) == "image"
    with pytest.raises(Refusal, match="no installed modality"):
        pool.tell(np.random.default_rng(1).bytes(99), "", [])


def test_a_refusal_comes_through_in_its_own_words(pool):
    with pytest.raises(Refusal, match="not a picture") as caught:
        pool.read("image", b"no picture", {})
    assert caught.value.status == 400


def test_an_unknown_option_is_refused(pool):
    with pytest.raises(Refusal, match="has no option"):
        pool.read("image", png(), {"dpi": 3})


@pytest.mark.skipif(not Path("/proc").exists(), reason="limits on memory are Linux's")
def test_a_decoder_has_a_limit_on_memory_and_survives_it():
    from PIL import Image

    buffer = io.BytesIO()  # 9,000 x 9,000 x 3 bytes, in a file of 80 kB
    Image.new("RGB", (9_000, 9_000)).save(buffer, "PNG")
    made = DecoderPool(1, memory_bytes=100 * 2**20, time_s=20)
    try:
        with pytest.raises(Refusal, match="memory"):
            made.read("image", buffer.getvalue(), {})
        assert made.read("image", png(2), {}).shape == (64, 64, 3)
    finally:
        made.close()


@pytest.mark.skipif(not Path("/proc").exists(), reason="limits on memory are Linux's")
def test_libraries_that_others_needed_are_not_charged_to_a_file():
    from fuzzing import clip, csv, parquet, stl, survey
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (6_000, 6_000)).save(buffer, "PNG")  # 108 MB, once decoded
    made = DecoderPool(1, memory_bytes=512 * 2**20, time_s=20)
    try:
        for modality, content in [
            ("timeseries", csv()), ("timeseries", parquet()), ("pointcloud", stl()),
            ("pointcloud", survey()), ("video", clip("mp4", "mpeg4")), ("image", buffer.getvalue()),
        ]:  # fmt: skip
            assert made.read(modality, content, {}) is not None
    finally:
        made.close()


def test_a_decoder_that_was_killed_is_replaced_and_the_file_read_all_the_same(pool):
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)
    np.testing.assert_array_equal(pool.read("image", png(6), {}), IMAGE.read(png(6)))
    assert pool.pids != [pid]
    assert pool.deaths


def test_an_idle_decoder_that_dies_is_replaced_without_being_asked(pool):
    pool.read("image", png(7), {})
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    ends = time.monotonic() + 20
    while time.monotonic() < ends and not (pool.is_whole and pool.pids != [pid]):
        time.sleep(0.05)
    assert pool.is_whole


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stopping a process is POSIX's")
def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read():
    made = DecoderPool(1, memory_bytes=300 * 2**20, time_s=0.6)
    try:
        made.read("image", png(8), {})
        os.kill(made.pids[0], signal.SIGSTOP)  # as good as a file that never ends
        began = time.monotonic()
        with pytest.raises(Refusal, match="longer than") as caught:
            made.read("image", png(9), {})
        assert caught.value.code == "decoding_too_slow"
        assert time.monotonic() - began < 5
        assert made.read("image", png(9), {}).shape == (64, 64, 3)
    finally:
        made.close()


def test_a_decoder_starts_without_the_service_or_the_models(pool):
    maps = Path(f"/proc/{pool.pids[0]}/maps")
    if not maps.exists():
        pytest.skip("what a process has loaded is told by Linux")
    loaded = maps.read_text()
    assert "onnxruntime" not in loaded
    assert "faiss" not in loaded
