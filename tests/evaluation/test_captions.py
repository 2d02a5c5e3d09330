import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unibind.alignment.geometry import unit
from unibind.errors import InvalidInputError
from unibind.evaluation.baselines import picture_hashes
from unibind.evaluation.captions import NEAR_BITS, caption_table, hold_out_captions, train_head
from unibind.evaluation.names import plain_name
from unibind.evaluation.pictures import Pictures

WAYS = ("{}", "A {}.", "Two {}s!", "the {}")
"""Of saying the same."""


@pytest.fixture
def tangled(plant, draw) -> Pictures:
    """Two sets that say the same in other words, and show the same under other names."""
    names = [f"thing{chr(97 + n)}q" for n in range(12)]
    captions = [WAYS[n % 4].format(names[n % 12]) for n in range(30)] + names + names[:6]
    pictures = plant(
        captions,
        unit(draw(len(set(captions)), 8)),
        sources=["own"] * 30 + ["other"] * 18,
    )
    # Of every third picture there is a copy, or nearly one, with a caption of its own.
    for row in range(0, 24, 3):
        pictures.pixels[row + 24] = pictures.pixels[row] + 0.001 * draw(768, seed=row)
    return pictures


def distances(pictures: Pictures, row: int, others: np.ndarray) -> list[int]:
    hashes = picture_hashes(pictures.pixels)
    return [sum(a != b for a, b in zip(hashes[row], hashes[n], strict=True)) for n in others]


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_nothing_that_is_near_to_a_held_out_picture_is_trained_on_and_all_else_is(tangled, seed):
    split = hold_out_captions(tangled, "own", seed=seed)
    held_out = {tangled.captions[row] for row in split.test}
    names = {plain_name(caption) for caption in held_out}
    expected = []
    for row, caption in enumerate(tangled.captions):
        says_the_same = caption in held_out or plain_name(caption) in names
        if not says_the_same and min(distances(tangled, row, split.test)) > NEAR_BITS:
            expected.append(row)
    assert split.train.tolist() == expected
    assert split.n_near == len(tangled) - len(split.test) - len(expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_third_of_the_captions_of_the_tested_set_is_the_gallery(tangled, seed):
    split = hold_out_captions(tangled, "own", seed=seed)
    own = tangled.rows_of("own")
    captions = [tangled.captions[row] for row in split.gallery]
    assert len(captions) == round(len({tangled.captions[row] for row in own}) / 3)
    assert captions == sorted(set(captions))
    expected = [row for row in own if tangled.captions[row] in captions]
    assert split.test.tolist() == expected
    assert [captions[n] for n in split.answers] == [tangled.captions[row] for row in split.test]


def test_the_other_set_helps_to_train_but_is_not_tested(tangled):
    split = hold_out_captions(tangled, "own", seed=0)
    sources = np.array(tangled.sources)
    assert set(sources[split.test]) == {"own"}
    assert set(sources[split.train]) == {"own", "other"}
    assert split.n_near > 0  # the sets are tangled indeed


def test_a_seed_is_a_split(tangled):
    one, same = (hold_out_captions(tangled, "own", seed=3) for _ in range(2))
    for name in ("gallery", "test", "answers", "train"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    others = [hold_out_captions(tangled, "own", seed=seed).gallery.tolist() for seed in range(6)]
    assert len(set(map(tuple, others))) > 1


def test_five_captions_are_too_few(plant, draw):
    pictures = plant([f"name {n % 5}" for n in range(20)], unit(draw(5, 4)))
    with pytest.raises(InvalidInputError, match="'set' has 5 distinct captions, at least 6"):
        hold_out_captions(pictures, "set", seed=0)


def test_a_set_that_is_not_among_the_pictures_has_no_captions(tangled):
    with pytest.raises(InvalidInputError, match="'else' has 0 distinct captions"):
        hold_out_captions(tangled, "else", seed=0)


@pytest.fixture(scope="module")
def clear(plant, draw) -> Pictures:
    """Sixty captions, three pictures each, and a map that 40 of them are enough to find."""
    captions = [f"name {n % 60}" for n in range(180)]
    return plant(captions, unit(draw(60, 12)), noise=0.3, prior_noise=0.3)


@pytest.fixture(scope="module")
def rows(clear):
    reported = []
    rows = caption_table(
        clear, "set", seeds=range(4), progress=lambda done, total: reported.append((done, total))
    )
    assert reported == [(1, 4), (2, 4), (3, 4), (4, 4)]
    return {row["arm"]: row for row in rows}


def test_heads_find_a_planted_map_and_the_controls_do_not(rows):
    chance = 1 / 20
    for arm in ("chance", "raw pixels"):
        assert rows[arm]["interval_r_at_1"][0] <= chance <= rows[arm]["r_at_1"] + 0.05
        assert rows[arm]["r_at_1"] < 3 * chance
    permuted = rows["head + prior, captions permuted"]["r_at_1"]
    assert rows["head"]["r_at_1"] > 0.6
    for arm in ("head + prior", "head + prior, hubs kept"):
        assert rows[arm]["r_at_1"] > max(permuted, rows["prior"]["r_at_1"]) + 0.05
    for row in rows.values():
        assert (row["n"], row["gallery"], row["chance"], row["seeds"]) == (60, 20, 0.05, 4)
        assert row["r_at_1"] <= row["r_at_5"]
        for k in (1, 5):
            low, high = row[f"interval_r_at_{k}"]
            assert 0 <= low <= row[f"r_at_{k}"] <= high <= 1


def test_the_fused_head_is_the_default_and_every_arm_says_what_it_is(rows):
    assert [arm for arm, row in rows.items() if row["default"]] == ["head + prior"]
    assert all(row["note"] for row in rows.values())


def test_without_a_map_a_head_says_nothing_of_captions_that_it_has_not_seen(plant, draw):
    """Could a head see the held-out captions, it would know each by its input."""
    captions = [f"name {n % 60}" for n in range(180)]
    pictures = plant(captions, unit(draw(60, 12)), told=0, own=1)
    rows = {row["arm"]: row for row in caption_table(pictures, "set", seeds=range(4))}
    for arm in ("head", "head + prior"):
        assert rows[arm]["r_at_1"] < 0.2
    head = train_head(pictures, np.arange(180), "set", seed=0)
    points = unit(pictures.texts[:60] - pictures.texts[:60].mean(axis=0))
    known = (head.project(pictures.inputs) @ points.T).argmax(axis=1) == np.arange(180) % 60
    assert known.mean() > 0.5
