"""Where lines and class centers lie in the text tower's space, and which of them look misplaced.

Half of the lines of a good base lie nearer to some other of 300 centers than to their own, so
nearness alone is no fault. What is measured is how far a line stands out from the base's own
distribution, by robust deviations, so that the limits hold for other towers and other bases.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from unibind.knowledge.names import words_of
from unibind.knowledge.values import KnowledgeBase
from unibind.protocols import Encoder
from unibind.types import FloatArray, IntArray

__all__ = ["Geometry", "Twins", "center_shifts"]

_BLOCK: Final = 1024
_N_NEAREST: Final = 5
_FEWEST: Final = 4  # lines of a class below which its center says too little

MARGIN_LIMIT: Final = 2.2
"""Robust deviations of the margin to another class above which a line is misplaced."""

NAMED_LIMIT: Final = 1.9
"""The same for a class that the line names, while it does not name its own."""

STRANGENESS_LIMIT: Final = 5.7
"""Sum of three robust deviations above which a line belongs to no class."""

TWIN_LIMIT: Final = 0.6
"""Share of lines on the right side, of two centers, below which the tower cannot tell them apart.
"""


class Twins(NamedTuple):
    """Two classes that are hard to tell apart.

    Attributes:
        first: The one that stands first in the base.
        second: The other.
        told_apart: Share of their lines that lie nearer to their own center, left out of it;
            1.0 is perfect, 0.5 is guessing.
    """

    first: str
    second: str
    told_apart: float


@dataclass(frozen=True)
class Geometry:
    """A base's lines in the space of a text tower.

    Attributes:
        classes: Names, C of them.
        class_of: Number of each line's class, shape (M,).
        lines: Unit-length rows, their view's mean taken off, shape (M, D).
        words: The words of each line.
    """

    classes: tuple[str, ...]
    class_of: IntArray
    lines: FloatArray
    words: tuple[tuple[str, ...], ...]

    @classmethod
    def of(
        cls,
        base: KnowledgeBase,
        encoder: Encoder,
        *,
        readable: Callable[[str], str] = lambda text: text,
    ) -> "Geometry":
        """Return the geometry of a base.

        Args:
            base: The base.
            encoder: The text tower.
            readable: Makes of a faulty text one that the tower takes.

        Source:
            The mean over a view is taken off because views crowd together: all sentences about
            sounds are nearer to each other than their classes explain.
        """
        number = {name: at for at, name in enumerate(base.classes)}
        class_of = np.array([number[line.class_name] for line in base.lines], dtype=np.int64)
        texts = [readable(line.text) for line in base.lines]
        vectors = _unit(encoder.encode(texts))
        views = np.array([line.view for line in base.lines])
        for view in set(views.tolist()):
            is_view = views == view
            if is_view.sum() > 1:
                vectors[is_view] -= vectors[is_view].mean(axis=0)
        words = tuple(tuple(words_of(text)) for text in texts)
        return cls(base.classes, class_of, _unit(vectors), words)

    @cached_property
    def similarities(self) -> FloatArray:
        """Cosine of each line to each center, shape (M, C); its own is left out of its center."""
        sums = self._sums
        scores = self.lines @ _unit(sums).T  # (M, D) @ (D, C) -> (M, C)
        rows = np.arange(len(self.lines))
        without = _unit(sums[self.class_of] - self.lines)  # (M, D)
        scores[rows, self.class_of] = np.einsum("md,md->m", without, self.lines)
        return np.asarray(scores, dtype=np.float32)

    @cached_property
    def own(self) -> FloatArray:
        """Cosine of each line to its own center without it, shape (M,)."""
        own: FloatArray = self.similarities[np.arange(len(self.lines)), self.class_of]
        return own

    @cached_property
    def rivals(self) -> IntArray:
        """Number of the nearest other class of each line, shape (M,)."""
        others = self.similarities.copy()
        others[np.arange(len(others)), self.class_of] = -np.inf
        return np.asarray(others.argmax(axis=1), dtype=np.int64)

    @cached_property
    def margins(self) -> FloatArray:
        """How much nearer each line is to its rival than to its own, in deviations, shape (M,)."""
        rival: FloatArray = self.similarities[np.arange(len(self.lines)), self.rivals]
        return _deviations(rival - self.own)

    def margin_to(self, row: int, other: int) -> float:
        """Return the margin of a line to a given other class, in the deviations of `margins`."""
        rows = np.arange(len(self.lines))
        spread = self.similarities[rows, self.rivals] - self.own
        middle, unit = _middle_and_unit(spread)
        return float((self.similarities[row, other] - self.own[row] - middle) / unit)

    @cached_property
    def strangeness(self) -> FloatArray:
        """How little a line has to do with its class, its nearest lines and the base's words.

        Returns:
            Sum of three robust deviations, shape (M,).
        """
        return (
            _deviations(-self.own)
            + _deviations(-self._nearness())
            + _deviations(self._share_of_lone_words(), floor=0.05)
        )

    @cached_property
    def is_settled(self) -> np.ndarray:
        """Whether a line's class has lines enough for its center to judge it, shape (M,)."""
        counts = np.bincount(self.class_of, minlength=len(self.classes))
        return np.asarray(counts[self.class_of] >= _FEWEST)

    def twins(self, limit: float = TWIN_LIMIT) -> list[Twins]:
        """Return the pairs of classes that the tower tells apart on less than a share of lines."""
        n_classes = len(self.classes)
        wins = np.ones((n_classes, n_classes), dtype=np.float32)
        counts = np.bincount(self.class_of, minlength=n_classes)
        for at in np.flatnonzero(counts):
            rows = self.class_of == at
            wins[at] = (self.own[rows][:, None] > self.similarities[rows]).mean(axis=0)
        told_apart = (wins + wins.T) / 2
        return [
            Twins(self.classes[a], self.classes[b], float(told_apart[a, b]))
            for a, b in np.argwhere(np.triu(told_apart < limit, k=1))
            if min(counts[a], counts[b]) >= _FEWEST
        ]

    def near_pairs(self, limit: float) -> list[tuple[int, int, float]]:
        """Return (earlier line, later line, cosine) of lines of one class nearer than a limit."""
        pairs = []
        for at in range(len(self.classes)):
            rows = np.flatnonzero(self.class_of == at)
            cosines = self.lines[rows] @ self.lines[rows].T
            for a, b in np.argwhere(np.triu(cosines > limit, k=1)):
                pairs.append((int(rows[a]), int(rows[b]), float(cosines[a, b])))
        return pairs

    @cached_property
    def _sums(self) -> FloatArray:
        sums = np.zeros((len(self.classes), self.lines.shape[1]), dtype=np.float32)
        np.add.at(sums, self.class_of, self.lines)
        return sums

    def _nearness(self) -> FloatArray:
        """Return the mean cosine of each line to its few nearest lines, shape (M,)."""
        k = min(_N_NEAREST, len(self.lines) - 1)
        nearness = np.zeros(len(self.lines), dtype=np.float32)
        if k < 1:
            return nearness
        for start in range(0, len(self.lines), _BLOCK):
            cosines = self.lines[start : start + _BLOCK] @ self.lines.T
            rows = np.arange(len(cosines))
            cosines[rows, start + rows] = -np.inf
            nearness[start : start + _BLOCK] = np.partition(cosines, -k)[:, -k:].mean(axis=1)
        return nearness

    def _share_of_lone_words(self) -> FloatArray:
        """Return the share of each line's words that hardly any other line has, shape (M,)."""
        counts = Counter(word for words in self.words for word in set(words))
        shares = [
            np.mean([counts[word] <= 2 for word in set(words)]) if words else 1.0
            for words in self.words
        ]
        return np.array(shares, dtype=np.float32)


def center_shifts(
    before: KnowledgeBase, after: KnowledgeBase, encoder: Encoder
) -> dict[str, float]:
    """Return how far each class's center moved, 1 - cosine, for classes that both bases have.

    Only classes whose lines differ are encoded; the others moved by 0.
    """
    shifts: dict[str, float] = {}
    for name in before.classes:
        if name not in after.lines_by_class:
            continue
        old, new = before.texts(name), after.texts(name)
        if sorted(old) == sorted(new):
            shifts[name] = 0.0
        elif old and new:
            centers = _unit(
                np.stack([_unit(encoder.encode(texts)).mean(axis=0) for texts in (old, new)])
            )
            shifts[name] = float(1.0 - centers[0] @ centers[1])
    return shifts


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _middle_and_unit(values: FloatArray, floor: float = 1e-3) -> tuple[float, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]) if len(values) else (0.0, 0.0, 0.0)
    return float(middle), max(float(high - low) / 1.349, floor)  # the sd of a normal distribution


def _deviations(values: FloatArray, floor: float = 1e-3) -> FloatArray:
    middle, unit = _middle_and_unit(values, floor)
    return np.asarray((values - middle) / unit, dtype=np.float32)
