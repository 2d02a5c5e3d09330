"""Splits that keep what belongs together on one side: all recordings of a person, of a house."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unibind.errors import InvalidInputError
from unibind.types import IntArray

__all__ = ["GroupFold", "leave_groups_out"]


@dataclass(frozen=True, slots=True, eq=False)
class GroupFold:
    """One way to train on some groups and test on others.

    Attributes:
        training: Rows to train on, ascending.
        test: Rows of the groups that are left out, ascending.
        groups: Names of those groups.
    """

    training: IntArray
    test: IntArray
    groups: tuple[str, ...]


def leave_groups_out(
    groups: Sequence[str | None], *, n_folds: int | None = None, seed: int = 0
) -> list[GroupFold]:
    """Return folds such that each group is tested once, by what was trained without it.

    A sensor on a wrist knows its wearer: if recordings of one person are in training and in test,
    a good figure may say nothing of the next person. The column ``group`` of a manifest says who
    it was.

    Args:
        groups: Of each item, as in `LabelledItem.group`.
        n_folds: Into how many folds; one for each group by default. Groups are spread so that the
            folds have about equally many items.
        seed: Which of equally large groups comes first.

    Raises:
        InvalidInputError: An item has no group, there is only one group, or not 2 to as many folds
            as groups.
    """
    n_unknown = sum(group is None for group in groups)
    if n_unknown:
        raise InvalidInputError(
            f"{n_unknown:,} of {len(groups):,} items have no group, so what belongs "
            "together is not known; fill the column group (the person, the device, the place)"
        )
    names, rows, counts = np.unique(
        np.array(groups, dtype=np.str_), return_inverse=True, return_counts=True
    )
    wanted = len(names) if n_folds is None else n_folds
    if not 2 <= wanted <= len(names):
        raise InvalidInputError(
            f"{wanted} folds of {len(names)} groups; needed: at least 2 groups, and from 2 folds "
            "to as many as there are groups"
        )
    fold_of = _spread(counts, wanted, seed)
    folds = []
    for fold in range(wanted):
        is_test = fold_of[rows] == fold
        left_out = tuple(str(name) for name in names[fold_of == fold])
        folds.append(GroupFold(np.flatnonzero(~is_test), np.flatnonzero(is_test), left_out))
    return folds


def _spread(counts: IntArray, n_folds: int, seed: int) -> IntArray:
    """Return the fold of each group: the largest first, always into the emptiest fold."""
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    fold_of, filled = np.zeros(len(counts), dtype=np.int64), np.zeros(n_folds, dtype=np.int64)
    for group in order:
        emptiest = int(filled.argmin())
        fold_of[group] = emptiest
        filled[emptiest] += counts[group]
    return fold_of
