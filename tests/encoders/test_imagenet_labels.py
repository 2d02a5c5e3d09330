"""The 1000 names stand in the order of the logits, and no two are alike."""

import shutil
from pathlib import Path

import pytest

from unibind.encoders.imagenet_labels import read_labels
from unibind.errors import FetchError


@pytest.fixture
def folder(mini_cache: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mini_cache / "models" / "imagenet-labels", tmp_path / "labels"))


def test_there_are_a_thousand_different_names_each_with_a_definition(folder: Path) -> None:
    labels = read_labels(folder)
    assert len({label.name for label in labels}) == len(labels) == 1000
    assert len({label.synset for label in labels}) == 1000
    assert all(label.definition for label in labels)


def test_names_and_definitions_stand_at_the_index_of_their_logit(folder: Path) -> None:
    labels = read_labels(folder)
    # Rows that anyone can look up in the published class index of ILSVRC 2012.
    known = {0: "tench", 207: "golden retriever", 281: "tabby cat", 504: "coffee mug", 985: "daisy"}
    assert {row: labels[row].name.lower() for row in known} == known
    assert labels[134].name != labels[517].name, "crane the bird, crane the machine"
    assert "bird" in labels[134].definition
    assert "heavy objects" in labels[517].definition


def test_a_curated_name_of_two_classes_gives_way_to_wordnets(folder: Path) -> None:
    names = [label.name for label in read_labels(folder)]
    assert (names[744], names[657]) == ("projectile", "missile")
    assert (names[836], names[837]) == ("sunglass", "sunglasses")


def test_label_files_that_do_not_fit_each_other_are_named(folder: Path) -> None:
    synsets = folder / "imagenet_synsets.txt"
    synsets.write_text(synsets.read_text().replace("n01440764", "n99999999"))
    with pytest.raises(FetchError, match=r"do not fit each other.*n99999999"):
        read_labels(folder)
    synsets.write_text("n01440764\n")
    with pytest.raises(FetchError, match="do not fit each other"):
        read_labels(folder)


def test_a_source_without_the_names_is_named_and_never_run(folder: Path) -> None:
    (folder / "zero_shot_metadata.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(FetchError, match="assigns no IMAGENET_CLASSNAMES"):
        read_labels(folder)
