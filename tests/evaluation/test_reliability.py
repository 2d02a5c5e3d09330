import numpy as np
import pytest

from unibind.errors import InvalidInputError
from unibind.evaluation.reliability import (
    auroc,
    calibration_error,
    calibration_floor,
    calibration_interval,
    debiased_calibration_error,
)


def test_the_calibration_error_is_that_of_a_slow_loop():
    generator = np.random.default_rng(0)
    belief, right = generator.random(200), generator.random(200) < 0.5
    total = 0.0
    for low in range(10):
        inside = [n for n in range(200) if low <= min(belief[n] * 10, 9.99) < low + 1]
        if inside:
            gap = np.mean([belief[n] for n in inside]) - np.mean([right[n] for n in inside])
            total += abs(gap) * len(inside) / 200
    assert calibration_error(belief, right) == pytest.approx(total)


def test_the_floor_is_what_perfect_belief_shows_and_falls_with_more_items():
    belief = np.random.default_rng(0).random(4000)
    assert calibration_floor(belief[:40]) > 3 * calibration_floor(belief)
    right = np.random.default_rng(1).random(4000) < belief
    assert calibration_error(belief, right) == pytest.approx(calibration_floor(belief), abs=0.02)
    assert calibration_error(belief, np.zeros(4000, dtype=bool)) > 0.4


def test_auroc_counts_pairs_and_ties_half():
    ones, others = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0])
    wins = sum((a > b) + 0.5 * (a == b) for a in ones for b in others)
    assert auroc(ones, others) == pytest.approx(wins / 6)
    assert auroc(others, ones) == pytest.approx(1 - wins / 6)


def test_nothing_to_measure_is_refused():
    with pytest.raises(InvalidInputError, match="0 probabilities with 0 outcomes"):
        calibration_error(np.zeros(0), np.zeros(0, dtype=bool))
    with pytest.raises(InvalidInputError, match="2 probabilities with 1 outcomes"):
        calibration_error(np.zeros(2), np.zeros(1, dtype=bool))
    with pytest.raises(InvalidInputError, match="both were needed"):
        auroc(np.zeros(0), np.zeros(3))


def test_the_debiased_error_takes_off_what_chance_adds_and_no_more():
    generator = np.random.default_rng(0)
    plain, debiased = [], []
    for draw in range(30):
        belief = generator.random(200)
        right = generator.random(200) < belief
        plain.append(calibration_error(belief, right))
        debiased.append(debiased_calibration_error(belief, right, seed=draw))
    assert np.mean(debiased) < 0.7 * np.mean(plain)
    belief = np.full(2000, 0.9)  # one bin, far off: chance hardly matters
    right = np.arange(2000) % 2 == 0
    assert debiased_calibration_error(belief, right) == pytest.approx(0.4, abs=0.01)


def test_the_interval_of_the_error_holds_the_truth_and_is_wider_where_items_stand_together():
    generator = np.random.default_rng(0)
    belief = np.full(400, 0.75)
    group = np.repeat(np.arange(20), 20)
    right = (generator.random(20) < 0.5)[group]  # whole groups are right or wrong
    low, high = calibration_interval(belief, right, group)
    assert low <= abs(0.75 - right.mean()) <= high
    each = calibration_interval(belief, right, np.arange(400))
    assert high - low > 2 * (each[1] - each[0])
