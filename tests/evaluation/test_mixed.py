import numpy as np
import pytest

from unibind.errors import InvalidInputError
from unibind.evaluation.mixed import Mixed, harmonic_difference, harmonic_summary


def measured(seed: int, accuracy: tuple[float, float], n: int = 60) -> Mixed:
    """Return items of which a share of the seen and of the unseen ones is right."""
    generator = np.random.default_rng(seed)
    is_seen = np.arange(n) % 3 > 0
    right = generator.random(n) < np.where(is_seen, *accuracy)
    return Mixed(right, is_seen, np.array([f"class {row // 4}" for row in range(n)]))


def harmonic(one: Mixed) -> float:
    seen, unseen = one.right[one.is_seen].mean(), one.right[~one.is_seen].mean()
    return 2 * seen * unseen / (seen + unseen)


def test_the_mean_is_of_the_seeds_harmonic_means():
    outcomes = [measured(seed, (0.8, 0.5)) for seed in range(4)]
    found = harmonic_summary(outcomes)
    assert found.mean == pytest.approx(np.mean([harmonic(each) for each in outcomes]))
    assert found.low < found.mean < found.high


def test_the_interval_is_that_of_clusters_drawn_one_by_one():
    (one,) = outcomes = [measured(1, (0.7, 0.4))]
    names, generator = np.unique(one.clusters), np.random.default_rng(7)
    drawn = []
    for _ in range(2000):
        rows = np.concatenate(
            [np.flatnonzero(one.clusters == name) for name in generator.choice(names, len(names))]
        )
        drawn.append(harmonic(Mixed(one.right[rows], one.is_seen[rows], one.clusters[rows])))
    found = harmonic_summary(outcomes)
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)


def test_arms_that_fail_together_differ_by_a_narrower_interval_than_they_have():
    ones = [measured(seed, (0.8, 0.5)) for seed in range(3)]
    others = [
        Mixed(each.right & (np.arange(60) % 10 > 0), each.is_seen, each.clusters) for each in ones
    ]
    found, alone = harmonic_difference(ones, others), harmonic_summary(ones)
    assert found.mean == pytest.approx(np.mean([harmonic(o) for o in ones])
                                       - np.mean([harmonic(o) for o in others]))  # fmt: skip
    assert found.low > 0
    assert found.high - found.low < alone.high - alone.low
    same = harmonic_difference(ones, ones)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_an_arm_that_never_answers_with_an_unseen_class_has_no_harmonic_mean():
    one = measured(2, (0.9, 0.0))
    found = harmonic_summary([one])
    assert (found.mean, found.high) == (0, 0)


def test_what_cannot_be_compared_is_refused():
    one, other = measured(1, (0.8, 0.5)), measured(1, (0.8, 0.5), n=30)
    with pytest.raises(InvalidInputError, match="did not test the same items"):
        harmonic_difference([one], [other])
    only_seen = Mixed(one.right, np.ones(60, dtype=bool), one.clusters)
    with pytest.raises(InvalidInputError, match="items of seen classes and of unseen ones"):
        harmonic_summary([only_seen])
