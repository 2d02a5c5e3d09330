"""All thermal pictures here are synthetic: none from a real camera can be had."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unibind.errors import InvalidInputError
from unibind.modalities import thermal
from unibind.modalities.thermal import THERMAL, Thermogram, accept, draw, read, scaled
from unibind.modalities.thermal_palettes import PALETTES, colours, temperatures_of
from unibind.modalities.thermal_synthesis import synthetic_thermogram

SOME = synthetic_thermogram(seed=0, shape=(24, 32))
COUNTS = np.round((SOME.celsius + 273.15) / 0.04).astype(np.uint16)


def saved(array, kind="PNG") -> bytes:
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, array)
    else:
        Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "npy"])
def test_counts_of_16_bits_are_temperatures_once_their_step_is_said(kind):
    found = read(saved(COUNTS, kind), kelvin_per_count=0.04)
    np.testing.assert_allclose(found.celsius, SOME.celsius, atol=0.0201)
    assert found.celsius.dtype == np.float32
    assert (found.low_c, found.high_c) == (found.celsius.min(), found.celsius.max())


def test_the_offset_and_the_range_count_and_may_be_words():
    found = read(
        saved(np.array([[0, 100]], np.uint16)),
        kelvin_per_count="0.1",
        kelvin_offset="273.15",
        low_c="-5",
        high_c="20",
    )
    np.testing.assert_allclose(found.celsius, [[0, 10]], atol=1e-4)
    assert (found.low_c, found.high_c) == (-5, 20)


@pytest.mark.parametrize("kind", ["TIFF", "npy"])
@pytest.mark.parametrize(("unit", "zero"), [("celsius", 0.0), ("kelvin", 273.15)])
def test_floating_point_values_are_temperatures_once_their_unit_is_said(kind, unit, zero):
    values = (SOME.celsius + np.float32(zero)).astype(np.float32)
    np.testing.assert_allclose(
        read(saved(values, kind), unit=unit).celsius, SOME.celsius, atol=1e-3
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_of_8_bits_spans_the_range_that_is_said(channels):
    grey = np.array([[0, 51], [102, 255]], np.uint8)
    pixels = np.repeat(grey[:, :, None], 3, axis=2) if channels == 3 else grey
    found = read(saved(pixels), low_c=10, high_c=60)
    np.testing.assert_allclose(found.celsius, [[10, 20], [30, 60]])


@pytest.mark.parametrize("palette", PALETTES)
def test_false_colours_are_undone_by_their_palette(palette):
    shares = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    places = temperatures_of(colours(shares, palette), palette)
    np.testing.assert_allclose(places / 255, shares, atol=0.02)
    found = read(saved(colours(shares, palette)), palette=palette, low_c=0, high_c=100)
    np.testing.assert_allclose(found.celsius, 100 * shares, atol=2)


def test_colours_of_another_palette_are_refused():
    shares = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    with pytest.raises(InvalidInputError, match=r"levels from the palette 'grey' on average"):
        read(saved(colours(shares, "jet")), palette="grey", low_c=0, high_c=1)


WITHOUT = {
    "nothing said": (saved(COUNTS), {}, "nothing was said about the temperatures"),
    "no step": (saved(COUNTS), {"low_c": 1}, "does not say what a count is; .* kelvin_per_count"),
    "no unit": (saved(SOME.celsius, "npy"), {"low_c": 1}, "give the option unit"),
    "odd unit": (saved(SOME.celsius, "npy"), {"unit": "fahrenheit"}, "unit 'fahrenheit'"),
    "half a range": (saved(np.zeros((4, 4), np.uint8)), {"low_c": 1}, "low_c and high_c"),
    "colours": (
        saved(colours(np.eye(8, dtype=np.float32), "jet")),
        {"low_c": 0, "high_c": 1},
        "coloured; give the option palette",
    ),
    "no palette": (
        saved(colours(np.eye(8, dtype=np.float32), "jet")),
        {"low_c": 0, "high_c": 1, "palette": "rainbow"},
        "no palette is called 'rainbow'",
    ),
    "backwards": (
        saved(np.zeros((4, 4), np.uint8)),
        {"low_c": 9, "high_c": 1},
        "from low_c 9 to high_c 1 is empty",
    ),
    "no step at all": (saved(COUNTS), {"kelvin_per_count": 0}, "must be above 0"),
    "no number": (saved(COUNTS), {"kelvin_per_count": "small"}, "'small'; a number is needed"),
    "nan": (saved(COUNTS), {"kelvin_per_count": float("nan")}, "a number is needed"),
    "too hot": (saved(COUNTS), {"kelvin_per_count": 4}, "Check kelvin_per_count"),
    "too cold": (
        saved(COUNTS),
        {"kelvin_per_count": 0.04, "kelvin_offset": -400},
        "Check kelvin_per_count",
    ),
    "one temperature": (
        saved(np.full((4, 4), 7000, np.uint16)),
        {"kelvin_per_count": 0.04},
        "is empty; state one",
    ),
    "dead pixel": (
        saved(np.array([[1.0, np.nan]]), "npy"),
        {"unit": "celsius"},
        "NaN or infinite; replace dead pixels",
    ),
    "infinite": (saved(np.array([[1.0, np.inf]]), "npy"), {"unit": "kelvin"}, "NaN or infinite"),
    "text": (saved(np.array([["a", "b"]]), "npy"), {"unit": "celsius"}, "needed: numbers"),
    "axes": (saved(np.zeros((2, 3, 4, 5)), "npy"), {"unit": "celsius"}, r"shape \(2, 3, 4, 5\)"),
    "nothing": (saved(np.zeros((0, 4)), "npy"), {"unit": "celsius"}, r"shape \(0, 4\)"),
    "empty": (b"", {"unit": "celsius"}, r"empty \(0 bytes\)"),
    "magic": (b"hello" * 9, {"unit": "celsius"}, "not a thermal picture"),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_what_cannot_be_a_temperature_is_refused_with_what_to_say(name):
    content, options, telling = WITHOUT[name]
    with pytest.raises(InvalidInputError, match=telling):
        read(content, **options)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow also warns of what it then refuses
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "npy"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_truncated_file_is_refused(kind, share):
    content = saved(COUNTS, kind)
    with pytest.raises(InvalidInputError, match=r"truncated|damaged|not a thermal picture"):
        read(content[: int(share * len(content))], kelvin_per_count=0.04)


def test_a_picture_with_too_many_pixels_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(thermal, "MAX_PIXELS", 24 * 32 - 1)
    for kind in ("PNG", "TIFF"):
        with pytest.raises(InvalidInputError, match=r"32 x 24 px; at most 767 pixels"):
            read(saved(COUNTS, kind), kelvin_per_count=0.04)
    with pytest.raises(InvalidInputError, match="768 pixels, at most 767"):
        accept(COUNTS, kelvin_per_count=0.04)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_are_a_thermogram_or_an_error(data):
    damaged = bytearray(saved(COUNTS, data.draw(st.sampled_from(["PNG", "TIFF"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(damaged), kelvin_per_count=0.04, low_c=0, high_c=1)
    except InvalidInputError:
        return
    assert np.isfinite(found.celsius).all()
    assert found.celsius.ndim == 2


@given(celsius=st.lists(st.floats(-200, 2000, width=32), min_size=4, max_size=4))
@settings(max_examples=50, deadline=None)
def test_any_temperatures_survive_as_an_array(celsius):
    array = np.array(celsius).reshape(2, 2)
    found = accept(array, unit="celsius", low_c=-300 + 27, high_c=2001)
    np.testing.assert_allclose(found.celsius, array, rtol=1e-6)
    assert accept(found).low_c == found.low_c


def test_values_that_are_none_are_refused():
    with pytest.raises(InvalidInputError, match="got str; pass the path"):
        accept("picture.tiff")
    with pytest.raises(InvalidInputError, match="float64; needed: uint8"):
        accept(np.zeros((4, 4, 3)), unit="celsius", palette="jet")
    with pytest.raises(InvalidInputError, match="NaN"):
        accept(Thermogram(np.full((2, 2), np.nan, np.float32), 0, 1))


def test_what_is_shown_is_the_share_of_the_range():
    found = accept(np.array([[0.0, 5, 10, 20]]), unit="celsius", low_c=0, high_c=10)
    np.testing.assert_allclose(scaled(found), [[0, 0.5, 1, 1]])


def test_the_drawing_has_a_bar_from_hot_to_cold():
    sheet = draw(SOME)
    assert sheet.dtype == np.uint8
    bar = sheet[8:-8, -104 - 8 + 8]
    assert bar[0].tolist() == colours(np.ones(1, np.float32), "inferno")[0].tolist()
    assert bar[-1].tolist() == colours(np.zeros(1, np.float32), "inferno")[0].tolist()
    assert np.diff(bar.astype(int).sum(axis=1)).max() <= 6  # ever darker


def test_synthetic_pictures_differ_by_seed_and_lie_in_their_range():
    again = synthetic_thermogram(seed=0, shape=(24, 32))
    np.testing.assert_array_equal(again.celsius, SOME.celsius)
    assert (synthetic_thermogram(seed=1, shape=(24, 32)).celsius != SOME.celsius).any()
    assert 20 < SOME.celsius.min() < 22
    assert 32 < SOME.celsius.max() < 35


def test_a_picture_is_not_taken_for_a_thermal_one(tmp_path):
    from unibind.modalities.registry import modality_of

    for name, pixels in (("a.png", COUNTS), ("b.tif", np.zeros((4, 4, 3), np.uint8))):
        Image.fromarray(pixels).save(tmp_path / name)
        assert modality_of(tmp_path / name).name == "image"
    assert set(THERMAL.options) >= {"kelvin_per_count", "low_c", "high_c", "palette", "unit"}
