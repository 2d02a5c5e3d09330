"""Sounds from files and arrays: what is taken, what is refused, and that nothing costs memory."""

import builtins
import io
import resource
import struct
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.encoders.cache import item_key
from unibind.errors import InvalidInputError
from unibind.modalities.audio import AUDIO, MAX_PEAK, Sound, accept, draw, read, samples_at
from unibind.modalities.registry import modality_of

LOSSLESS = [
    ("WAV", "PCM_U8", 2**-7),
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-23),
    ("WAV", "PCM_32", 2**-24),
    ("WAV", "FLOAT", 0),
    ("WAV", "DOUBLE", 0),
    ("WAVEX", "PCM_16", 2**-15),
    ("RF64", "PCM_16", 2**-15),
    ("FLAC", "PCM_16", 2**-15),
    ("FLAC", "PCM_24", 2**-23),
]
LOSSY = [
    ("OGG", "VORBIS", 44100),
    ("OGG", "OPUS", 48000),
    ("MP3", "MPEG_LAYER_III", 44100),
    ("WAV", "ULAW", 8000),
    ("WAV", "IMA_ADPCM", 8000),
]


def tone(duration_s=0.5, rate_hz=44100, hertz=440.0, peak=0.5):
    seconds = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * hertz * seconds)).astype(np.float32)


def file_of(samples, rate_hz=44100, kind="WAV", subtype="PCM_16"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=kind, subtype=subtype)
    return buffer.getvalue()


def hertz_of(sound):
    power = np.abs(np.fft.rfft(sound.samples * np.hanning(len(sound.samples))))
    return power.argmax() * sound.rate_hz / len(sound.samples)


def patched(content, at, value):
    return content[:at] + value + content[at + len(value) :]


# What is read.


@pytest.mark.parametrize(("kind", "subtype", "error"), LOSSLESS)
def test_a_lossless_file_gives_back_its_samples(kind, subtype, error):
    samples = tone()
    sound = read(file_of(samples, kind=kind, subtype=subtype))
    assert (sound.rate_hz, sound.samples.dtype, sound.samples.shape) == (
        44100,
        np.float32,
        (22050,),
    )
    np.testing.assert_allclose(sound.samples, samples, atol=1.01 * error + 1e-7)


