import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unibind.alignment.decision import decide, is_same_class
from unibind.errors import InvalidInputError

LABELS = ("a cat", "a dog", "a crane")


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 4), st.integers(1, 6)),
        elements=st.floats(-1, 1, width=32),
    )
)
def test_every_class_is_listed_once_by_score_with_probabilities_that_sum_to_one(scores):
    labels = [f"class {c}" for c in range(scores.shape[1])]
    decided = decide(scores, labels, temperature=0.05)
    assert len(decided) == len(scores)
    for row, predictions in zip(scores, decided, strict=True):
        assert sorted(each.label for each in predictions) == labels
        for each in predictions:
            assert each.score == row[labels.index(each.label)]
        assert [each.score for each in predictions] == sorted(row.tolist(), reverse=True)
        assert sum(each.probability for each in predictions) == pytest.approx(1, abs=1e-5)
        shares = [each.probability for each in predictions]
        assert shares == sorted(shares, reverse=True)


def test_a_probability_is_the_softmax_of_score_by_temperature():
    scores = np.array([[0.3, 0.1, -0.2]], dtype=np.float32)
    (predictions,) = decide(scores, LABELS, temperature=0.2)
    powers = [math.exp(score / 0.2) for score in (0.3, 0.1, -0.2)]
    for each, power in zip(predictions, powers, strict=True):
        assert each.probability == pytest.approx(power / sum(powers), rel=1e-5)


def test_equal_scores_keep_the_order_of_the_classes():
    (predictions,) = decide(np.zeros((1, 3), dtype=np.float32), LABELS, temperature=0.05)
    assert [each.label for each in predictions] == list(LABELS)


def test_the_top_classes_keep_their_shares_among_all():
    scores = np.random.default_rng(0).uniform(-1, 1, (4, 3)).astype(np.float32)
    whole = decide(scores, LABELS, temperature=0.05)
    assert decide(scores, LABELS, temperature=0.05, top=2) == [row[:2] for row in whole]
    assert decide(scores, LABELS, temperature=0.05, top=99) == whole
    with pytest.raises(InvalidInputError, match="top is 0; at least 1 class"):
        decide(scores, LABELS, temperature=0.05, top=0)


def test_values_are_plain_python_and_labels_are_as_given():
    (predictions,) = decide(np.ones((1, 3), dtype=np.float32), np.array(LABELS), temperature=0.05)
    assert [type(predictions[0].score), type(predictions[0].probability)] == [float, float]
    assert isinstance(predictions[0].label, str)


def test_the_penalty_is_taken_from_seen_classes_where_unseen_ones_compete():
    scores = np.array([[0.5, 0.4, 0.3]], dtype=np.float32)
    (predictions,) = decide(scores, LABELS, temperature=0.05, seen=["cat"], seen_penalty=0.15)
    assert [each.label for each in predictions] == ["a dog", "a cat", "a crane"]
    assert predictions[1].score == pytest.approx(0.35)


@pytest.mark.parametrize("seen", [(), ("elephant",), ("cat", "dog", "crane"), LABELS])
def test_classes_of_one_kind_only_are_not_penalised(seen):
    scores = np.array([[0.5, 0.4, 0.3]], dtype=np.float32)
    plain = decide(scores, LABELS, temperature=0.05)
    assert decide(scores, LABELS, temperature=0.05, seen=seen, seen_penalty=0.15) == plain


def test_the_scores_given_are_not_written_to():
    scores = np.array([[0.5, 0.4, 0.3]], dtype=np.float32)
    decide(scores, LABELS, temperature=0.05, seen=["cat"], seen_penalty=0.15)
    np.testing.assert_array_equal(scores, np.array([[0.5, 0.4, 0.3]], dtype=np.float32))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a cat", "cat"),
        ("A Cat", "the cat"),
        ("an  apple", "Apple!"),
        ("ice-cream", "ice cream"),
        ("STRASSE", "straße"),
        ("caf\u00e9", "cafe\u0301"),
        ("\uff23at", "cat"),
        (" cat.", "cat"),
        ("the", "The"),
    ],
)
def test_names_are_the_same_whatever_their_article_case_and_signs(one, other):
    assert is_same_class(one, other)
    assert is_same_class(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "cats"),
        ("apple", "pple"),
        ("theatre", "atre"),
        ("a", "an"),
        ("another", "other"),
        ("icecream", "ice cream"),
        ("猫", "犬"),
        ("", "cat"),
    ],
)
def test_other_names_are_not_the_same(one, other):
    assert not is_same_class(one, other)
