"""Sounds through the whole of a space, with the real weights: align, embed, classify, search."""

import numpy as np
import pytest
from typer.testing import CliRunner

import unibind
from unibind import weights
from unibind.cli import app
from unibind.datasets import fetch

SHOWN = {
    "cow": "animals/mammals/bovines/cow.png",
    "duck": "animals/birds/duck.png",
    "violin": "hobbies/music/string/violin.png",
    "hammer": "household/tools/hammer.png",
}
ALSO = {"bee", "cello", "crow", "dog", "fire truck", "goat", "goose", "kettle", "lion", "owl"}


@pytest.fixture(scope="module")
def sounds():
    return {item.label: item.path for item in fetch("stamps-sounds").items}


@pytest.fixture(scope="module")
def engine(tmp_path_factory, stamps, sounds):
    for model in ("minilm-l6", "efficientnet-lite0", "imagenet-labels", "aisfx"):
        weights.fetch(model)
    space = tmp_path_factory.mktemp("spaces") / "mini"
    table = space.with_suffix(".csv")  # fewer than the whole set, for the sake of time
    some = [*SHOWN, *[name for name in sorted(sounds) if name in ALSO]]
    table.write_text("path,label\n" + "".join(f"{sounds[name]},{name}\n" for name in some))
    words = ["align", "--modality", "audio", "--data", str(table), "--knowledge", "everyday"]
    done = CliRunner().invoke(app, [*words, "--space", str(space)])
    assert done.exit_code == 0, done.output
    with unibind.open(space) as engine:
        paths = {item.key: item.path for item in stamps.items}
        engine.add("image", [paths[key] for key in SHOWN.values()], keys=list(SHOWN))
        yield engine


def test_a_sound_is_a_unit_vector_of_the_space(engine, sounds):
    embeddings = engine.embed("audio", [sounds["cow"], (np.zeros(8000, np.float32), 8000)])
    assert embeddings.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_sounds_that_were_trained_on_get_their_names(engine, sounds):
    found = engine.classify("audio", [sounds[name] for name in SHOWN], classes=list(SHOWN))
    assert [predictions[0].label for predictions in found] == list(SHOWN)


def test_a_sound_finds_the_picture_of_what_makes_it(engine, sounds):
    found = engine.search("audio", [sounds[name] for name in SHOWN], into=["image"], k=4)
    assert all({hit.modality for hit in hits} == {"image"} for hits in found)
    assert all(len(hits) == 4 for hits in found)
    first = [hits[0].key for hits in found]
    assert sum(key == name for key, name in zip(first, SHOWN, strict=True)) >= 3


def test_what_was_measured_is_among_the_reasons(engine, sounds):
    classes = ["duck", "violin", "vacuum cleaner"]
    (predictions,) = engine.classify(
        "audio", [sounds["duck"]], classes=classes, knowledge="everyday", explain=True
    )
    assert predictions[0].label == "duck"
    measured = [each.text for each in predictions[0].reasons if each.source == "measurement"]
    assert any(text.startswith("event ") and " s (expected " in text for text in measured)


def test_part_of_a_sound_is_chosen_by_options(engine, sounds):
    whole, part = (
        engine.embed("audio", [sounds["blackbird"]], options=options)
        for options in ({}, {"start_s": 1.0, "duration_s": 2.0})
    )
    assert 0.1 < float(whole[0] @ part[0]) < 0.9999
