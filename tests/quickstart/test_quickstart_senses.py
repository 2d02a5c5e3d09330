"""The other senses of the quickstart: real recordings, two sets, searches across them."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

import unibind
from unibind.knowledge.base import open_base
from unibind.quickstart.crossing import Crossing, cross
from unibind.quickstart.senses import Sense, add_senses

SOME = (
    Sense("timeseries", "basic-motions"),
    Sense("audio", "stamps-sounds", models=("aisfx",)),
    Sense("smell", "no-such-set"),
)


class Notes:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    @contextlib.contextmanager
    def progress(self, label: str, *, in_bytes: bool = False):
        yield lambda n_done, n_total: None


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    notes = Notes()
    with unibind.open(tmp_path_factory.mktemp("senses") / "mini") as engine:
        engine.save()
        added = add_senses(engine, open_base("everyday"), reporter=notes, senses=SOME)
        yield engine, added, notes


def test_each_sense_has_a_head_of_its_classes_and_its_items_in_the_store(built):
    engine, added, _ = built
    assert [each.modality for each in added] == ["timeseries", "audio"]
    traces, sounds = added
    assert (traces.classes, len(traces.items), engine.count("timeseries")) == (4, 80, 80)
    assert sounds.classes > 50
    assert engine.count("audio") == len(sounds.items) > 80
    assert set(engine.head("timeseries").seen) == {
        "playing badminton", "running", "standing", "walking",
    }  # fmt: skip


def test_a_sense_that_cannot_be_had_is_told_of_and_the_others_go_on(built):
    _, _, notes = built
    assert any(said.startswith("going on without smell: ") for said in notes.said)


def test_words_find_traces_and_a_sound_finds_itself(built):
    engine, added, _ = built
    crossings = (
        Crossing("text", "a person running", ("timeseries",)),
        Crossing("audio", "owl", ("audio",)),
        Crossing("video", "owl", ("audio",)),  # no video was added
        Crossing("audio", "no such thing", ("audio",)),
    )
    words, sound = cross(engine, added, pictures={}, crossings=crossings)
    assert [hit.metadata["label"] for hit in words.hits] == ["running"] * 5
    assert sound.hits[0].metadata["label"] == "owl"
    told = words.to_json()
    assert told["title"] == "text 'a person running' finds timeseries"
    assert told["hits"][0]["caption"] == "running"


def test_a_crossing_is_drawn_with_the_traces_that_were_found(built):
    engine, added, _ = built
    (words,) = cross(
        engine, added, pictures={}, crossings=(Crossing("text", "walking", ("timeseries",)),)
    )
    with Image.open(io.BytesIO(words.sheet)) as sheet:
        pixels = np.asarray(sheet.convert("L"))
    assert pixels.shape[1] > 900
    assert (pixels < 200).any(axis=0)[200:].mean() > 0.3  # something is drawn beside the query
