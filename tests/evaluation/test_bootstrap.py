import numpy as np
import pytest

from unibind.errors import InvalidInputError
from unibind.evaluation.bootstrap import Outcome, Summary, difference, summary

N_DRAWS = 2000


def outcome(values, clusters) -> Outcome:
    return Outcome(np.asarray(values, dtype=np.float64), np.asarray(clusters, dtype=np.str_))


@pytest.fixture
def seeds() -> list[Outcome]:
    """Three seeds that share some of 12 clusters of unequal size, and miss others."""
    generator = np.random.default_rng(5)
    outcomes = []
    for _ in range(3):
        clusters = generator.choice([f"c{n}" for n in range(12)], size=30)
        outcomes.append(outcome(generator.random(30), clusters))
    return outcomes


def slowly(outcomes: list[Outcome], *, seed: int) -> Summary:
    """The same draws, item by item: every seed takes a cluster as often as it was drawn."""
    names = sorted({name for one in outcomes for name in one.clusters.tolist()})
    share = np.full(len(names), 1 / len(names))
    drawn = np.random.default_rng(seed).multinomial(len(names), share, size=N_DRAWS)
    means = []
    for weights in drawn:
        times = dict(zip(names, weights.tolist(), strict=True))
        of_seeds = []
        for one in outcomes:
            repeated = [
                value
                for value, name in zip(one.values.tolist(), one.clusters.tolist(), strict=True)
                for _ in range(times[name])
            ]
            if repeated:
                of_seeds.append(sum(repeated) / len(repeated))
        means.append(sum(of_seeds) / len(of_seeds))
    low, high = np.quantile(means, [0.025, 0.975])
    return Summary(float(np.mean([one.values.mean() for one in outcomes])), low, high)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_interval_is_that_of_a_slow_loop_over_items(seeds, seed):
    fast, slow = summary(seeds, seed=seed), slowly(seeds, seed=seed)
    assert (fast.mean, fast.low, fast.high) == pytest.approx((slow.mean, slow.low, slow.high))


def test_a_seed_that_a_draw_leaves_without_items_is_left_out_of_that_draw_only():
    rare = [outcome([1.0], ["a"]), outcome([0.0] * 3, ["b", "c", "d"])]
    assert summary(rare) == slowly(rare, seed=0)


def test_equal_values_have_an_interval_without_width():
    found = summary([outcome([1, 1, 1, 1], ["a", "a", "b", "c"]), outcome([1, 1], ["d", "e"])])
    assert found == Summary(1.0, 1.0, 1.0)


def test_one_cluster_cannot_say_how_far_it_is_off():
    found = summary([outcome([0, 1, 1, 0], ["a"] * 4)])
    assert found == Summary(0.5, 0.5, 0.5)


def test_of_single_items_the_interval_is_near_that_of_the_normal_distribution():
    values = np.arange(400) % 4 == 0
    found = summary([outcome(values, np.arange(400))])
    error = np.sqrt(0.25 * 0.75 / 400)
    assert found.mean == 0.25
    assert found.low == pytest.approx(0.25 - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(0.25 + 1.96 * error, abs=0.2 * error)


def test_the_interval_covers_the_truth_in_about_95_of_100_worlds_though_items_fall_together():
    generator = np.random.default_rng(1)
    covered, naively, n_worlds = 0, 0, 150
    for world in range(n_worlds):
        clusters = np.repeat(np.arange(50), 6)
        chances = generator.beta(0.6, 0.9, size=50)  # mean 0.4; a cluster is mostly right or wrong
        values = generator.random(300) < chances[clusters]
        found = summary([outcome(values, clusters)], seed=world)
        covered += found.low <= 0.4 <= found.high
        if world < 30:
            alone = summary([outcome(values, np.arange(300))], seed=world)
            naively += alone.low <= 0.4 <= alone.high
    assert 0.9 <= covered / n_worlds <= 0.99
    assert naively / 30 < 0.85  # items taken for independent promise too much


def test_further_seeds_of_the_same_items_do_not_narrow_the_interval():
    one = outcome(np.arange(60) % 3 == 0, np.arange(60))
    assert summary([one]) == summary([one, one, one])


def test_the_order_of_items_and_the_names_of_clusters_do_not_matter(seeds):
    order = np.random.default_rng(0).permutation(30)
    turned = [Outcome(one.values[order], np.char.add("x", one.clusters[order])) for one in seeds]
    one, other = summary(seeds), summary(turned)
    assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))


def test_a_paired_difference_is_the_summary_of_the_differences(seeds):
    others = [outcome(1 - one.values**2, one.clusters) for one in seeds]
    found = difference(seeds, others, seed=3)
    pairs = zip(seeds, others, strict=True)
    assert found == summary([outcome(a.values - b.values, a.clusters) for a, b in pairs], seed=3)
    turned = difference(others, seeds, seed=3)
    assert (turned.mean, turned.low, turned.high) == pytest.approx(
        (-found.mean, -found.high, -found.low)
    )


def test_an_arm_does_not_differ_from_itself(seeds):
    assert difference(seeds, seeds) == Summary(0.0, 0.0, 0.0)


def test_pairing_sees_a_small_difference_that_two_intervals_hide():
    generator = np.random.default_rng(0)
    chances = np.repeat(generator.random(40), 5)
    worse = [outcome(chances, np.repeat(np.arange(40), 5))]
    better = [outcome(chances + 0.02, np.repeat(np.arange(40), 5))]
    assert summary(better).low < summary(worse).high
    assert difference(better, worse).low == pytest.approx(0.02)


@pytest.mark.parametrize(
    "outcomes", [[], [outcome([], [])], [outcome([1], ["a"]), outcome([], [])]]
)
def test_nothing_tested_has_no_mean(outcomes):
    with pytest.raises(InvalidInputError, match=r"nothing was tested.*at least one item"):
        summary(outcomes)


def test_arms_that_tested_other_items_are_not_compared(seeds):
    turned = [outcome(one.values, one.clusters[::-1]) for one in seeds]
    for others in (seeds[:2], turned):
        with pytest.raises(InvalidInputError, match="did not test the same items; pair them"):
            difference(seeds, others)