@pytest.mark.parametrize(("kind", "subtype", "rate_hz"), LOSSY)
def test_a_lossy_file_gives_nearly_its_sound(kind, subtype, rate_hz):
    sound = read(file_of(tone(rate_hz=rate_hz), rate_hz, kind, subtype))
    assert sound.rate_hz == rate_hz
    assert sound.duration_s == pytest.approx(0.5, abs=0.07)
    assert hertz_of(sound) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(sound.samples**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("rate_hz", [1000, 8000, 22254, 48000])
def test_a_rate_up_to_48_khz_is_kept(rate_hz):
    sound = read(file_of(tone(rate_hz=rate_hz, hertz=200), rate_hz))
    assert sound.rate_hz == rate_hz
    assert hertz_of(sound) == pytest.approx(200, abs=3)


@pytest.mark.parametrize("rate_hz", [88200, 96000, 192000])
def test_a_higher_rate_is_reduced_to_48_khz_in_files_and_in_arrays_alike(rate_hz):
    samples = tone(duration_s=3, rate_hz=rate_hz)
    from_file = read(file_of(samples, rate_hz, subtype="FLOAT"))
    from_array = accept((samples, rate_hz))
    assert from_file.rate_hz == from_array.rate_hz == 48000
    assert len(from_file.samples) == pytest.approx(3 * 48000, abs=2)
    np.testing.assert_allclose(from_file.samples, from_array.samples, atol=1e-5)
    expected = tone(duration_s=3, rate_hz=48000)[1000:-1000]
    np.testing.assert_allclose(from_file.samples[1000 : 1000 + len(expected)], expected, atol=1e-3)


def test_what_a_lower_rate_cannot_carry_is_filtered_and_not_folded():
    sound = accept((tone(rate_hz=96000, hertz=30_000), 96000))
    assert np.abs(sound.samples[1000:-1000]).max() < 1e-3


def test_channels_are_averaged():
    left, right = tone(hertz=300), tone(hertz=700)
    sound = read(file_of(np.stack([left, right], axis=1), subtype="FLOAT"))
    np.testing.assert_allclose(sound.samples, (left + right) / 2, atol=1e-7)


def test_silence_is_a_sound():
    assert np.all(read(file_of(np.zeros(4410))).samples == 0)


def test_a_peak_above_one_is_brought_down_and_not_cut_off():
    samples = tone(peak=3.0)
    sound = read(file_of(samples, subtype="FLOAT"))
    np.testing.assert_allclose(sound.samples, samples / np.abs(samples).max(), atol=1e-6)


def test_a_part_of_a_file_can_be_chosen():
    samples = np.concatenate([tone(1, hertz=300), tone(1, hertz=900)])
    content = file_of(samples)
    part = read(content, start_s=1.25, duration_s=0.5)
    assert part.duration_s == pytest.approx(0.5, abs=1e-4)
    assert hertz_of(part) == pytest.approx(900, abs=3)
    whole = read(content)
    np.testing.assert_array_equal(part.samples, whole.samples[55125 : 55125 + len(part.samples)])
    np.testing.assert_array_equal(read(content, start_s=1.5).samples, whole.samples[66150:])
    same = accept((samples, 44100), start_s=1.25, duration_s=0.5)
    np.testing.assert_allclose(part.samples, same.samples, atol=1e-4)


def test_a_file_longer_than_the_limit_can_be_read_in_parts():
    content = file_of(np.zeros(1000 * 601), 1000, "FLAC")
    with pytest.raises(InvalidInputError, match=r"lasts 601 s, at most 600 s.*start_s"):
        read(content)
    assert read(content, start_s=590).duration_s == pytest.approx(11)
    assert read(content, start_s=600, duration_s=99).duration_s == pytest.approx(1)


def test_a_wav_file_whose_size_was_left_open_is_read_to_its_end():
    content = file_of(tone())
    at = content.index(b"data") + 4
    for size in (0, 0x7FFF_F000, 0xFFFF_FFFF):
        streamed = patched(content, at, struct.pack("<I", size))
        np.testing.assert_array_equal(read(streamed).samples, read(content).samples)


def test_a_flac_file_that_does_not_say_its_length_is_read_to_its_end():
    content = file_of(tone(), kind="FLAC")
    streamed = patched(content, 21, bytes([content[21] & 0xF0, 0, 0, 0, 0]))
    np.testing.assert_array_equal(read(streamed).samples, read(content).samples)


def test_tags_before_and_behind_an_mp3_are_no_sound():
    content = file_of(tone(), kind="MP3", subtype="MPEG_LAYER_III")
    expected = read(content).samples
    picture = bytes(range(256)) * 300  # with what looks like frames in it
    tag = b"ID3\x03\x00\x00" + bytes([0, 4, 88, 0]) + picture  # 7 bits a byte: 76,800
    for tagged in (tag + content, tag + bytes(700) + content, content + b"TAG" + bytes(125)):
        np.testing.assert_array_equal(read(tagged).samples, expected)


def test_an_mp3_that_does_not_say_its_length_is_not_taken_for_truncated():
    content = file_of(tone(2), kind="MP3", subtype="MPEG_LAYER_III")
    unsaid = content.replace(b"Xing", b"None")
    assert read(unsaid).duration_s > 0.5


def test_a_file_says_what_it_is_by_its_content_and_its_name(tmp_path):
    content = file_of(tone(), kind="FLAC")
    assert modality_of(content).name == "audio"
    for suffix in AUDIO.suffixes:
        assert modality_of(tmp_path / f"a{suffix}") is AUDIO


def test_the_cache_tells_two_sounds_apart_by_samples_and_by_rate():
    keys = [item_key(accept((tone(hertz=hz), rate))) for hz in (300, 400) for rate in (8000, 9000)]
    assert None not in keys
    assert len(set(keys)) == 4
    assert item_key(accept((tone(hertz=300), 8000))) == keys[0]


# Arrays.


@pytest.mark.parametrize(
    ("dtype", "middle", "half"),
    [(np.int8, 0, 2**7), (np.int16, 0, 2**15), (np.int32, 0, 2**31), (np.uint8, 128, 2**7)],
)
def test_integers_are_scaled_by_the_range_of_their_type(dtype, middle, half):
    samples = np.tile(np.array([middle, half // 2 + middle, -half + middle]), 100).astype(dtype)
    sound = accept((samples, 8000))
    np.testing.assert_array_equal(sound.samples[:3], [0.0, 0.5, -1.0])


def test_the_shorter_axis_is_the_channels():
    samples = np.stack([tone(), tone(hertz=900)])
    expected = samples.mean(axis=0)
    np.testing.assert_array_equal(accept((samples, 44100)).samples, expected)
    np.testing.assert_array_equal(accept((samples.T, 44100)).samples, expected)
    np.testing.assert_array_equal(accept((samples[0], 44100)).samples, samples[0])
    np.testing.assert_array_equal(accept((samples[:1], 44100)).samples, samples[0])


def test_a_rate_comes_with_the_array_before_or_after_it_or_as_an_option():
    samples = tone(rate_hz=8000)
    for sound in (
        accept((samples, 8000)),
        accept((8000, samples)),
        accept((samples, np.int64(8000))),
        accept((samples, 8000.0)),
        accept(samples, rate_hz=8000),
        accept(samples.astype(np.float64), rate_hz=8000),
        accept(Sound(samples, 8000)),
        AUDIO.with_options({"rate_hz": 8000}).accept(samples),
    ):
        assert sound.rate_hz == 8000
        np.testing.assert_array_equal(sound.samples, samples)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (tone(), "does not say its rate"),
        ("a.wav", r"needed as an array.*got str.*pathlib\.Path"),
        (([0.0] * 999, 8000), "got tuple"),
        ((tone(), 0), "rate is 0.*500 to 768,000"),
        ((tone(), -8000), "rate is -8000"),
        ((tone(), float("nan")), "rate is nan"),
        ((tone(), "8000"), "rate is '8000'"),
        ((tone(), True), "rate is True"),
        ((tone(), 8000.5), "whole number of Hz"),
        ((np.zeros(0, np.float32), 8000), "0 samples at 8000 Hz"),
        ((np.zeros(1, np.float32), 8000), "1 samples at 8000 Hz.*at least 0.005 s"),
        ((np.zeros(601 * 500), 500), "lasts 601 s, at most 600 s"),
        ((np.zeros((2, 3, 4)), 8000), r"shape \(2, 3, 4\)"),
        ((np.zeros((9, 9)), 8000), r"shape \(9, 9\), which does not tell"),
        ((np.zeros((40, 4000)), 8000), "at most 32"),
        ((np.zeros(999, np.int64), 8000), "is int64"),
        ((np.zeros(999, complex), 8000), "is complex128"),
        ((np.zeros(999, bool), 8000), "is bool"),
        ((np.full(999, np.nan), 8000), "NaN or infinite"),
        ((np.full(999, -np.inf), 8000), "NaN or infinite"),
        ((np.full(999, 1e300), 8000), "NaN or infinite"),
        ((np.full(999, 32767.0), 8000), r"up to 3.277e\+04.*32768 for 16 bits"),
        ((np.full(999, MAX_PEAK * 1.01), 8000), "up to 16.16"),
        (None, "got NoneType"),
    ],
)
def test_an_array_that_is_no_sound_is_refused(value, words):
    with pytest.raises(InvalidInputError, match=words):
        accept(value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start_s": -1}, "start_s is -1"),
        ({"start_s": float("nan")}, "start_s is nan"),
        ({"start_s": "1"}, "start_s is '1'"),
        ({"duration_s": 0}, "duration_s is 0"),
        ({"duration_s": -2}, "duration_s is -2"),
        ({"start_s": 9}, "0 samples.*from 9 s on|0 samples"),
        ({"rate_hz": 8000}, "44100.*8000"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(InvalidInputError, match=words):
        read(file_of(tone()), **options)
    with pytest.raises(InvalidInputError, match=words):
        accept((tone(), 44100), **options)


# Files that are refused.

WAV = file_of(tone())
FLAC = file_of(tone(), kind="FLAC")
OGG = file_of(tone(), kind="OGG", subtype="VORBIS")
OPUS = file_of(tone(rate_hz=48000), 48000, kind="OGG", subtype="OPUS")
MP3 = file_of(tone(2), kind="MP3", subtype="MPEG_LAYER_III")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"hello, world", "text that start with 'hello, world'.*WAV, FLAC"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "not a sound file.*89 50"),
        (b"RIFF\x04\x00\x00\x00AVI ", "not a sound file"),
        (b"RIFF\x04\x00\x00\x00WAVE", "no samples"),
        (b"\xff\xd8\xff\xe0" + bytes(99), "not a sound file"),
        (b"fLaC", "FLAC file is truncated or damaged"),
        (b"OggS", "Ogg file is truncated or damaged"),
        (b"ID3", "MP3 file is truncated: no sound in it"),
        (WAV[:30], "no samples"),
        (WAV[:-2000], r"says 44,100 bytes of samples and has 42,100"),
        (FLAC[: len(FLAC) // 2], "FLAC file is truncated or damaged"),
        (OGG[: len(OGG) // 2], "Ogg file is truncated or damaged"),
        (OPUS[: len(OPUS) // 2], "Ogg file is truncated or damaged"),
        (MP3[: len(MP3) // 2], "truncated: it says 88,200 samples"),
        (file_of(np.zeros(0)), "0 samples at 44100 Hz"),
        (file_of(np.zeros(1)), "1 samples at 44100 Hz.*at least 0.005 s"),
        (file_of(np.full(999, np.nan), subtype="FLOAT"), "NaN or infinite"),
        (file_of(np.full(999, np.inf), subtype="FLOAT"), "NaN or infinite"),
        (file_of(np.full(999, 1e300), subtype="DOUBLE"), "NaN or infinite"),
        (file_of(np.full(999, 20000.0), subtype="FLOAT"), r"up to 2e\+04"),
        (file_of(np.zeros((999, 33))), "33 channels, at most 32"),
        (file_of(np.zeros(2000), 100), "100 samples per second; 500 to"),
        (file_of(np.zeros(601 * 500), 500), "lasts 601 s, at most 600 s"),
    ],
)
def test_a_file_that_is_no_whole_sound_is_refused(content, words):
    with pytest.raises(InvalidInputError, match=words):
        read(content)


def test_the_ends_of_an_mp3_and_of_a_lossy_stream_may_be_off_by_its_padding():
    assert read(MP3).duration_s == pytest.approx(2, abs=0.1)


MAGIC = [
    b"",
    b"RIFF\0\0\0\0WAVEfmt ",
    b"fLaC",
    b"OggS\0\2",
    b"ID3\3\0\0\0\0\0\0",
    b"\xff\xfb\x90",
]

FORGED = {
    "WAV rate": patched(WAV, 24, struct.pack("<I", 0xFFFF_FFFF)),
    "WAV rate 0": patched(WAV, 24, bytes(4)),
    "WAV channels": patched(WAV, 22, struct.pack("<H", 60000)),
    "WAV channels 0": patched(WAV, 22, bytes(2)),
    "WAV size": patched(WAV, WAV.index(b"data") + 4, struct.pack("<I", 0x3FFF_FFFF)),
    "FLAC samples": patched(FLAC, 21, bytes([FLAC[21] | 0x0F]) + b"\xff" * 4),
    "FLAC more samples": patched(FLAC, 21, bytes([FLAC[21] & 0xF0]) + b"\x00\xff\xff\xff"),
    "Ogg granule": patched(OGG, OGG.rindex(b"OggS") + 6, struct.pack("<q", 2**62)),
    "Ogg granule -1": patched(OGG, OGG.rindex(b"OggS") + 6, struct.pack("<q", -1)),
    "MP3 frames": patched(MP3, MP3.index(b"Xing") + 8, b"\xff" * 4),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_header_is_refused(name):
    with pytest.raises(InvalidInputError, match=r"truncated|damaged|says|lasts|0 samples"):
        read(FORGED[name])


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units")
def test_neither_forged_headers_nor_tiny_files_of_long_silence_cost_memory():
    # 64 channels are refused by their header; an hour of silence in stereo is 20 kB of FLAC.
    hour = file_of(np.zeros((3600 * 500, 2)), 500, "FLAC")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in [*FORGED.values(), hour]:
        with pytest.raises(InvalidInputError):
            read(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KiB


def test_a_file_that_decodes_to_more_than_it_says_is_stopped_while_decoding():
    # A FLAC file that says no length is only known to be too long once it was decoded so far.
    content = file_of(np.zeros(700 * 1000), 1000, "FLAC")
    unknown = patched(content, 21, bytes([content[21] & 0xF0, 0, 0, 0, 0]))
    with pytest.raises(InvalidInputError, match=r"lasts 6\d\d s, at most 600 s"):
        read(unknown)
    with pytest.raises(InvalidInputError, match="lasts 700 s"):
        read(content)


@pytest.mark.parametrize("library", ["soundfile", "soxr"])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(library, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == library:
            raise ImportError(name)
        return real(name, *rest)

    content = file_of(tone(rate_hz=96000), 96000)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidInputError, match=rf"{library}.*'unibind\[audio\]'"):
        read(content)


@given(content=st.binary(max_size=300), magic=st.sampled_from(MAGIC))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_a_sound_or_refused(content, magic):
    check_read(magic + content)


@given(
    content=st.sampled_from([WAV[:6000], WAV, FLAC, OGG, OPUS, MP3]),
    edits=st.lists(
        st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4
    ),
    near_the_start=st.booleans(),
    end=st.integers(13, 2**16),
)
@settings(max_examples=200, deadline=None)
def test_a_mutated_file_is_a_sound_or_refused(content, edits, near_the_start, end):
    for at, value in edits:
        content = patched(content, at % (120 if near_the_start else len(content)), value)
    check_read(content[:end])


def check_read(content):
    try:
        sound = read(content)
    except InvalidInputError:
        return
    assert sound.samples.dtype == np.float32
    assert sound.samples.ndim == 1
    assert np.abs(sound.samples).max() <= 1  # not NaN either
    assert 0.004 <= sound.duration_s <= 600
    assert 500 <= sound.rate_hz <= 48000


@given(
    n_samples=st.integers(50, 3000),
    n_channels=st.integers(1, 5),
    rate_hz=st.sampled_from([1000, 8000, 48000]),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_files_and_arrays_of_the_same_sound_are_the_same_item(n_samples, n_channels, rate_hz, seed):
    generator = np.random.default_rng(seed)
    samples = generator.uniform(-1, 1, (max(n_samples, rate_hz // 100), n_channels))
    samples = samples.astype(np.float32)
    from_file = read(file_of(samples, rate_hz, subtype="FLOAT"))
    np.testing.assert_allclose(from_file.samples, accept((samples, rate_hz)).samples, atol=1e-6)


# Other rates, and the picture.


def test_samples_at_another_rate_are_the_same_tone():
    sound = accept((tone(1, 44100, 440), 44100))
    other = samples_at(sound, 16000)
    np.testing.assert_allclose(other[800:-800], tone(1, 16000, 440)[800:-800], atol=1e-3)
    assert samples_at(sound, 44100) is sound.samples


@pytest.mark.parametrize("duration_s", [0.01, 0.5, 40.0])
def test_the_picture_shows_a_tone_where_it_is(duration_s):
    low, high = (draw(accept((tone(duration_s, 16000, hz), 16000))) for hz in (300, 5000))
    assert low.shape == (540, 960, 3)
    assert low.dtype == np.uint8
    bands = [picture[220:485, 200:900].astype(int).sum(axis=(1, 2)) for picture in (low, high)]
    brightest = [each.argmax() for each in bands]
    assert brightest[0] > brightest[1] + 60  # low frequencies stand below


def test_silence_has_a_picture():
    assert draw(accept((np.zeros(8000, np.float32), 8000))).std() > 1
