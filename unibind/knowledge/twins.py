"""Which classes the text tower cannot tell apart, asked as a two-sample test of their lines."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from unibind.knowledge.geometry import LIKENESS_LIMIT, Geometry
from unibind.types import FloatArray, IntArray

__all__ = ["P_LIMIT", "Twins", "twins_in"]

_N_PERMUTATIONS: Final = 499
_ALIKE: Final = 0.7  # below this likeness no pair was ever found too close

P_LIMIT: Final = 0.03
"""Two classes are too close if lines shared out at random lie that often as far apart."""


class Twins(NamedTuple):
    """Two classes that are hard to tell apart.

    Attributes:
        first: The one that stands first in the base.
        second: The other.
        likeness: Cosine of the means of all sentences that could be written about the two, as
            estimated from those that were; 1.0 is the same thing.
        p_value: How often lines shared out at random lie as far apart as these.
    """

    first: str
    second: str
    likeness: float
    p_value: float

    @property
    def is_one(self) -> bool:
        """Whether there is no evidence that the two are two."""
        return self.p_value > P_LIMIT


def twins_in(geometry: Geometry, *, seed: int = 0) -> list[Twins]:
    """Return the pairs of classes that are too close or nearly so, closest first.

    Args:
        geometry: Of the base.
        seed: Of the permutations.
    """
    alike = geometry.likenesses
    pairs = np.argwhere(np.triu(alike > _ALIKE, k=1))
    found = [
        Twins(
            geometry.classes[a],
            geometry.classes[b],
            float(alike[a, b]),
            _p_value(_rows(geometry, a), _rows(geometry, b), np.random.default_rng((seed, a, b))),
        )
        for a, b in pairs.tolist()
    ]
    chosen = [pair for pair in found if pair.is_one or pair.likeness > LIKENESS_LIMIT]
    return sorted(chosen, key=lambda pair: -pair.likeness)


def _rows(geometry: Geometry, number: int) -> FloatArray:
    rows: FloatArray = geometry.lines[(geometry.class_of == number) & geometry.is_trusted]
    return rows


def _p_value(first: FloatArray, second: FloatArray, rng: np.random.Generator) -> float:
    """Return the share of random divisions of the lines whose means lie as far apart.

    Source:
        Gretton et al., A kernel two-sample test, JMLR 2012, with the linear kernel.
    """
    rows = np.concatenate([first, second])
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, 0.0)
    is_first = np.zeros((_N_PERMUTATIONS + 1, len(rows)), dtype=np.float32)
    for permutation, chosen in enumerate(_divisions(len(rows), len(first), rng)):
        is_first[permutation, chosen] = 1.0
    distances = _squared_distances(cosines, is_first, len(first), len(second))
    return float((distances >= distances[0] - 1e-6).mean())


def _divisions(n_rows: int, n_first: int, rng: np.random.Generator) -> Iterator[IntArray]:
    yield np.arange(n_first)
    for _ in range(_N_PERMUTATIONS):
        yield rng.permutation(n_rows)[:n_first]


def _squared_distances(
    cosines: FloatArray, is_first: FloatArray, n_first: int, n_second: int
) -> FloatArray:
    """Return the unbiased squared distance between the means of each division, shape (P,)."""
    is_second = 1.0 - is_first
    to_first = is_first @ cosines  # (P, N)
    within_first = (to_first * is_first).sum(axis=1) / (n_first * (n_first - 1))
    between = (to_first * is_second).sum(axis=1) / (n_first * n_second)
    within_second = ((is_second @ cosines) * is_second).sum(axis=1) / (n_second * (n_second - 1))
    return np.asarray(within_first + within_second - 2 * between, dtype=np.float32)
