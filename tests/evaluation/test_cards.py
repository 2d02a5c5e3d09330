"""The committed model cards: whole, told alike in words and numbers, and what mini ships."""

import json
import tomllib
from pathlib import Path

import pytest

from unibind.engine.recipes import CLASS_TEXTS, RECIPES, UNMEASURED, class_texts_of
from unibind.errors import InvalidInputError
from unibind.evaluation.card import markdown, read_card
from unibind.evaluation.class_texts import ARMS, KEPT_OVER
from unibind.evaluation.verdict import FEWEST
from unibind.knowledge.class_texts import KINDS, LLM, NAME, ClassTexts

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "benchmarks" / "results" / "cards"
RECIPE = tomllib.loads((ROOT / "benchmarks" / "ablate.toml").read_text(encoding="utf-8"))

AS_PICTURES = {"thermal": "image"}
"""Nobody's labelled set of these was found: they go through the image tower."""


def modality_of(name: str) -> str:
    return RECIPE[name].get("modality", name)


@pytest.mark.parametrize("name", RECIPE)
def test_a_card_says_in_words_what_its_numbers_are(name):
    card = read_card(CARDS / name)  # its hashes are checked
    assert (CARDS / name / "card.md").read_text(encoding="utf-8") == markdown(card)
    assert card.about["modality"] == modality_of(name)
    assert len(card.about["seeds"]) >= 5
    assert {row["arm"] for row in card.rows} == {
        *ARMS,
        "random orthogonal centers",
        "linear probe",
    }
    lows = [card.differences["unseen"][arm]["low"] for arm in KEPT_OVER]
    is_shown = min(lows) > 0 and card.about["classes"] >= FEWEST
    assert card.is_kept == is_shown == (card.chosen == LLM)


@pytest.mark.parametrize("name", RECIPE)
def test_mini_ships_what_the_card_chose(name):
    card = json.loads((CARDS / name / "card.json").read_text(encoding="utf-8"))
    shipped = CLASS_TEXTS[modality_of(name)]
    assert shipped.kind == card["chosen"]
    if "medium" not in RECIPE[name]:
        assert (shipped.medium, shipped.domain) == (
            card["about"]["medium"],
            card["about"]["domain"],
        )


def test_every_sense_of_mini_has_a_card_or_is_asked_as_pictures_are():
    measured = {modality_of(name) for name in RECIPE}
    assert set(RECIPES["mini"].encoders) == measured | AS_PICTURES.keys()
    for modality, like in AS_PICTURES.items():
        assert CLASS_TEXTS[modality].kind == CLASS_TEXTS[like].kind


def test_a_modality_that_nobody_measured_takes_names_until_somebody_does():
    assert class_texts_of("depth") == UNMEASURED
    assert UNMEASURED.kind == NAME
    assert class_texts_of("depth", LLM).kind == LLM
    with pytest.raises(InvalidInputError, match="no text of a class is called 'poems'; there are"):
        class_texts_of("image", "poems")


def test_each_kind_of_text_says_the_class_and_only_one_needs_sentences():
    said = {kind: ClassTexts(kind, "picture", "fruit").of("apple", ["Red."]) for kind in KINDS}
    assert said["class name"] == ["apple"]
    assert said["LLM"] == ["apple", "Red."]
    assert said["hand templates"][0] == "a picture of an apple."
    assert said["domain word"][0] == "a picture of an apple, a kind of fruit."
    assert len(said["domain word"]) == len(said["hand templates"]) == 16
    assert ClassTexts("hand templates", "audio clip").of("the sea", [])[7] == (
        "an audio clip of the sea."
    )


def test_the_page_on_the_method_shows_the_cards_as_they_are():
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    rows = [
        line
        for line in (CARDS / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| [")
    ]
    assert len(rows) == len(RECIPE)
    for row in rows:
        assert row.replace("](", "](../benchmarks/results/cards/") in page
    for name in RECIPE:
        card = json.loads((CARDS / name / "card.json").read_text(encoding="utf-8"))
        mean = next(each["unseen"]["mean"] for each in card["rows"] if each["arm"] == LLM)
        (row,) = [each for each in rows if each.startswith(f"| [{name}]")]
        assert f" {mean:.3f} " in row
        assert row.endswith(f" {card['chosen']} |")
