"""The quickstart as a program calls it: real weights, both sets, one seed."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unibind
from unibind import artifact
from unibind.quickstart import Quickstart, quickstart


class Notes:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ends: dict[str, tuple[int, int]] = {}

    def say(self, message: str) -> None:
        self.said.append(message)

    @contextlib.contextmanager
    def progress(self, label: str, *, in_bytes: bool = False):
        def update(n_done: int, n_total: int) -> None:
            assert 0 <= n_done <= n_total
            assert n_done >= self.ends.get(label, (0, 0))[0]  # it never goes back
            self.ends[label] = (n_done, n_total)

        yield update


@pytest.fixture(scope="module")
def notes() -> Notes:
    return Notes()


@pytest.fixture(scope="module")
def built(tmp_path_factory, stamps, emoji, notes) -> Quickstart:
    root = tmp_path_factory.mktemp("quickstart") / "space"
    return quickstart(root, reporter=notes, seeds=(0,))


@pytest.fixture(scope="module")
def row(built) -> dict[str, dict]:
    return {row["arm"]: row for row in built.table}


def test_the_table_tells_the_whole_story_with_one_default(row):
    assert [arm for arm, at in row.items() if at["default"]] == ["head + prior"]
    assert set(row) >= {
        "chance",
        "raw pixels",
        "prior",
        "head",
        "head + prior",
        "head + prior, captions permuted",
        "unseen classes: everyday centers",
        "unseen classes: class-name centers",
        "seen classes: everyday centers",
        "seen classes: linear probe (supervised ceiling)",
    }


def test_every_number_is_a_share_within_its_interval(built):
    tables = built.tables
    for at in [*built.table, *tables["captions"], *tables["unseen"], *tables["seen"]]:
        for k in (1, 5):
            low, high = at[f"interval_r_at_{k}"]
            assert 0 <= low <= at[f"r_at_{k}"] <= high <= 1, at
        assert at["r_at_1"] <= at["r_at_5"]
        assert at["chance"] == round(1 / at["gallery"], 4)
        assert (at["seeds"], at["n"] > 50) == (1, True)


def test_the_default_is_above_chance_raw_pixels_and_the_permuted_control(row):
    default = row["head + prior"]["r_at_1"]
    assert row["chance"]["interval_r_at_1"][0] <= row["chance"]["chance"]
    for arm in ("chance", "raw pixels"):
        assert row["head + prior"]["interval_r_at_1"][0] > row[arm]["interval_r_at_1"][1]
    assert default > row["head + prior, captions permuted"]["r_at_1"]
    assert row["unseen classes: everyday centers"]["r_at_1"] > 0.25  # ten times chance


def test_calibration_raises_the_harmonic_mean_of_seen_and_unseen(built):
    of = built.tables["generalised"]
    for arm in ("head + prior", "head"):
        assert of[f"{arm}, calibrated"]["harmonic"] > of[f"{arm}, uncalibrated"]["harmonic"]


def test_four_pictures_show_something(built):
    assert [path.name for path in built.pictures] == [
        "map.png",
        "search-picture-to-pictures.png",
        "search-picture-to-words.png",
        "search-words-to-pictures.png",
    ]
    for path in built.pictures:
        with Image.open(path) as opened:
            assert opened.format == "PNG"
            pixels = np.asarray(opened.convert("L"))
        assert min(pixels.shape) > 200
        assert 0.01 < (pixels < 250).mean() < 0.9  # neither blank nor black


def test_the_report_holds_every_table_and_names_data_and_licences(built):
    text = (built.folder / "report.md").read_text(encoding="utf-8")
    for name in ("captions", "unseen", "seen"):
        for at in built.tables[name]:
            shown = f"**{at['arm']}**" if at["default"] else at["arm"]
            assert any(
                line.startswith(f"| {shown} | ") and f"{at['r_at_5']:.3f}" in line
                for line in text.splitlines()
            ), at["arm"]
    for path in built.pictures:
        assert f"]({path.name})" in text
    for word in ("GPL-2.0", "CC-BY-4.0", "Tux Paint", "Twitter", *built.tables["generalised"]):
        assert word in text


def test_it_said_what_it_did_and_every_bar_ended(built, notes):
    for words in ("stamps: ", "emoji: ", "encoding ", "measuring ", "training ", "storing "):
        assert any(line.startswith(words) for line in notes.said), words
    for label in ("encoding", "measuring"):
        n_done, n_total = notes.ends[label]
        assert n_done == n_total > 0


def test_the_space_that_it_built_searches_and_classifies(built, stamps):
    root = built.folder.parent
    for name in ("space", "heads/image", "centers/everyday", "report"):
        assert artifact.exists(root / name), name
    path_of: dict[str, Path] = {item.key: item.path for item in stamps.items}
    owl = path_of["animals/birds/owl.png"]
    with unibind.open(root) as engine:
        captioned = [item for item in stamps.items if item.caption]
        assert engine.count("image") == len(captioned)
        assert engine.count("text") == len({item.caption for item in captioned})
        assert engine.search("image", [owl], into=["image"], k=1)[0][0].key.endswith("owl.png")
        found = engine.search("text", ["an owl"], into=["image"], k=5)[0]
        assert "animals/birds/owl.png" in [hit.key for hit in found]
        first = engine.classify("image", [owl], classes=["a bird", "a car", "a fruit"])[0][0]
        assert first.label == "a bird"


def test_run_again_it_shows_the_same_at_once(built):
    notes = Notes()
    again = quickstart(built.folder.parent, reporter=notes, seeds=(0,))
    assert not again.is_new
    assert again.seconds < built.seconds
    assert (again.tables, again.table, again.pictures) == (
        built.tables, built.table, built.pictures,
    )  # fmt: skip
    assert any("nothing has changed" in line for line in notes.said)
    assert "measuring" not in notes.ends
