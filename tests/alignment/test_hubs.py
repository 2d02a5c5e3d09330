import numpy as np
import pytest

from unibind.alignment.hubs import without_hubs


@pytest.fixture
def scores():
    return np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype(np.float32)


@pytest.fixture
def references():
    return np.random.default_rng(1).uniform(-1, 1, (30, 4)).astype(np.float32)


@pytest.mark.parametrize("n_nearest", [1, 5, 30, 99])
def test_a_class_loses_half_its_mean_nearness_to_the_items_nearest_to_it(
    scores, references, n_nearest
):
    corrected = without_hubs(scores, references, n_nearest=n_nearest)
    for c in range(4):
        nearest = sorted(references[:, c], reverse=True)[:n_nearest]
        np.testing.assert_allclose(
            corrected[:, c], scores[:, c] - sum(nearest) / len(nearest) / 2, atol=1e-6
        )


def test_a_class_near_to_everything_no_longer_wins_everywhere():
    own = np.array([[0.5, 0.6], [0.1, 0.6]], dtype=np.float32)  # the second class is a hub
    references = np.array([[0.0, 0.6]] * 20, dtype=np.float32)
    assert own.argmax(axis=1).tolist() == [1, 1]
    assert without_hubs(own, references).argmax(axis=1).tolist() == [0, 1]


def test_what_all_references_share_does_not_change_the_order(scores, references):
    moved = without_hubs(scores, references + np.float32(0.3))
    np.testing.assert_allclose(moved, without_hubs(scores, references) - 0.15, atol=1e-6)


def test_without_references_scores_stay_as_they_are(scores, references):
    assert without_hubs(scores, None) is scores
    assert without_hubs(scores, references[:0]) is scores


def test_the_arguments_are_not_written_to(scores, references):
    before = scores.copy(), references.copy()
    without_hubs(scores, references)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(references, before[1])
