"""Learning from a few examples, judged on items whose true map into the space is known."""

from dataclasses import replace

import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.errors import InvalidInputError
from unibind.evaluation.few_shot import SHOTS, Captioned, few_shot

N_LARGE, N_EACH = 5, 24
N_SMALL = 30
"""Classes with too few items to be tested, which the head is trained on."""


@pytest.fixture
def items(draw):
    """Return a maker of items: a linear map of their captions' points, with noise.

    Captions of a class lie near its point.
    """

    def make(noise: float = 3.0, dim: int = 24) -> tuple[Captioned, ClassCenters]:
        names = [f"class {n:02d}" for n in range(N_LARGE + N_SMALL)]
        sizes = [N_EACH] * N_LARGE + [3] * N_SMALL
        points = unit(draw(len(names), dim, seed=1))
        rows = np.repeat(np.arange(len(names)), sizes)
        texts = unit(points[rows] + 0.4 * unit(draw(len(rows), dim, seed=2)))
        inputs = 3 * texts @ draw(dim, 40, seed=3) + noise * draw(len(rows), 40, seed=4)
        found = Captioned(
            inputs=inputs,
            prior=None,
            texts=texts,
            captions=[f"a {names[row]} of kind {n}" for n, row in enumerate(rows)],
            classes=[names[row] for row in rows],
            space="space",
            encoder="encoder",
        )
        lines = [point[None] for point in points]
        return found, ClassCenters.from_lines(names, lines, space="space")

    return make


def means(result):
    return {name: found["mean"] for name, found in result["accuracy"].items()}


@pytest.fixture
def measured(items):
    return few_shot(*items(), seeds=(0, 1))


def test_it_says_what_was_asked_of_how_many(measured):
    assert measured["shots"] == list(SHOTS)
    assert (measured["classes"], measured["chance"]) == (N_LARGE, 1 / N_LARGE)
    assert measured["tested"] == N_LARGE * (N_EACH - SHOTS[-1])
    assert measured["seeds"] == 2
    arms = {f"taught, {n}" for n in SHOTS} | {f"linear probe, {n}" for n in SHOTS[1:]}
    assert set(measured["accuracy"]) == arms
    assert set(measured["taught_minus_probe"]) == {str(n) for n in SHOTS[1:]}


def test_where_texts_mean_something_the_first_example_has_less_to_teach_than_a_probe_needs(
    measured,
):
    accuracy = means(measured)
    assert accuracy["taught, 0"] > 3 / N_LARGE
    assert accuracy["taught, 1"] > accuracy["linear probe, 1"]
    assert accuracy["taught, 16"] >= accuracy["taught, 0"]
    for n in SHOTS[1:]:
        difference = accuracy[f"taught, {n}"] - accuracy[f"linear probe, {n}"]
        assert measured["taught_minus_probe"][str(n)]["mean"] == pytest.approx(difference, abs=2e-4)


def test_where_texts_mean_nothing_examples_alone_teach(items):
    found, centers = items()
    wrong = replace(centers, vectors=np.roll(centers.vectors, 7, axis=0))
    accuracy = means(few_shot(found, wrong, seeds=(0, 1)))
    assert accuracy["taught, 0"] < 2 / N_LARGE
    assert accuracy["taught, 16"] > 0.8


def test_where_inputs_mean_nothing_nothing_is_learned(items, draw):
    found, centers = items()
    noise = replace(found, inputs=draw(*found.inputs.shape, seed=9))
    for mean in means(few_shot(noise, centers, seeds=(0, 1, 2))).values():
        assert mean == pytest.approx(1 / N_LARGE, abs=0.15)


def test_an_item_of_a_shown_caption_is_never_asked_about(items):
    """Else twins of the examples would be found, by their caption and not by their class."""
    found, centers = items()
    captions = [f"{name} {n % 20}" for n, name in enumerate(found.classes)]
    twins = replace(found, captions=captions)
    tested = few_shot(twins, centers, seeds=(0,))["tested"]
    # 24 items of 20 captions each: of the 16 shown, 4 at most have a twin that is left out.
    assert N_LARGE * 4 <= tested < N_LARGE * (N_EACH - SHOTS[-1])


def test_equal_seeds_give_equal_results_and_progress_is_told(items):
    found, centers = items()
    told = []
    once = few_shot(found, centers, seeds=(3, 4), progress=lambda *each: told.append(each))
    assert once == few_shot(found, centers, seeds=(3, 4))
    assert told == [(1, 2), (2, 2)]


def test_fewer_than_two_classes_with_enough_items_are_refused(items):
    found, centers = items()
    few = replace(found, classes=[f"{name} {n % 2}" for n, name in enumerate(found.classes)])
    with pytest.raises(InvalidInputError, match="0 classes have 18 items; at least 2 are needed"):
        few_shot(few, centers, seeds=(0,))
