import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture(here):
    path = here / "red.png"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(path)
    return path


def test_show_draws_what_was_read(unibind, here, picture):
    told = json.loads(unibind("show", "red.png", "-o", "seen.png", "--json").out)
    assert (told["modality"], told["width"], told["height"]) == ("image", 40, 30)
    with Image.open(here / "seen.png") as seen, Image.open(picture) as read:
        assert (np.asarray(seen) == np.asarray(read)).all()


def test_show_names_its_picture_after_the_file(unibind, here, picture):
    assert "red-shown.png: 40 x 30 pixels" in unibind("show", "red.png").out
    assert (here / "red-shown.png").is_file()


def test_show_refuses_words_which_have_no_picture(unibind, here):
    (here / "words.txt").write_text("a cat")
    said = unibind("show", "words.txt", "--modality", "text")
    assert said.code == 1
    assert "of which no picture is made" in said.err


def test_show_refuses_an_option_that_the_modality_does_not_have(unibind, picture):
    said = unibind("show", "red.png", "--option", "rate_hz=50")
    assert said.code == 1
    assert "image has no option 'rate_hz'" in said.err


def test_an_option_without_a_value_is_wrong_use(unibind, picture):
    said = unibind("show", "red.png", "--option", "rate_hz")
    assert said.code == 2
    assert "'rate_hz' is not NAME=VALUE" in said.err


def test_an_option_that_no_file_has_is_refused_with_those_there_are(unibind, picture):
    said = unibind("embed", "red.png", "--option", "rate_hz=50", "--json")
    assert said.code == 1
    assert "--option rate_hz: image has no such option" in said.err
