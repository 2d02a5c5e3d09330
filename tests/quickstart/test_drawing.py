import io

import numpy as np
import pytest
from PIL import Image

from unibind.alignment.geometry import unit
from unibind.quickstart import drawing
from unibind.quickstart.drawing import Tile, contact_sheet, draw_map


def opened(png: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    return picture.convert("RGB")


def n_pixels(png: bytes, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(opened(png)) == colour).all(axis=2).sum())


@pytest.fixture
def red(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (60, 40), "red").save(path)
    return path


RED, FRAME = (255, 0, 0), (47, 111, 222)


def test_a_sheet_shows_the_query_and_every_hit(red):
    tiles = [Tile(f"hit {n}", red, "score 0.5") for n in range(7)]
    sheet = contact_sheet("A title", Tile("the query", red), tiles)
    assert n_pixels(sheet, RED) == 8 * 60 * 40
    assert n_pixels(sheet, FRAME) > 4 * 100


def test_a_sheet_without_hits_shows_the_query_alone(red):
    sheet = contact_sheet("A title", Tile("the query", red), [])
    assert n_pixels(sheet, RED) == 60 * 40


def test_more_hits_make_more_rows_and_not_a_wider_sheet(red):
    sizes = [
        opened(contact_sheet("t", Tile("q", red), [Tile("h", red)] * n)).size for n in (1, 5, 6)
    ]
    assert sizes[0] == sizes[1]
    assert sizes[2][0] == sizes[1][0]
    assert sizes[2][1] > sizes[1][1]


def test_pictures_larger_than_a_tile_are_reduced_and_transparent_ones_lie_on_paper(tmp_path):
    path = tmp_path / "large.png"
    Image.new("RGBA", (900, 300), (255, 0, 0, 0)).save(path)
    sheet = contact_sheet("t", Tile("q"), [Tile("h", path)])
    assert n_pixels(sheet, RED) == 0
    Image.new("RGB", (900, 300), "red").save(path)
    assert n_pixels(contact_sheet("t", Tile("q"), [Tile("h", path)]), RED) == 150 * 50


def test_long_captions_and_other_scripts_are_drawn(red):
    long = Tile("word " * 80, red)
    unusual = Tile("\u65e5\u672c\u8a9e \U0001f989 " + "x" * 300)
    assert n_pixels(contact_sheet("t", unusual, [long]), RED) == 60 * 40


def test_words_are_drawn_where_there_is_no_picture(red):
    empty = opened(contact_sheet("t", Tile("", red), [Tile("")]))
    spoken = opened(contact_sheet("t", Tile("", red), [Tile("a few words")]))
    assert empty.size == spoken.size
    assert empty.tobytes() != spoken.tobytes()


def test_a_map_has_a_colour_for_each_group_and_is_the_same_every_time():
    generator = np.random.default_rng(0)
    groups = {name: unit(generator.normal(size=(20, 8))) for name in ("birds", "cars", "fruit")}
    names = {name: rows[0] for name, rows in groups.items()}
    first, second = (draw_map(groups, title="A map", names=names) for _ in range(2))
    assert first == second
    colours = {tuple(c) for c in np.asarray(opened(first)).reshape(-1, 3)}
    saturated = [c for c in colours if max(c) - min(c) > 100]
    assert len(saturated) >= 3


def test_words_of_a_map_are_moved_apart_and_no_further_than_they_must():
    rng = np.random.default_rng(0)
    places, reach = rng.uniform(-0.3, 0.3, (14, 2)), np.array([1.0, 1.0])
    moved = drawing._apart(places, reach)
    assert np.array_equal(moved[:, 0], places[:, 0])
    for a in range(14):
        for b in range(a):
            x, y = np.abs(moved[a] - moved[b])
            assert x >= 0.32 or y >= 0.069
    far = np.array([[0.0, 0.5], [0.0, -0.5]])
    assert np.array_equal(drawing._apart(far, reach), far)
