from dataclasses import replace

import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.errors import InvalidInputError
from unibind.evaluation.zero_shot import LabelledPictures, ZeroShot, label_pictures, zero_shot

N_CLASSES, N_EACH = 30, 8
NAMES = [f"thing{chr(97 + n // 26)}{chr(97 + n % 26)}k" for n in range(N_CLASSES)]


@pytest.fixture(scope="module")
def points(draw):
    return unit(draw(N_CLASSES, 12))


def centers_of(points, labels=tuple(NAMES)):
    return ClassCenters(labels, points[:, None, :], space="the space of these tests")


@pytest.fixture(scope="module")
def measure(plant, points, draw):
    """Return what the protocol says of pictures as `plant` makes them."""

    def run(**how) -> ZeroShot:
        captions = [f"A {NAMES[n % N_CLASSES]}." for n in range(N_CLASSES * N_EACH)]
        labelled = label_pictures(plant(captions, points, **how), NAMES)
        blurred = unit(points + 0.15 * draw(*points.shape, seed=7))  # a name says less
        return zero_shot(
            labelled, knowledge=centers_of(points), names=centers_of(blurred), seeds=range(3)
        )

    return run


@pytest.fixture(scope="module")
def clear(measure) -> ZeroShot:
    return measure(own=0.7, noise=0.5, prior_noise=0.4)


def r_at_1(rows) -> dict[str, float]:
    return {row["arm"]: row["r_at_1"] for row in rows}


def test_no_head_has_seen_an_unseen_class(measure):
    """Inputs name the classes, but tell nothing of what they mean: who has seen one knows it."""
    outcome = measure(told=0, own=1)
    unseen, seen = r_at_1(outcome.unseen), r_at_1(outcome.seen)
    assert max(unseen.values()) < 0.35  # chance is 0.1, and classes stand and fall as one
    assert seen["head + prior"] > 0.9
    assert seen["supervised ceiling: linear probe"] > 0.9


def test_heads_place_unseen_classes_by_what_their_centers_say(clear):
    unseen = r_at_1(clear.unseen)
    assert unseen["chance"] < 0.2
    assert unseen["raw pixels"] < 0.3
    assert unseen["head"] > 0.6
    assert unseen["head, wrong class's sentences"] < unseen["head"] - 0.3
    assert unseen["head + prior"] > unseen["prior"]
    for name in ("head + prior minus prior", "head minus head, wrong class's sentences"):
        found = clear.differences[name]
        assert 0 < found.low <= found.mean <= found.high


def test_differences_are_those_of_the_rows(clear):
    unseen = r_at_1(clear.unseen)
    assert len(clear.differences) == 4
    for name, found in clear.differences.items():
        one, other = name.split(" minus ")
        assert found.mean == pytest.approx(unseen[one] - unseen[other], abs=2e-4)


def test_a_third_of_the_classes_is_unseen_and_the_rest_competes_as_seen(clear):
    for row in clear.unseen:
        assert (row["gallery"], row["n"], row["seeds"]) == (10, 10 * N_EACH, 3)
    for row in clear.seen:
        assert row["gallery"] == 20
        assert abs(row["n"] - 20 * N_EACH / 3) < 10
    for rows in (clear.unseen, clear.seen):
        assert [row["arm"] for row in rows if row["default"]] == ["head + prior"]


@pytest.mark.parametrize("arm", ["head + prior", "head"])
def test_calibration_lets_unseen_classes_win_against_seen_ones(clear, arm):
    raw = clear.generalised[f"{arm}, uncalibrated"]
    calibrated = clear.generalised[f"{arm}, calibrated"]
    assert raw["unseen"] < raw["seen"]  # the bias that is to be mended
    assert calibrated["unseen"] > raw["unseen"]
    # Where hardly anything is wrong there is nothing to win.
    assert calibrated["harmonic"] > raw["harmonic"] - 0.01
    assert calibrated["harmonic"] > raw["harmonic"] or raw["harmonic"] > 0.9
    for found in (raw, calibrated):
        assert all(0 <= value <= 1 for value in found.values())


def test_the_same_seeds_say_the_same(measure, plant, points):
    captions = [f"A {NAMES[n % N_CLASSES]}." for n in range(N_CLASSES * N_EACH)]
    labelled = label_pictures(plant(captions, points), NAMES)
    reported = []
    centers = centers_of(points)
    one, other = (
        zero_shot(
            labelled,
            knowledge=centers,
            names=centers,
            seeds=[7],
            progress=lambda done, total: reported.append((done, total)),
        )
        for _ in range(2)
    )
    assert one == other
    assert reported == [(1, 1), (1, 1)]


def test_pictures_are_labelled_by_the_class_that_their_caption_names(plant, draw):
    captions = [f"A {NAMES[n % 7]}." for n in range(21)] + ["A rare bird.", f"{NAMES[7]}s"] * 2
    pictures = plant(captions, unit(draw(len(set(captions)), 4)))
    labelled = label_pictures(pictures, [*reversed(NAMES)])
    # NAMES[7] is named by two pictures only, the others by none.
    assert labelled.classes == tuple(reversed(NAMES[:7]))
    assert labelled.rows.tolist() == list(range(21))
    assert [labelled.classes[c] for c in labelled.labels] == [NAMES[n % 7] for n in range(21)]


def test_five_classes_with_pictures_are_too_few(plant, draw):
    pictures = plant([NAMES[n % 5] for n in range(15)], unit(draw(5, 4)))
    with pytest.raises(InvalidInputError, match="5 classes are named by 3 pictures or more, 6 are"):
        label_pictures(pictures, NAMES)


def test_centers_of_other_classes_are_refused(plant, points):
    captions = [NAMES[n % N_CLASSES] for n in range(90)]
    labelled: LabelledPictures = label_pictures(plant(captions, points), NAMES)
    right, turned = centers_of(points), centers_of(points, tuple(reversed(NAMES)))
    for knowledge, names in ((right, turned), (turned, right)):
        with pytest.raises(InvalidInputError, match="not of these, one by one"):
            zero_shot(labelled, knowledge=knowledge, names=names, seeds=[0])
    fewer = replace(right, labels=right.labels[:9], vectors=np.copy(right.vectors[:9]))
    with pytest.raises(InvalidInputError, match="30 classes"):
        zero_shot(labelled, knowledge=fewer, names=right, seeds=[0])
