import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unibind.errors import InvalidInputError
from unibind.evaluation import arms  # pytest would collect a class whose name begins with Test
from unibind.evaluation.arms import ranks_of, row_of
from unibind.evaluation.bootstrap import summary

# Few distinct values, so that there are ties.
SCORES = arrays(np.float32, (6, 5), elements=st.sampled_from([-1.0, 0.0, 0.25, 1.0]))
LABELS = arrays(np.int64, 6, elements=st.integers(0, 4))


@given(SCORES, LABELS)
def test_a_rank_counts_the_answers_that_are_as_good_as_the_right_one(scores, labels):
    slow = [
        sum(scores[n, c] >= scores[n, labels[n]] for c in range(5) if c != labels[n])
        for n in range(6)
    ]
    assert ranks_of(scores, labels).tolist() == slow


def test_an_arm_without_an_opinion_is_always_last():
    ranks = ranks_of(np.zeros((3, 4), dtype=np.float32), np.array([0, 1, 3]))
    assert ranks.tolist() == [3, 3, 3]


def test_nan_never_counts_for_an_item():
    scores = np.array([[np.nan, 0, 0.5], [1, np.nan, 0]], dtype=np.float32)
    assert ranks_of(scores, np.array([0, 0])).tolist() == [2, 1]


def test_within_k_counts_ranks_below_k():
    tested = arms.Tested(np.array([0, 1, 4, 5]), np.array(["a", "a", "b", "c"]), 9)
    assert tested.within(1).values.tolist() == [1, 0, 0, 0]
    assert tested.within(5).values.tolist() == [1, 1, 1, 0]
    assert tested.within(5).clusters.tolist() == ["a", "a", "b", "c"]


def test_a_row_holds_the_means_over_seeds_and_their_intervals():
    generator = np.random.default_rng(0)
    names = np.array([f"c{n % 7}" for n in range(40)])
    tested = [
        arms.Tested(generator.integers(0, 12, 40), names, 12),
        arms.Tested(generator.integers(0, 13, 20), names[:20], 13),
        arms.Tested(generator.integers(0, 14, 30), names[:30], 14),
    ]
    row = row_of("head", tested, default=True, note="a note")
    for k in (1, 5):
        expected = summary([each.within(k) for each in tested])
        assert row[f"r_at_{k}"] == round(expected.mean, 4)
        ends = [round(expected.low, 4), round(expected.high, 4)]
        assert row[f"interval_r_at_{k}"] == ends
    assert (row["arm"], row["default"], row["note"]) == ("head", True, "a note")
    assert (row["n"], row["gallery"], row["seeds"]) == (30, 13, 3)
    assert row["chance"] == round(1 / 13, 4)


def test_an_arm_that_was_never_tested_has_no_row():
    with pytest.raises(InvalidInputError, match="nothing was tested"):
        row_of("head", [])
