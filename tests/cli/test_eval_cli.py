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
    # One seed leaves three classes out: too few to tell by, and the verdict says so.
    assert not result["is_kept"]
    assert result["verdict"].startswith("Whether LLM text helps cannot be told from 3 classes")
    assert result["verdict"].endswith(" on unseen classes")
    assert result["chosen"] == "class name"

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


def test_sets_are_one_when_several_are_given_and_verdicts_follow_the_intervals(unibind, folder):
    result = told(unibind(*ABLATE[:2], "set", "--data", "set", *ABLATE[3:-1], 3, "--json"))
    assert result["about"]["items"] == 2 * len(CLASSES) * N_EACH
    assert result["about"]["data"] == "set (set) + set (set)"
    lows = [result["differences"]["unseen"][arm]["low"] for arm in KEPT_OVER]
    kept = "is kept" if min(lows) > 0 else "is not kept"
    assert result["is_kept"] == (min(lows) > 0)
    assert result["verdict"].startswith(f"LLM text {kept}: ")
    assert (result["chosen"] == "LLM") == result["is_kept"]


def test_three_classes_are_measured_and_nothing_is_claimed(unibind, folder, here):
    for name in CLASSES[3:]:
        shutil.rmtree(folder / name)
    result = told(unibind(*ABLATE, "--card", "card", "--json"))
    assert result["about"]["unseen_classes"] == 0
    assert all(row["unseen"] is None and row["harmonic"] is None for row in result["rows"])
    assert "cannot be told: of fewer than 4 classes none can be left out" in result["verdict"]
    assert "cannot be told" in (here / "card" / "card.md").read_text(encoding="utf-8")
    shown = unibind(*ABLATE).out
    assert "cannot be told" in shown
    found = told(unibind("eval", "--data", "set", "--seeds", 2, "--json"))
    assert is_interval(found["accuracy"]["seen"])
    assert (found["accuracy"]["unseen"], found["together"]) == (None, {})
    assert "none can be left out" in unibind("eval", "--data", "set", "--seeds", 1).out


def test_a_set_of_a_users_own_can_be_a_table(unibind, folder, here):
    rows = [f"{path},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    Path("mine.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    asked = ("eval", "--data", "mine.csv", "--seeds", 2, "--json")
    by_table, by_folder = (
        told(unibind(*asked[:2], each, *asked[3:])) for each in ("mine.csv", "set")
    )
    assert by_table["accuracy"] == by_folder["accuracy"]
    assert by_table["together"].keys() == {"uncalibrated", "calibrated"}


def test_classes_that_the_base_does_not_know_are_named_with_the_way_out(unibind, folder, here):
    for n, name in enumerate(CLASSES[1:]):
        (folder / name).rename(folder / f"pump {n}")
    refused = unibind(*ABLATE)
    assert (refused.code, refused.out) == (1, "")
    assert "1 of the set's classes are in the knowledge base 'everyday'" in refused.err
    assert 'unibind knowledge build mine --classes "apple,pump 0,pump 1' in refused.err
    (folder / "pump 0").rename(folder / "guitar")
    shown = unibind(*ABLATE).out
    assert "left out: 24 items (label is no class of everyday)" in shown
    assert "for all classes: have sentences written" in shown


def test_an_interrupted_ablation_goes_on_where_it_was(unibind, folder, here, monkeypatch):
    from unibind.evaluation import seed_run

    asked = (*ABLATE[:-1], 3, "--json")
    whole = unibind(*asked).out
    done = []
    probe = seed_run.SeedRun.probe

    def until_the_third(run):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(run)
        return probe(run)

    monkeypatch.setattr(seed_run.SeedRun, "probe", until_the_third)
    assert unibind(*asked).code == 130
    monkeypatch.setattr(seed_run.SeedRun, "probe", lambda run: done.append(run) or probe(run))
    assert unibind(*asked).out == whole
    assert len(done) == 3  # two before, and only the third after


KEPT_OVER = ("domain word", "shared random words")


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        (["eval", "--data", "nope"], "no file or folder nope"),
        (["eval", "--data", "set", "--knowledge", "nope"], "no knowledge base 'nope'"),
        (["eval", "--data", "set", "--by-group"], "not all items of the set have a group"),
        (["eval", "--data", "one"], "1 of 1 classes have 2 items or more; at least 2"),
        (["eval", "--balance", "--data", "set"], "MODALITY=SET was needed: image=stamps"),
        (["eval", "--data", "set", "--modality", "smell"], "no modality 'smell'"),
        (["eval", "--data", "set", "--space", "nope"], "no space at nope"),
        (["ablate", "--data", "set", "--space", "nope"], "no space at nope"),
        (["ablate", "--data", "two"], "0 of the set's classes are in the knowledge base"),
        (
            ["ablate", "--data", "set", "--group-column", "nope"],
            "the column 'nope' of set is empty",
        ),
        (["ablate", "--data", "sounds"], "if they are something else, say --modality audio"),
        (["ablate", "--data", "set", "--lines", "900"], "900"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(unibind, folder, draw, here, arguments, telling):
    for n, name in enumerate(("two/x/a.png", "two/x/b.png", "two/y/a.png", "two/y/b.png")):
        draw(name, seed=n)
    draw("one/x/a.png")
    draw("one/x/b.png", seed=1)
    draw("sounds/x/a.wav")
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
        ["ablate", "--data", "set", "--lines", "1"],
    ],
)
def test_wrong_use_of_measuring_is_exit_code_2(unibind, arguments):
    finished = unibind(*arguments)
    assert (finished.code, finished.out) == (2, "")
    assert finished.err
