import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unibind.errors import InvalidInputError
from unibind.evaluation.groups import leave_groups_out


@given(
    st.lists(st.sampled_from("abcdef"), min_size=2, max_size=60).filter(lambda x: len(set(x)) > 1),
    st.integers(0, 3),
)
def test_each_group_is_tested_once_and_never_trained_on_beside(groups, seed):
    everyone = np.array(groups)
    folds = leave_groups_out(groups, seed=seed)
    assert sorted(row for fold in folds for row in fold.test) == list(range(len(groups)))
    for fold in folds:
        assert set(everyone[fold.test]) == set(fold.groups)
        assert not set(everyone[fold.training]) & set(fold.groups)
        assert len(fold.training) + len(fold.test) == len(groups)


def test_fewer_folds_are_about_equally_large():
    groups = ["big"] * 10 + ["a"] * 4 + ["b"] * 4 + ["c"] * 2
    sizes = [len(fold.test) for fold in leave_groups_out(groups, n_folds=2)]
    assert sizes == [10, 10]


def test_the_seed_decides_among_equally_large_groups():
    groups = list("aabbccdd")
    made = {leave_groups_out(groups, n_folds=2, seed=seed)[0].groups for seed in range(8)}
    assert len(made) > 1
    assert leave_groups_out(groups, seed=3)[0].groups == leave_groups_out(groups, seed=3)[0].groups


@pytest.mark.parametrize(
    ("groups", "n_folds", "telling"),
    [
        (["a", None, "b"], None, "1 of 3 items have no group"),
        (["a", "a"], None, "1 folds of 1 groups"),
        (["a", "b"], 3, "3 folds of 2 groups"),
        (["a", "b"], 1, "1 folds of 2 groups"),
    ],
)
def test_what_cannot_be_kept_apart_is_refused(groups, n_folds, telling):
    with pytest.raises(InvalidInputError, match=telling):
        leave_groups_out(groups, n_folds=n_folds)
