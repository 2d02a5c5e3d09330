"""Trials: what a head would do that had never seen a fold's classes, in every respect.

To choose by held-out classes, it is not enough that an item's embedding comes from a fit without
its class. A finished head also takes hubs and an offset from reference items, and none of the fits
behind these has seen a class that is new to it. References whose fits had seen the fold's classes
draw these towards themselves, and an offset that contains the fold's own items takes off what they
have in common: on emoji of one vendor both together let held-out classes look half as far apart
as classes turned out to be that were really new. So in the trial of a fold everything is without
the fold: its items; the others, each without itself too; and the references, each without its own
part of the classes too. A ridge says all of it in closed form, and nothing is fitted twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray, IntArray

__all__ = ["Trial", "open_trial", "parts_of"]

_NOTHING_LEFT = 1e-9
"""What is left of a row's own weight when all other rows are left out, but for rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Predictions for the J judged items when one fold's classes are the unseen ones.

    Attributes:
        unseen: Places of the fold's items among the judged ones, shape (A,).
        others: Places of the others, shape (B,).
        of_unseen: By the fit without the fold, shape (A, D).
        alone: Each of the others by the fit without the fold and the item, shape (B, D).
        apart: Each of the others by the fit without the fold and the item's own part, shape (B, D).

    Rows for which no fit was left are NaN.
    """

    unseen: IntArray
    others: IntArray
    of_unseen: FloatArray
    alone: FloatArray
    apart: FloatArray

    def moved(self, without_class: FloatArray, without_item: FloatArray) -> "Trial":
        """Return the trial of a head that went on from a ridge.

        Args:
            without_class: By how much each judged item moved in training without its class, shape
                (J, D).
            without_item: The same in training without the item, shape (J, D); NaN where not known.
        """
        return Trial(
            self.unseen,
            self.others,
            self.of_unseen + without_class[self.unseen],
            self.alone + without_item[self.others],
            self.apart + without_class[self.others],
        )


def parts_of(folds: Sequence[IntArray], points: IntArray) -> list[IntArray]:
    """Return rows that are left out together beside a fold: the other folds, or halves of them.

    Args:
        folds: Rows of each fold.
        points: Point of each row, shape (N,).
    """
    if len(folds) > 2:
        return list(folds)
    parts = []
    for rows in folds:  # of two folds, a fit without both would be without anything
        own = np.unique(points[rows])
        halves = (own[::2], own[1::2]) if len(own) > 1 else (own,)
        parts += [rows[np.isin(points[rows], half)] for half in halves]
    return parts


def open_trial(
    residuals: npt.NDArray[np.float64],
    remainder: npt.NDArray[np.float64],
    targets: npt.NDArray[np.float64],
    fold: IntArray,
    parts: Sequence[IntArray],
) -> tuple[FloatArray, IntArray, FloatArray, FloatArray]:
    """Return what fits without a fold predict: of_unseen, the other rows, alone, and apart.

    With M = I - H, the residuals of rows S without S are M_SS^-1 r_S. For S = fold and more, the
    fold is eliminated first, once for all: what remains is its Schur complement.

    Args:
        residuals: r of the fit to everything, shape (N, D).
        remainder: M, shape (N, N).
        targets: What was fitted, shape (N, D).
        fold: Rows that all these fits are without.
        parts: Rows that are left out together for `apart`; those of the fold say nothing here.
    """
    rest = np.setdiff1d(np.arange(len(targets)), fold)
    to_rest = remainder[np.ix_(fold, rest)]
    solved = np.linalg.solve(
        remainder[np.ix_(fold, fold)], np.concatenate([residuals[fold], to_rest], axis=1)
    )
    without, carried = solved[:, : targets.shape[1]], solved[:, targets.shape[1] :]
    left = residuals[rest] - to_rest.T @ without  # residuals of the fit without the fold
    own = np.diag(remainder)[rest] - (to_rest * carried).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        alone = np.where(own[:, None] > _NOTHING_LEFT, targets[rest] - left / own[:, None], np.nan)
    apart = targets[rest] - left  # rows of no part are never left out
    for at in _places(parts, fold, rest):
        if len(at) == len(rest):
            apart[at] = np.nan
            continue
        block = remainder[np.ix_(rest[at], rest[at])] - to_rest[:, at].T @ carried[:, at]
        apart[at] = targets[rest[at]] - np.linalg.solve(block, left[at])
    return (
        (targets[fold] - without).astype(np.float32),
        rest,
        alone.astype(np.float32),
        apart.astype(np.float32),
    )


def _places(parts: Sequence[IntArray], fold: IntArray, rest: IntArray) -> Iterator[IntArray]:
    """Yield where each part that is not of the fold stands among the rest."""
    for rows in parts:
        if not np.isin(rows[:1], fold).any():
            yield np.searchsorted(rest, rows)
