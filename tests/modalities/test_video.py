import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unibind.errors import InvalidInputError, PluginError
from unibind.modalities import video_footage
from unibind.modalities.video import (
    MAX_KEPT,
    N_FRAMES,
    VIDEO,
    Clip,
    accept,
    cut,
    draw,
    read,
)
from unibind.modalities.video_containers import container_of, frame_delays_ms
from unibind.modalities.video_footage import MAX_SIDE

CODECS = {"mp4": "libx264", "mov": "libx264", "webm": "libvpx-vp9", "matroska": "ffv1"}


def a_video(container="mp4", codec=None, *, n=20, size=(64, 48), times_ms=None, rate=10) -> bytes:
    """Return a video whose frame k is grey 10 k below, and its negative above."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec or CODECS[container], rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for k in range(n):
            pixels = np.full((size[1], size[0], 3), 10 * k % 256, np.uint8)
            pixels[: size[1] // 2] = 255 - pixels[: size[1] // 2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[k], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def an_animation(kind="GIF", *, n=5, delays_ms=100, alpha=None) -> bytes:
    frames = [Image.new("RGB", (40, 30), (30 * (k + 1), 0, 0)) for k in range(n)]
    for frame in frames if alpha is not None else []:
        frame.putalpha(alpha)
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        kind,
        save_all=True,
        append_images=frames[1:],
        duration=delays_ms,
        **({"lossless": True} if kind == "WEBP" else {}),
    )
    return buffer.getvalue()


@pytest.fixture(scope="module")
def mp4() -> bytes:
    return a_video()


def shown(clip: Clip) -> list[int]:
    """Return the number of each frame of `a_video`, read from its colour."""
    height, width = clip.frames.shape[1:3]
    return [round(float(frame[3 * height // 4, width // 2, 0]) / 10) for frame in clip.frames]


@pytest.mark.parametrize("container", CODECS)
def test_frames_are_taken_at_the_middles_of_equal_spans_of_time(container):
    clip = read(a_video(container), n_frames=5)
    assert clip.frames.shape == (5, 48, 64, 3)
    assert clip.frames.dtype == np.uint8
    np.testing.assert_allclose(clip.times_s, [0.2, 0.6, 1.0, 1.4, 1.8], atol=1e-6)
    assert clip.duration_s == pytest.approx(2.0)
    assert shown(clip) == [2, 6, 10, 14, 18]


def test_an_avi_is_read():
    clip = read(a_video("avi", "mpeg4"), n_frames=2)
    np.testing.assert_allclose(clip.times_s, [0.5, 1.5])


def test_time_counts_and_not_the_number_of_frames():
    times_ms = [0, 100, 200, 1000, 3000, *range(3100, 3250, 10)]
    clip = read(a_video(times_ms=times_ms), n_frames=8)
    # Most frames crowd at the end, most of the time shows three.
    np.testing.assert_allclose(clip.times_s[:2], [0.2, 1.0], atol=1e-3)
    assert len(clip.frames) == 3
    assert clip.times_s[2] > 3


@given(
    delays_ms=st.lists(st.integers(2, 60).map(lambda n: 10 * n), min_size=2, max_size=8),
    n_frames=st.integers(1, 12),
)
@settings(max_examples=25, deadline=None)
def test_each_frame_kept_is_the_one_on_the_screen_at_the_middle_of_a_span(delays_ms, n_frames):
    clip = read(an_animation(n=len(delays_ms), delays_ms=delays_ms), n_frames=n_frames)
    starts = [sum(delays_ms[:k]) / 1000 for k in range(len(delays_ms))]
    total = sum(delays_ms) / 1000
    wanted = []
    for k in range(n_frames):  # the slow way
        middle = (k + 0.5) / n_frames * total
        wanted.append(max(start for start in starts if start <= middle + 1e-6))
    assert clip.times_s.tolist() == sorted(set(wanted))
    assert clip.duration_s == pytest.approx(total)


def test_frames_far_apart_are_leapt_to_and_are_the_same(monkeypatch):
    content = a_video(n=200, rate=25)
    monkeypatch.setattr(video_footage, "_SEEK_FRAMES", 30)
    leapt = read(content, n_frames=4)
    monkeypatch.setattr(video_footage, "_SEEK_FRAMES", 10**6)
    walked = read(content, n_frames=4)
    np.testing.assert_array_equal(leapt.frames, walked.frames)


def test_a_phone_s_video_is_turned_upright(mp4):
    place = mp4.index(b"tkhd") + 4 + 40  # the matrix of the track header
    quarter_clockwise = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    turned = read(mp4[:place] + quarter_clockwise + mp4[place + 36 :], n_frames=2)
    upright = read(mp4, n_frames=2)
    np.testing.assert_array_equal(turned.frames, np.rot90(upright.frames, -1, axes=(1, 2)))


def test_large_frames_are_reduced_and_small_ones_are_not():
    assert read(a_video(n=3, size=(1024, 256))).frames.shape[1:3] == (128, MAX_SIDE)
    assert read(a_video(n=3, size=(64, 48))).frames.shape[1:3] == (48, 64)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_a_video_with_the_delays_that_it_says(kind):
    delays = [50, 100, 0, 200, 300]
    content = an_animation(kind, delays_ms=delays)
    assert frame_delays_ms(content, kind.lower()) == [50, 100, 100, 200, 300]
    clip = read(content)
    np.testing.assert_allclose(clip.times_s, [0, 0.05, 0.15, 0.25, 0.45])
    assert clip.duration_s == pytest.approx(0.75)
    reds = clip.frames[:, 0, 0, 0].astype(int)
    assert np.abs(reds - [30, 60, 90, 120, 150]).max() <= 1


def test_what_is_transparent_is_laid_over_white():
    clip = read(an_animation("WEBP", alpha=0))
    assert (clip.frames == 255).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_of_one_frame_is_a_picture(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    with pytest.raises(InvalidInputError, match="one frame only: it is a picture"):
        read(buffer.getvalue())


def test_frames_per_s_stands_in_for_the_file_s_own_times(mp4):
    clip = read(mp4, frames_per_s=1, n_frames=4)
    assert clip.duration_s == 20
    np.testing.assert_allclose(clip.times_s, [2, 7, 12, 17])
    assert read(mp4, frames_per_s="1", n_frames="4").times_s.tolist() == [2, 7, 12, 17]


@pytest.mark.parametrize("rate", [0, -1, "fast", float("nan"), float("inf"), None.__class__])
def test_a_rate_that_is_none_is_refused(mp4, rate):
    with pytest.raises(InvalidInputError, match=r"frames_per_s is .* needed: frames per second"):
        read(mp4, frames_per_s=rate)


@pytest.mark.parametrize("n_frames", [0, MAX_KEPT + 1, "many", None])
def test_a_number_of_frames_out_of_range_is_refused(mp4, n_frames):
    with pytest.raises(InvalidInputError, match="n_frames is"):
        read(mp4, n_frames=n_frames)


# Bad files


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("container", [*CODECS, "avi"])
def test_a_truncated_file_is_refused(container, share):
    content = a_video(container, CODECS.get(container, "mpeg4"))
    with pytest.raises(InvalidInputError, match=r"truncated|damaged"):
        read(content[: int(len(content) * share)])


def test_pictures_that_no_decoder_knows_are_refused():
    content = a_video("webm", CODECS["webm"])
    codec = content[content.index(b"V_") :][:5]
    with pytest.raises(InvalidInputError, match="no decoder here knows"):
        read(content.replace(codec, b"V_ZZZ"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
@pytest.mark.parametrize("n_bytes", [14, 40, -30, -1])
def test_a_truncated_animation_is_refused(kind, n_bytes):
    with pytest.raises(InvalidInputError, match=r"truncated|damaged"):
        read(an_animation(kind)[:n_bytes])


def test_an_empty_file_is_refused():
    with pytest.raises(InvalidInputError, match=r"empty \(0 bytes\)"):
        read(b"")


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n" + bytes(50), b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat"],
)
def test_what_is_no_video_is_refused_and_opens_nothing_else(content):
    with pytest.raises(InvalidInputError, match=r"not a video .* needed: MP4"):
        read(content)


def test_sound_alone_is_no_video():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(InvalidInputError, match="no pictures, perhaps only sound"):
        read(buffer.getvalue())


def test_a_forged_size_of_frames_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(video_footage, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(InvalidInputError, match="frames are 64 x 48 px; at most 3,071 pixels"):
        read(a_video())


def test_a_forged_canvas_of_an_animation_is_refused():
    content = bytearray(an_animation("GIF"))
    content[6:10] = struct.pack("<HH", 65535, 65535)
    with pytest.raises(InvalidInputError, match=r"truncated or damaged .*4294836225 pixels"):
        read(bytes(content))


@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_a_video_that_says_it_is_too_long_is_refused_before_decoding(monkeypatch, container):
    monkeypatch.setattr(video_footage, "MAX_DURATION_S", 1.9)
    monkeypatch.setattr(video_footage, "_shown", None)  # it is not even listed
    with pytest.raises(InvalidInputError, match=r"lasts 2 s, at most 2 s are read"):
        read(a_video(container))


def test_too_many_frames_are_refused(monkeypatch, mp4):
    monkeypatch.setattr(video_footage, "MAX_FRAMES", 19)
    with pytest.raises(InvalidInputError, match="more than 19 frames"):
        read(mp4)


def test_decoding_that_takes_too_long_or_too_much_is_ended(monkeypatch, mp4):
    footage = video_footage.open_footage(mp4)
    with pytest.raises(InvalidInputError, match="takes longer than 0 s"):
        list(footage.decode([0, 19], 0.0))
    monkeypatch.setattr(video_footage, "MAX_DECODED_PIXELS", 10 * 64 * 48)
    with pytest.raises(InvalidInputError, match="pixels would have to be decoded"):
        read(mp4)


def test_frames_all_at_one_moment_are_refused(monkeypatch, mp4):
    monkeypatch.setattr(video_footage, "_shown", lambda *_: ([5], 0))
    with pytest.raises(InvalidInputError, match=r"last 0 s in all; .* frames_per_s"):
        read(mp4)


def test_without_pyav_the_message_names_the_extra(monkeypatch, mp4):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(PluginError, match=r"pip install 'unibind\[video\]'"):
        read(mp4)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_bytes_are_read_or_refused_and_nothing_else(mp4_and_others, data):
    content = bytearray(data.draw(st.sampled_from(mp4_and_others)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        clip = read(bytes(content))
    except InvalidInputError:
        return
    assert 1 <= len(clip.frames) == len(clip.times_s) <= N_FRAMES
    assert clip.duration_s > 0
    assert (np.diff(clip.times_s) > 0).all()


@pytest.fixture(scope="module")
def mp4_and_others(mp4) -> list[bytes]:
    return [mp4, a_video("webm"), a_video("avi", "mpeg4"), an_animation(), an_animation("WEBP")]


@given(content=st.binary(max_size=200), kind=st.sampled_from(["gif", "webp", "mov", "mkv"]))
@settings(max_examples=100, deadline=None)
def test_any_bytes_behind_a_signature_are_refused(content, kind):
    signature = {
        "gif": b"GIF89a",
        "webp": b"RIFF\x10\0\0\0WEBP",
        "mov": b"\0\0\0\x08ftyp",
        "mkv": b"\x1a\x45\xdf\xa3",
    }[kind]
    with pytest.raises(InvalidInputError):
        read(signature + content)


# Arrays


def test_an_array_is_a_clip_once_its_rate_is_said():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 9, 3), dtype=np.uint8)
    clip = accept(pixels, frames_per_s=20, n_frames=4)
    np.testing.assert_allclose(clip.times_s, [0.25, 0.75, 1.25, 1.75])
    np.testing.assert_array_equal(clip.frames, pixels[[5, 15, 25, 35]])
    assert clip.duration_s == 2
    assert accept(clip) is clip


def test_a_grey_array_gets_three_equal_channels():
    grey = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4, 1)
    clip = accept(grey, frames_per_s=1)
    np.testing.assert_array_equal(clip.frames, np.repeat(grey, 3, axis=3))


def test_an_array_without_a_rate_asks_for_it():
    with pytest.raises(InvalidInputError, match="give the option frames_per_s"):
        accept(np.zeros((2, 4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("value", "telling"),
    [
        ("film.mp4", "got str; pass the path of a file as pathlib.Path"),
        (np.zeros((4, 4, 3), np.uint8), "looks like one picture"),
        (np.zeros((2, 3, 4, 4), np.uint8), "channels stand second"),
        (np.zeros((2, 4, 4, 3)), r"255 \* array"),
        (np.zeros((0, 4, 4, 3), np.uint8), "has no pixels"),
        (np.zeros((2, 4, 4, 5), np.uint8), r"give uint8 frames of shape \(T, H, W, 3\)"),
        (np.broadcast_to(np.uint8(0), (10**8, 4, 4, 3)), "is too large"),
        (
            Clip(np.zeros((2, 4, 4, 3), np.uint8), np.array([0.0]), 1.0),
            "2 frames and times of shape",
        ),
        (Clip(np.zeros((2, 4, 4, 3), np.uint8), np.array([1.0, 0.0]), 1.0), "ascending times"),
        (Clip(np.zeros((2, 4, 4, 3), np.uint8), np.array([0.0, np.nan]), 1.0), "ascending times"),
        (Clip(np.zeros((1, 4, 4, 3), np.uint8), np.array([0.0]), 0.0), "a duration above 0"),
    ],
)
def test_a_value_that_is_no_clip_is_refused(value, telling):
    with pytest.raises(InvalidInputError, match=telling):
        accept(value, frames_per_s=1)


# Windows


def test_windows_cover_the_video_and_hold_the_frames_of_their_time(mp4):
    windows = list(cut(mp4, window_s=0.5, n_frames=2))
    assert [(each.start_s, each.end_s) for each in windows] == [
        (0.0, 0.5),
        (0.5, 1.0),
        (1.0, 1.5),
        (1.5, 2.0),
    ]
    assert [shown(each.item) for each in windows] == [[1, 3], [6, 8], [11, 13], [16, 18]]
    assert windows[2].key("a/film.mp4") == "a/film.mp4#t=1.0-1.5"
    assert all(accept(each.item) is each.item for each in windows)


@pytest.mark.parametrize("stride_s", [0.2, 0.3, 0.7])
def test_windows_that_overlap_or_leave_gaps_hold_what_read_would_find(mp4, stride_s):
    footage = video_footage.open_footage(mp4)
    for window in cut(mp4, window_s=0.5, stride_s=stride_s, n_frames=3):
        middles = window.start_s + (np.arange(3) + 0.5) / 3 * (window.end_s - window.start_s)
        numbers = [int((footage.times_s <= middle + 1e-6).sum()) - 1 for middle in middles]
        assert shown(window.item) == sorted(set(numbers))


def test_a_short_rest_is_left_to_the_last_window_and_a_long_one_is_a_window(mp4):
    assert [w.end_s for w in cut(mp4, window_s=0.9)] == pytest.approx([0.9, 2.0])
    assert [w.end_s for w in cut(mp4, window_s=0.8)] == pytest.approx([0.8, 1.6, 2.0])
    assert [w.end_s for w in cut(mp4, window_s=60)] == [2.0]


@pytest.mark.parametrize("length", [0, -1, float("nan"), float("inf")])
def test_a_window_without_length_is_refused(mp4, length):
    with pytest.raises(InvalidInputError, match=r"window_s is .* at least 0\.1 s"):
        list(cut(mp4, window_s=length))


# The rest


def test_a_contact_sheet_shows_the_frames_in_their_order(mp4):
    sheet = draw(read(mp4, n_frames=6))
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
    left_of_two_rows = sheet[np.array([150, 350]), 60, 0]  # below the middle of frames 1 and 5
    assert np.diff(left_of_two_rows.astype(int)) > 50


def test_the_modality_says_its_options_and_limits():
    assert set(VIDEO.options) == {"frames_per_s", "n_frames"}
    assert VIDEO.with_options({"n_frames": 3}).read(a_video()).frames.shape[0] == 3
    assert VIDEO.limits["decoding_s"] == 60


def test_a_live_recording_without_a_length_is_read():
    content = bytearray(a_video("webm"))
    place = content.index(b"\x18\x53\x80\x67") + 4
    content[place : place + 8] = b"\x01" + b"\xff" * 7
    assert container_of(bytes(content)) == "matroska"
    assert len(read(bytes(content)).frames) == N_FRAMES
