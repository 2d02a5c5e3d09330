"""``unibind teach``: a few files teach a class, and it can be forgotten."""

import json

import numpy as np
import pytest

NEW = {"bovines": "a blorp", "sports": "a wug"}


@pytest.fixture
def pictures(stamps):
    """Twelve pictures of each of two folders, by the name they are to be taught under."""
    return {
        name: [item.path for item in stamps.items if item.label == folder][:12]
        for folder, name in NEW.items()
    }


def told(finished, code=0):
    assert finished.code == code, finished.err
    return json.loads(finished.out)


def test_a_few_files_teach_classes_until_they_are_forgotten(unibind, here, pictures):
    def accuracy():
        files = [path for paths in pictures.values() for path in paths[4:]]
        right = [name for name, paths in pictures.items() for _ in paths[4:]]
        rows = told(unibind("classify", *files, "--classes", "a blorp,a wug", "--json"))["results"]
        found = [row["predictions"][0]["label"] for row in rows]
        return np.mean([a == b for a, b in zip(found, right, strict=True)])

    before = accuracy()
    assert before < 0.7
    for name, paths in pictures.items():
        result = told(unibind("teach", *paths[:4], "--label", name, "--json"))
        assert result["taught"] == {"image": 4}
        assert (result["failures"], result["left_out"]) == ([], {})
    assert result["examples"] == {"image": {"a blorp": 4, "a wug": 4}}
    assert accuracy() >= 0.9
    shown = unibind("teach", pictures["a wug"][0], "--label", "a wug").out
    assert shown == (
        "taught a wug: 1 of image\nexamples of image: a blorp (4), a wug (4)\n"  # it was there
    )
    gone = told(unibind("teach", "--forget", "The Wug", "--modality", "image", "--json"))
    assert (gone["forgotten"], gone["examples"]) == ({"image": 4}, {"image": {"a blorp": 4}})
    assert unibind("teach", "--forget", "a blorp").out == "forgotten: 4 of image\n"
    assert accuracy() == before


def test_files_of_several_modalities_teach_one_class(unibind, here, pictures):
    (here / "note.txt").write_text("It moos.")
    result = told(
        unibind("teach", pictures["a blorp"][0], "note.txt", "--label", "a blorp", "--json")
    )
    assert result["taught"] == {"image": 1, "text": 1}
    assert result["examples"] == {"text": {"a blorp": 1}, "image": {"a blorp": 1}}
    only = told(unibind("teach", "--forget", "a blorp", "--modality", "text", "--json"))
    assert only["forgotten"] == {"text": 1}


def test_bad_files_are_listed_and_the_rest_is_taught(unibind, here, pictures):
    (here / "zero.png").write_bytes(b"")
    finished = unibind("teach", "zero.png", pictures["a wug"][0], "--label", "a wug", "--json")
    result = told(finished, code=1)
    assert result["taught"] == {"image": 1}
    assert [row["file"] for row in result["failures"]] == ["zero.png"]
    assert "error: 1 of 2 cannot be used: zero.png" in finished.err


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        ([], "give examples, or --forget NAME"),
        (["--label", "a"], "give examples, or --forget NAME"),
        (["a.png"], 'say what the files are: --label "a cat"'),
        (["a.png", "--label", "  "], "say what the files are"),
        (["a.png", "--forget", "a"], "it takes no files and no --label"),
        (["--label", "a", "--forget", "a"], "it takes no files and no --label"),
    ],
)
def test_what_neither_teaches_nor_forgets_is_wrong_use(unibind, arguments, telling):
    finished = unibind("teach", *arguments)
    assert (finished.code, finished.out) == (2, "")
    assert telling in " ".join(finished.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        (["gone.png", "--label", "a"], "gone.png"),
        (["--forget", "a wug"], "nothing was taught of 'a wug'; nor of anything else"),
        (["--forget", "a", "--modality", "smell"], "no modality 'smell'"),
        (["--forget", "a", "--space", "nope"], "no space at nope"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line_and_nothing_is_written(
    unibind, here, arguments, telling
):
    finished = unibind("teach", *arguments)
    assert finished.code == 1
    assert finished.err.startswith("error: ")
    assert finished.err.count("\n") == 1
    assert telling in finished.err
    assert not (here / "indexes").exists()


def test_forgetting_what_was_not_taught_names_what_was(unibind, here, pictures):
    unibind("teach", pictures["a wug"][0], "--label", "a wug")
    finished = unibind("teach", "--forget", "a blorp")
    assert (finished.code, finished.out) == (1, "")
    assert "nothing was taught of 'a blorp'; there are examples of a wug" in finished.err
