import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from unibind_depth.encoder import load
from unibind_depth.reader import DEPTH, accept, draw, read

from unibind.encoders.pipeline import read_source
from unibind.encoders.registry import open_encoder
from unibind.errors import InvalidInputError
from unibind.modalities.registry import open_modality
from unibind.protocols import LabelledEncoder, PicturingEncoder
from unibind.testing import check_encoder


def a_depth_map(radius=0.3):
    """A ball before a wall, in metres."""
    y, x = np.mgrid[-1:1:120j, -1:1:160j]
    inside = x**2 + y**2 < radius**2
    metres = np.full((120, 160), 3.0)
    metres[inside] = 2.0 - np.sqrt(radius**2 - x[inside] ** 2 - y[inside] ** 2)
    metres[0] = 0  # nothing measured
    return metres


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def test_the_encoder_keeps_its_promises_and_shows_pictures():
    encoder = load()
    check_encoder(encoder, [accept(a_depth_map(0.3)), accept(a_depth_map(0.7))])
    tower = open_encoder("efficientnet-lite0")
    assert isinstance(encoder, PicturingEncoder)
    assert isinstance(encoder, LabelledEncoder)
    assert encoder.image_tower == tower.fingerprint
    picture = draw(accept(a_depth_map()))
    np.testing.assert_allclose(
        encoder.encode([accept(a_depth_map())]), tower.encode([picture]), rtol=1e-3, atol=1e-3
    )


def test_the_door_has_the_modality():
    assert open_modality("depth") is DEPTH
    assert open_encoder("depth-pictures").modality is DEPTH


def test_millimetres_of_a_png_and_metres_of_an_array_are_the_same_depths(tmp_path):
    metres = np.round(a_depth_map(), 3)
    (tmp_path / "a.png").write_bytes(png(np.round(metres * 1000).astype(np.uint16)))
    (tmp_path / "a.npy").write_bytes(npy(metres))
    depths = [
        read_source(DEPTH, source).metres
        for source in (
            tmp_path / "a.png",
            tmp_path / "a.npy",
            (tmp_path / "a.png").read_bytes(),
            metres,
        )
    ]
    for each in depths[1:]:
        np.testing.assert_allclose(each, depths[0], atol=1e-6)
    assert np.isnan(depths[0][0]).all()


def test_another_unit_is_told():
    tenths = npy(np.round(a_depth_map() * 10_000).astype(np.uint16))
    depths = read_source(DEPTH, tenths, options={"metres_per_unit": 0.0001}).metres
    assert np.nanmax(depths) == pytest.approx(3)


def test_near_is_dark_and_nothing_is_white():
    picture = draw(accept(a_depth_map()))
    assert picture.shape == (120, 160, 3)
    assert (picture[0] == 255).all()
    assert picture[60, 80, 0] < picture[5, 5, 0] < 255


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello", "16-bit grey PNG"),
        (png(np.zeros((4, 4, 3), np.uint8)), "16-bit grey was needed"),
        (png(np.arange(10_000, dtype=np.uint16).reshape(100, 100))[:300], "no depth map"),
        (npy(np.zeros((4, 4))), "nothing was measured"),
        (npy(np.full((4, 4), np.nan)), "nothing was measured"),
        (npy(np.full((4, 4), -1.0)), "needed: 0 to 1000"),
        (npy(np.full((4, 4), 4000.0)), "metres_per_unit"),
        (npy(np.ones((4, 4, 3))), "no depth map"),
        (npy(np.ones((4, 4)))[:-8], "truncated"),
        (npy(np.ones((4, 4))).replace(b"(4, 4)", b"(99999, 99999)"), "damaged"),
        (npy(np.array([["a"]])), "array of numbers"),
    ],
)
def test_bad_files_are_refused(content, words):
    with pytest.raises(InvalidInputError, match=words):
        read(content)


@pytest.mark.parametrize("unit", [0, -1, "mm", True, float("nan")])
def test_a_wrong_unit_is_refused(unit):
    with pytest.raises(InvalidInputError, match="metres_per_unit"):
        read(npy(a_depth_map()), metres_per_unit=unit)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["png", "npy"]), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_damage_gives_a_whole_depth_map_or_a_clear_error(kind, place, value, cut):
    values = np.round(a_depth_map() * 1000).astype(np.uint16)
    content = bytearray(png(values) if kind == "png" else npy(values))
    place %= 300 if value % 2 else len(content)
    content[place : None if cut else place + 1] = bytes([value])
    with contextlib.suppress(InvalidInputError):
        assert not np.isnan(read(bytes(content)).metres).all()
