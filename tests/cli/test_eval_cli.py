"""``unibind eval`` and ``unibind ablate``: measured on a few stamps, told in words and as JSON."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from unibind.evaluation.names import ClassFinder
from unibind.knowledge.base import open_base

CLASSES = ("apple", "guitar", "hat", "house", "orange", "penguin", "tree", "truck")
N_EACH = 4


@pytest.fixture(scope="session")
def chosen(stamps):
    """Four stamps of each of eight classes of the knowledge base, by class."""
    find = ClassFinder(open_base("everyday").classes).find
    named = [(find(item.caption or ""), item.path) for item in stamps.items]
    return {name: [path for each, path in named if each == name][:N_EACH] for name in CLASSES}


@pytest.fixture
def folder(here, chosen) -> Path:
    """They as a folder of classes."""
    for name, paths in chosen.items():
        (here / "set" / name).mkdir(parents=True)
        for n, path in enumerate(paths):
            shutil.copy(path, here / "set" / name / f"{n}.png")
    return here / "set"


def told(finished, code=0):
    assert finished.code == code, finished.err
    return json.loads(finished.out)


def is_interval(found):
    return 0 <= found["low"] <= found["mean"] <= found["high"] <= 1


def test_eval_tells_seen_classes_unseen_ones_and_both_together(unibind, folder, here):
    asked = ("eval", "--data", "set", "--seeds", 2)
    result = told(unibind(*asked, "--json"))
    assert (result["data"], result["modality"], result["head"]) == ("set", "image", "ridge")
    assert (result["learned_from"], result["n_seeds"]) == ("class names", 2)
    assert result["n_classes"] == {"all": 8, "unseen": 3}
    assert sum(result["n_items"].values()) <= len(CLASSES) * N_EACH
    assert result["n_items"]["unseen"] == 3 * N_EACH
    assert all(is_interval(result["accuracy"][kind]) for kind in ("seen", "unseen"))
    assert result["accuracy"]["unseen"]["mean"] > 1 / 3
    for rule in ("uncalibrated", "calibrated"):
        found = result["together"][rule]
        assert min(found["seen"], found["unseen"]) - 1e-3 <= found["harmonic"]
        assert found["harmonic"] <= max(found["seen"], found["unseen"]) + 1e-3
    shown = unibind(*asked).out
    assert shown.startswith("set: 8 classes (3 unseen); trained on ")
    assert f"among unseen classes         {result['accuracy']['unseen']['mean']:.3f} [" in shown
    assert "calibration error" in shown
    assert not (here / "indexes").exists()  # the space's own head is not touched


def test_eval_can_say_who_finds_whom(unibind, folder, here):
    asked = ("eval", "--balance", "--data", "image=set", "--plot", "map.png")
    result = told(unibind(*asked, "--json"))
    assert set(result["items"]) == {"image", "text"}
    assert result["items"] == {"image": 32, "text": 8}
    cell = result["matrix"]["before"]["image"]["text"]
    assert cell["chance_at_1"] == pytest.approx(1 / 8, abs=1e-3)
    assert cell["r_at_1"] > cell["chance_at_1"]
    with Image.open(here / "map.png") as picture:
        assert picture.format == "PNG"
    shown = unibind(*asked).out
    assert "R@1 before centring" in shown
    assert shown.endswith("heat map: map.png\n")


ABLATE = ("ablate", "--data", "set", "--knowledge", "everyday", "--lines", 2, "--seeds", 1)


def test_ablate_gives_its_verdict_in_words_and_the_card_is_the_same_again(unibind, folder, here):
    result = told(unibind(*ABLATE, "--card", "card", "--json"))
    about = result["about"]
    assert (about["items"], about["classes"], about["unseen_classes"]) == (32, 8, 3)
    assert (about["lines_per_class"], about["seeds"]) == (2, [0])
    assert about["chance_unseen"] == pytest.approx(1 / 3, abs=1e-3)
    assert about["chance_seen"] == pytest.approx(1 / 5, abs=1e-3)
    arms = [row["arm"] for row in result["rows"]]
    assert set(arms) >= {
        "LLM", "class name", "domain word", "shared random words",
        "random orthogonal centers", "linear probe",
    }  # fmt: skip
    for row in result["rows"]:
        assert is_interval(row["seen"])
        assert row["unseen"] is None or is_interval(row["unseen"])
    assert [row["arm"] for row in result["rows"] if row["unseen"] is None] == ["linear probe"]
    lows = [result["differences"]["unseen"][arm]["low"] for arm in KEPT_OVER]
    assert result["is_kept"] == (min(lows) > 0)
    kept = "is kept" if result["is_kept"] else "is not kept"
    assert result["verdict"].startswith(f"LLM text {kept}: ")
    assert result["verdict"].endswith(" on unseen classes")

    first = {path.name: path.read_bytes() for path in (here / "card").iterdir()}
    assert set(first) >= {"card.md", "card.json", "card.png"}
    assert f"**{result['verdict']}.**" in first["card.md"].decode()
    assert json.loads(first["card.json"])["verdict"] == result["verdict"]
    shown = unibind(*ABLATE, "--card", "card").out
    assert f"{result['verdict']}.\n" in shown
    assert shown.endswith("card: card\n")
    again = {path.name: path.read_bytes() for path in (here / "card").iterdir()}
    for name in ("card.md", "card.json", "card.png"):
        assert again[name] == first[name], name


KEPT_OVER = ("domain word", "shared random words")


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        (["eval", "--data", "nope"], "no file or folder nope"),
        (["eval", "--data", "set", "--knowledge", "nope"], "no knowledge base 'nope'"),
        (["eval", "--data", "set", "--by-group"], "not all items of the set have a group"),
        (["eval", "--data", "two"], "2 classes have 2 items or more; 6 are needed"),
        (["eval", "--balance", "--data", "set"], "MODALITY=SET was needed: image=stamps"),
        (["eval", "--data", "set", "--modality", "smell"], "no modality 'smell'"),
        (["eval", "--data", "set", "--space", "nope"], "no space at nope"),
        (["ablate", "--data", "set", "--space", "nope"], "no space at nope"),
        (["ablate", "--data", "two"], "0 classes have 2 items or more; 6 are needed"),
        (["ablate", "--data", "set", "--lines", "900"], "900"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(unibind, folder, draw, here, arguments, telling):
    for n, name in enumerate(("two/x/a.png", "two/x/b.png", "two/y/a.png", "two/y/b.png")):
        draw(name, seed=n)
    finished = unibind(*arguments)
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith("error: ")
    assert finished.err.count("\n") == 1
    assert telling in finished.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval"],
        ["eval", "--data", "set", "--data", "set"],
        ["eval", "--data", "set", "--seeds", "0"],
        ["eval", "--data", "set", "--head", "forest"],
        ["ablate"],
        ["ablate", "--data", "set", "--lines", "0"],
    ],
)
def test_wrong_use_of_measuring_is_exit_code_2(unibind, arguments):
    finished = unibind(*arguments)
    assert (finished.code, finished.out) == (2, "")
    assert finished.err
