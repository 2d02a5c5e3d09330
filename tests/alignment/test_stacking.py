import numpy as np
import pytest

from unibind.alignment.stacking import SeenUnseen, choose_penalty, seen_unseen

IS_SEEN = np.array([True, True, False, False])


def planted(seed: int, n: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Return scores in which the right class stands out, and seen classes stand out by 0.5 more."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, n)
    scores = generator.normal(scale=0.25, size=(n, 4)) + 0.5 * IS_SEEN
    scores[np.arange(n), labels] += 0.4
    return scores.astype(np.float32), labels


def test_accuracies_are_those_of_a_slow_loop():
    scores, labels = planted(0)
    for penalty in (-1.0, 0.0, 0.3, 2.0):
        right = {True: [], False: []}
        for row, label in zip(scores, labels, strict=True):
            lowered = [score - penalty * seen for score, seen in zip(row, IS_SEEN, strict=True)]
            right[bool(IS_SEEN[label])].append(int(np.argmax(lowered)) == label)
        outcome = seen_unseen(scores, labels, IS_SEEN, penalty=penalty)
        assert outcome.seen == pytest.approx(np.mean(right[True]))
        assert outcome.unseen == pytest.approx(np.mean(right[False]))


def test_the_harmonic_mean_is_high_only_if_both_are():
    assert SeenUnseen(0.5, 0.5).harmonic == pytest.approx(0.5)
    assert SeenUnseen(0.9, 0.1).harmonic == pytest.approx(0.18)
    assert SeenUnseen(1.0, 0.0).harmonic == 0
    assert SeenUnseen(0.0, 0.0).harmonic == 0


def test_items_of_one_kind_alone_leave_the_other_at_zero():
    scores, _ = planted(0)
    seen_only = seen_unseen(scores, np.zeros(len(scores), dtype=int), IS_SEEN, penalty=0.0)
    assert seen_only.unseen == 0
    assert seen_only.seen > 0


@pytest.mark.parametrize("seed", range(20))
def test_hardly_any_penalty_is_better_than_the_chosen_one(seed):
    scores, labels = planted(seed)
    chosen = choose_penalty([(scores, labels, IS_SEEN)])
    reached = seen_unseen(scores, labels, IS_SEEN, penalty=chosen).harmonic
    # The outcome changes only where the penalty passes a margin: try a point in every gap.
    margins = np.sort(scores[:, IS_SEEN].max(axis=1) - scores[:, ~IS_SEEN].max(axis=1))
    gaps = [margins[0] - 1, *((margins[1:] + margins[:-1]) / 2), margins[-1] + 1]
    best = max(seen_unseen(scores, labels, IS_SEEN, penalty=gap).harmonic for gap in gaps)
    assert reached >= best - 0.04  # the chosen one is an average, for chance draws the curve


def test_the_planted_preference_for_seen_classes_is_found():
    scores, labels = planted(0, n=2000)
    assert choose_penalty([(scores, labels, IS_SEEN)]) == pytest.approx(0.5, abs=0.1)


def test_between_two_peaks_no_valley_is_chosen():
    # Items of seen classes have margins 0 and 10, those of unseen ones -10 and 1: H is as high
    # from -10 to 0 (seen 1, unseen 1/2) as from 1 to 10 (seen 1/2, unseen 1).
    is_seen = np.array([True, False])
    labels = np.array([0, 0, 1, 1])
    scores = np.array([[0.0, 0], [10, 0], [-10, 0], [1, 0]])
    left = seen_unseen(scores, labels, is_seen, penalty=-5.0).harmonic
    right = seen_unseen(scores, labels, is_seen, penalty=5.0).harmonic
    assert left == right == pytest.approx(2 / 3)
    chosen = choose_penalty([(scores, labels, is_seen)])
    assert seen_unseen(scores, labels, is_seen, penalty=chosen).harmonic == pytest.approx(2 / 3)


def test_lists_are_weighed_together_and_each_as_one():
    ones = planted(0, n=2000)
    higher = ones[0] + np.float32(0.4) * IS_SEEN, ones[1]
    few = tuple(part[:100] for part in higher)
    alone = [choose_penalty([(*each, IS_SEEN)]) for each in (ones, higher)]
    assert alone[1] == pytest.approx(alone[0] + 0.4, abs=0.05)
    together = choose_penalty([(*ones, IS_SEEN), (*few, IS_SEEN)])
    assert alone[0] < together < alone[1]


@pytest.mark.parametrize("is_seen", [[True] * 4, [False] * 4])
def test_without_competition_there_is_no_penalty(is_seen):
    scores, labels = planted(0)
    assert choose_penalty([(scores, labels, np.array(is_seen))]) == 0


def test_without_items_there_is_no_penalty():
    assert choose_penalty([]) == 0
