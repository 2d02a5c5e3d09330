"""What examples add to the scores of classes: a Gaussian process whose prior mean is the text.

It is solved in closed form from the examples at hand: nothing is trained, and to forget an example
is to leave it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray, IntArray

__all__ = ["HEIGHT", "NOISE", "SPACE_SHARE", "Posterior", "Seen", "affinity"]

HEIGHT = 1.5
"""Score of an example against its own class, where it is 0 against all others, in cosines."""

NOISE = 0.2
"""How far what an example shows may lie from what its class is, as a variance."""

SPACE_SHARE = 0.25
"""How much of whether two items are alike is told by their places in the space, not their looks."""

OWN_SHARE = 0.25
"""How far from strangers' raise to their own taught classes must come to win."""

LARGEST = 1024
"""Examples that are solved together; classes beyond are solved by themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Items in both of the places where they are compared.

    Attributes:
        embeddings: In the space, unit length, shape (N, D).
        looks: What a head reads of them, standardised, unit length, shape (N, F').
    """

    embeddings: FloatArray
    looks: FloatArray

    def at(self, rows: Sequence[int] | IntArray) -> "Seen":
        """Return some of the items."""
        return Seen(self.embeddings[list(rows)], self.looks[list(rows)])


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Classes that were solved together: T' of them, by m examples.

    Attributes:
        shown: The examples.
        rows: Which of all examples they are, shape (m,).
        places: Which of all taught classes these are, shape (T',).
        weights: What each example adds where an item is just like it, shape (m, T').
        without_item: By how much each example's classes are raised by the others, shape (m, T').
        to_strangers: Mean raise of a class by which examples of other classes gain that no fit had
            seen; one for each class, none if there is only one.
    """

    shown: Seen
    rows: IntArray
    places: IntArray
    weights: FloatArray
    without_item: FloatArray
    to_strangers: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """By how much examples raise the scores of T taught classes.

    Attributes:
        columns: Of the taught classes among all C that are listed, ascending, shape (T,).
        own: Which of these each of the M examples is of, -1 if it is of none, shape (M,).
        parts: Classes that were solved together.
        head_start: What teaching gives to items of any class; taken off, where others are listed.
    """

    columns: IntArray
    own: IntArray
    parts: tuple[_Part, ...]
    head_start: float

    @classmethod
    def of(
        cls,
        taught: Mapping[int, Sequence[int]],
        examples: Seen,
        by_text: FloatArray,
        *,
        is_centred: bool,
    ) -> "Posterior":
        """Return what examples say beside the text.

        Args:
            taught: Column of each taught class to the rows of its examples.
            examples: All M of them.
            by_text: Scores of the examples by the texts of all C classes, shape (M, C).
            is_centred: Whether items that have nothing in common look unlike (cosine 0).

        Source:
            Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.38 (a mean
            function), and eq. 5.12 (leaving one out). The kernel sharpens cosines as the cache of
            Zhang et al., Tip-Adapter, ECCV 2022 (arXiv:2207.09519) does.
        """
        columns = np.array(sorted(taught), dtype=np.int64)
        own = np.full(len(by_text), -1, dtype=np.int64)
        for place, column in enumerate(columns):
            own[list(taught[int(column)])] = place
        parts = tuple(
            _solve(rows, own, examples, by_text[:, columns])
            for rows in _together(own, len(columns))
        )
        start = 0.0
        if 0 < len(columns) < by_text.shape[1]:
            start = _head_start(parts, own, is_centred=is_centred)
        return cls(columns, own, parts, start)

    def raises(self, items: Seen) -> FloatArray:
        """Return by how much each taught class gains for N items, shape (N, T)."""
        gained = np.full((len(items.looks), len(self.columns)), -self.head_start, dtype=np.float32)
        for part in self.parts:
            gained[:, part.places] += affinity(items, part.shown) @ part.weights
        return gained

    def without_item(self) -> FloatArray:
        """Return the same for the examples, each as if it had not been shown, shape (M, T)."""
        gained = np.full((len(self.own), len(self.columns)), -self.head_start, dtype=np.float32)
        for part in self.parts:
            gained[np.ix_(part.rows, part.places)] += part.without_item
        return gained


def affinity(items: Seen, others: Seen) -> FloatArray:
    """Return how alike items are, shape (N, M): 1 if they are equal.

    Of looks and of places it is the mean of (exp(cosine) - 1) / (e - 1): 0 for what has nothing in
    common, and steeper between what is much alike than the cosine.
    """
    by_looks = np.expm1(items.looks @ others.looks.T)
    by_place = np.expm1(items.embeddings @ others.embeddings.T)
    mean = (1 - SPACE_SHARE) * by_looks + SPACE_SHARE * by_place
    alike: FloatArray = (mean / np.expm1(1)).astype(np.float32)
    return alike


def _together(own: IntArray, n_classes: int) -> list[IntArray]:
    """Return the rows of examples that are solved together: those of whole classes."""
    counts = np.bincount(own[own >= 0], minlength=n_classes)
    block = (np.cumsum(counts) - 1) // LARGEST
    found = [np.flatnonzero((own >= 0) & (block[own] == each)) for each in np.unique(block)]
    return [rows for rows in found if len(rows)]


def _solve(rows: IntArray, own: IntArray, examples: Seen, by_text: FloatArray) -> _Part:
    """Return what the examples of some classes say of these classes.

    With C the inverse of kernel and noise, and r the residuals of the text, the weights are C r,
    and without rows B the raise at B is r_B - (C_BB)^-1 (C r)_B: exact, nothing is solved twice.
    """
    places = np.unique(own[rows])
    right = own[rows][:, None] == places  # (m, T')
    residual = HEIGHT * right - by_text[np.ix_(rows, places)].astype(np.float64)
    shown = examples.at(rows)
    kernel = affinity(shown, shown).astype(np.float64)
    inverse = np.linalg.inv(kernel + NOISE * np.eye(len(rows)))
    weights = inverse @ residual
    return _Part(
        shown=shown,
        rows=rows,
        places=places,
        weights=weights.astype(np.float32),
        without_item=(residual - weights / np.diag(inverse)[:, None]).astype(np.float32),
        to_strangers=tuple(_to_strangers(right, residual, inverse, weights)),
    )


def _to_strangers(
    right: npt.NDArray[np.bool_],
    residual: npt.NDArray[np.float64],
    inverse: npt.NDArray[np.floating],
    weights: npt.NDArray[np.floating],
) -> list[float]:
    """Return the mean raise of the other classes at each class's examples, that class left out."""
    if right.shape[1] < 2:
        return []
    found = []
    for place in range(right.shape[1]):
        out = np.flatnonzero(right[:, place])
        raised = residual[out] - np.linalg.solve(inverse[np.ix_(out, out)], weights[out])
        found.append(float(np.delete(raised, place, axis=1).mean()))
    return found


def _head_start(parts: Sequence[_Part], own: IntArray, *, is_centred: bool) -> float:
    """Return by how much teaching raises a class's score for items that are none of its own.

    Examples of other classes tell it; a quarter of the way to the raise of a class's own is added.
    """
    gains = [part.without_item[own[part.rows][:, None] == part.places] for part in parts]
    gain = float(np.concatenate(gains).mean())
    strangers = [each for part in parts for each in part.to_strangers]
    if strangers:
        strange = float(np.mean(strangers))
    elif sum(len(part.rows) for part in parts) > 1:
        strange = gain / 2
    else:  # a single example tells of nothing but itself
        strange = 0.0 if is_centred else float(parts[0].weights[0, 0]) / 2
    return strange + OWN_SHARE * max(0.0, gain - strange)
