"""An ablation of planted texts: what it must keep, what it must not, and its card."""

import hashlib
import json

import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.errors import InvalidInputError
from unibind.evaluation.ablation import ORTHOGONAL, PROBE, Asked, ablate
from unibind.evaluation.balance import Crowd, draw_matrix, measure_balance
from unibind.evaluation.card import markdown, write_card
from unibind.evaluation.class_texts import ARMS, text_arms
from unibind.evaluation.generalised import evaluate
from unibind.evaluation.labelled import LabelledItems, split_classes

CLASSES = tuple(f"thing{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(24))
WORDS = tuple(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60))
DIM = 12


def vector(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=DIM)


def embed(texts) -> np.ndarray:
    """Return texts as sums of their words: nothing but the words speaks."""
    rows = []
    for text in texts:
        words = [word.strip(".,") for word in text.split()]
        rows.append(sum(vector(word) for word in words))
    return unit(np.stack(rows))


@pytest.fixture(scope="module")
def lines():
    generator = np.random.default_rng(0)
    return {
        name: [" ".join(generator.choice(WORDS, 3)) + "." for _ in range(4)] for name in CLASSES
    }


def items_of(points, *, n_each: int = 6, noise: float = 0.6) -> LabelledItems:
    generator = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(CLASSES)), n_each)
    inputs = points[labels] @ generator.normal(size=(DIM, 20))
    inputs = inputs + noise * generator.normal(size=inputs.shape)
    names = [CLASSES[label] for label in labels]
    return LabelledItems.of(names, inputs.astype(np.float32), None, space="s", encoder="e")


@pytest.fixture(scope="module")
def made(lines):
    """Items look as their sentences say."""
    points = np.stack([embed(lines[name]).mean(axis=0) for name in CLASSES])
    return ablate(items_of(unit(points)), lines, embed, asked())


def asked(**how) -> Asked:
    given = {"data": "planted", "modality": "image", "knowledge": "kb 1", "medium": "photo"}
    return Asked(**(given | {"domain": "thing", "seeds": (0, 1)} | how))


def by_arm(made) -> dict:
    return {row["arm"]: row for row in made.rows}


def test_texts_that_tell_the_truth_are_kept(made):
    rows = by_arm(made)
    assert made.is_kept
    assert made.verdict.startswith("LLM text is kept: +")
    assert rows["LLM"]["unseen"]["mean"] > rows["domain word"]["unseen"]["mean"] + 0.2
    assert set(rows) == {*ARMS, ORTHOGONAL, PROBE}
    assert rows[PROBE]["unseen"] is None
    for kind in ("unseen", "seen"):
        for arm, found in made.differences[kind].items():
            less = rows["LLM"][kind]["mean"] - rows[arm][kind]["mean"]
            assert found["mean"] == pytest.approx(less, abs=2e-4)


def test_seen_classes_are_reached_through_random_points_too_and_unseen_ones_are_not(made):
    rows = by_arm(made)
    assert rows[ORTHOGONAL]["seen"]["mean"] > 5 * made.about["chance_seen"]
    assert rows[ORTHOGONAL]["unseen"]["mean"] < 3 * made.about["chance_unseen"]
    assert rows["LLM of the wrong class"]["unseen"]["mean"] < 3 * made.about["chance_unseen"]


def test_texts_that_say_nothing_are_not_kept(lines):
    elsewhere = unit(np.random.default_rng(5).normal(size=(len(CLASSES), DIM)))
    made = ablate(items_of(elsewhere), lines, embed, asked())
    assert not made.is_kept
    assert made.verdict.startswith("LLM text is not kept: ")
    assert "unseen classes" in made.verdict


def test_every_arm_has_as_many_texts_and_says_what_it_is(lines):
    arms = text_arms(lines, medium="recording", domain="machine", seed=0)
    assert tuple(arms) == ARMS
    assert {len(texts) for arm in arms.values() for texts in arm.values()} == {5}
    name = CLASSES[3]
    assert arms["class name"][name] == [name] * 5
    assert arms["LLM"][name] == [name, *lines[name]]  # as centers are made in use
    assert all(text.endswith("a kind of machine.") for text in arms["domain word"][name])
    wrong = arms["LLM of the wrong class"]
    assert all(wrong[each][1:] != lines[each] for each in CLASSES)
    for scrambled, line in zip(arms["LLM scrambled"][name], arms["LLM"][name], strict=True):
        assert sorted(scrambled.split()) == sorted(line.split())
    tails = {text.split(name)[1] for text in arms["shared random words"][name]}
    others = {text.split(CLASSES[0])[1] for text in arms["shared random words"][CLASSES[0]]}
    assert tails == others


def test_the_name_of_a_class_is_taken_out_of_its_lines_in_any_number():
    lines = {
        "hot dog": ["Two hot dogs, hot and long.", "Hot dog!"],
        "cat": ["A cat.", "Cats purr."],
    }
    arms = text_arms(lines, medium="photo", domain="thing", seed=0)["LLM without the class's name"]
    assert arms["hot dog"] == ["Two and long.", "it", "Two and long."]
    assert arms["cat"] == ["A", "purr.", "A"]


@pytest.mark.parametrize("n_lines", [0, 1, 6, 17])
def test_more_lines_than_all_classes_have_are_refused(lines, n_lines):
    with pytest.raises(InvalidInputError, match="the class with the fewest has 4"):
        text_arms(lines, medium="photo", domain="thing", seed=0, n_lines=n_lines)


def test_a_class_without_a_sentence_is_refused(lines):
    points = unit(np.random.default_rng(5).normal(size=(len(CLASSES), DIM)))
    some = {name: lines[name] for name in CLASSES[1:]}
    with pytest.raises(InvalidInputError, match="the class with the fewest has 0"):
        ablate(items_of(points), some, embed, asked())


def test_the_card_is_made_again_to_the_byte(made, lines, tmp_path):
    points = np.stack([embed(lines[name]).mean(axis=0) for name in CLASSES])
    again = ablate(items_of(unit(points)), lines, embed, asked())
    write_card(made, tmp_path / "one")
    write_card(again, tmp_path / "other")
    for name in ("card.md", "card.json", "card.png"):
        one, other = ((tmp_path / at / name).read_bytes() for at in ("one", "other"))
        assert one == other
        assert len(one) > 1000
    told = json.loads((tmp_path / "one" / "card.json").read_text())
    assert told["verdict"] == made.verdict
    assert told["about"]["knowledge"] == "kb 1"


def test_the_card_says_the_verdict_chance_and_every_arm(made):
    text = markdown(made)
    assert f"**{made.verdict}.**" in text
    assert "| chance |" in text
    for row in made.rows:
        assert row["arm"] in text


# Seen and unseen classes together.


def test_both_kinds_of_classes_are_told_with_and_without_the_penalty(lines):
    points = unit(np.stack([embed(lines[name]).mean(axis=0) for name in CLASSES]))
    centers = ClassCenters(CLASSES[::-1], points[::-1, None, :], "s", centred=False)
    told = []
    found = evaluate(items_of(points), centers, seeds=(0, 1), progress=lambda *at: told.append(at))
    assert told == [(1, 2), (2, 2)]
    assert found.accuracy["unseen"]["mean"] > 0.6
    assert found.together["calibrated"]["unseen"] > found.together["uncalibrated"]["unseen"]
    assert found.n_classes == {"all": 24, "unseen": 8}
    assert found.unknown["auroc"] > 0.6
    for kind in ("seen", "unseen", "mixed"):
        assert 0 <= found.calibration_error[kind]["error"] <= 1
    missing = ClassCenters(CLASSES[1:], points[1:, None, :], "s")
    with pytest.raises(InvalidInputError, match=f"1 labels have no center, first '{CLASSES[0]}'"):
        evaluate(items_of(points), missing, seeds=(0,))


def test_no_group_is_trained_on_and_tested(lines):
    points = unit(np.random.default_rng(5).normal(size=(len(CLASSES), DIM)))
    plain = items_of(points)
    groups = [f"person {row % 5}" for row in range(len(plain.labels))]
    names = [CLASSES[label] for label in plain.labels]
    items = LabelledItems.of(names, plain.inputs, None, space="s", encoder="e", groups=groups)
    split = split_classes(items, seed=0)
    assert not set(items.groups[split.train]) & set(items.groups[split.seen])
    assert not set(items.labels[split.unseen]) & set(items.labels[split.train])
    assert set(items.labels[split.seen]) <= set(items.labels[split.train])


def test_too_few_classes_are_refused():
    with pytest.raises(InvalidInputError, match="1 of 2 classes have 2 items or more; at least 2"):
        LabelledItems.of(["a", "a", "b"], np.zeros((3, 2)), None, space="s", encoder="e")
    with pytest.raises(InvalidInputError, match="3 items with 2 labels"):
        LabelledItems.of(["a", "a"], np.zeros((3, 2)), None, space="s", encoder="e")


# Balance.


def crowds(shift: float) -> dict[str, Crowd]:
    generator = np.random.default_rng(0)
    points = unit(generator.normal(size=(20, DIM)))
    names = [f"name {n}" for n in range(20)]
    offset = shift * unit(generator.normal(size=DIM))
    near = unit(points + 0.1 * generator.normal(size=points.shape))
    away = unit(np.repeat(points, 2, axis=0) + 0.1 * generator.normal(size=(40, DIM)) + offset)
    return {"text": Crowd(near, names), "image": Crowd(away, [n for n in names for _ in range(2)])}


def test_centring_closes_the_gap_and_lets_modalities_find_each_other():
    found = measure_balance(crowds(shift=2.0))
    assert found.gap["after"] < 0.2 * found.gap["before"]
    change = found.mean_average_precision["after minus before"]
    assert change["low"] > 0
    after = found.matrix["after"]
    assert after["image"]["text"]["r_at_1"] > 0.9
    assert after["image"]["text"]["chance_at_1"] == pytest.approx(1 / 20, abs=1e-4)
    assert (
        after["text"]["text"]["n"] == 0
    )  # no other text has its name, and it is not its own answer
    assert after["text"]["text"]["r_at_1"] is None
    assert after["image"]["image"]["n"] == 40
    assert after["image"]["image"]["chance_at_5"] == pytest.approx(5 / 39, abs=1e-3)
    assert draw_matrix(found) == draw_matrix(found)


def test_a_hub_is_seen():
    even = measure_balance(crowds(shift=0.0)).hubness["before"]
    given = crowds(shift=0.0)
    middle = unit(given["text"].embeddings.mean(axis=0, keepdims=True))
    rows = np.concatenate([given["text"].embeddings, np.repeat(middle, 1, axis=0)])
    pulled = unit(rows + 1.5 * middle)  # a cone around the middle, where the hub lies
    crowd = Crowd(pulled, [*given["text"].names, "the hub"])
    assert measure_balance({"text": crowd, "image": given["image"]}).hubness["before"] > even


def test_a_balance_needs_two_modalities_that_share_a_name():
    given = crowds(shift=0.0)
    with pytest.raises(InvalidInputError, match="1 modality"):
        measure_balance({"text": given["text"]})
    other = Crowd(given["text"].embeddings, [f"other {n}" for n in range(20)])
    with pytest.raises(InvalidInputError, match="share no name"):
        measure_balance({"text": given["text"], "image": other})
