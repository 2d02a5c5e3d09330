"""Where lines and class centers lie in the text tower's space, and which of them look misplaced.

Half of the lines of a good base lie nearer to some other of 300 centers than to their own, so
nearness alone is no fault. What is measured is how far a line stands out from the base's own
distribution, by robust deviations, so that the limits hold for other towers and other bases.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unibind.knowledge.names import Mentions, words_of
from unibind.knowledge.values import KnowledgeBase
from unibind.protocols import Encoder
from unibind.types import FloatArray, IntArray

__all__ = ["Geometry", "center_shifts"]

_BLOCK: Final = 1024
_N_NEAREST: Final = 10
_LEAST_COSINE: Final = 1e-3  # within a class, that its likeness to others is a number
_FEWEST: Final = 4  # lines of a class below which its center says too little

MARGIN_LIMIT: Final = 2.2
"""Robust deviations of the margin to another class above which a line is misplaced."""

NAMED_LIMIT: Final = 2.0
"""The same for a class that the line names, while it does not name its own."""

MENTION_WEIGHT: Final = 0.3
"""Deviations that each unit of a mention's weight counts."""

STRANGENESS_LIMIT: Final = 4.5
"""Sum of two robust deviations above which a line belongs to no class."""


LIKENESS_LIMIT: Final = 0.85
"""Cosine of two class means above which a line of one may as well stand in the other."""


@dataclass(frozen=True)
class Geometry:
    """A base's lines in the space of a text tower.

    Attributes:
        classes: Names, C of them.
        class_of: Number of each line's class, shape (M,).
        names: Unit-length rows of the class names, their mean taken off, shape (C, D).
        readings: Unit-length rows of the lines as the tower reads them, shape (M, D).
        lines: The same with their view's mean taken off, unit-length, shape (M, D).
        is_trusted: Whether a line counts in its class's center, shape (M,).
        words: The words of each line.
    """

    classes: tuple[str, ...]
    class_of: IntArray
    names: FloatArray
    readings: FloatArray
    lines: FloatArray
    is_trusted: NDArray[np.bool_]
    words: tuple[tuple[str, ...], ...]

    @classmethod
    def of(
        cls,
        base: KnowledgeBase,
        encoder: Encoder,
        *,
        readable: Callable[[str], str] = lambda text: text,
        distrusted: Collection[int] = (),
    ) -> "Geometry":
        """Return the geometry of a base.

        Args:
            base: The base.
            encoder: The text tower.
            readable: Makes of a faulty text one that the tower takes.
            distrusted: 1-based rows that are faulty: they say nothing about where a class lies.

        Source:
            The mean over a view is taken off because views crowd together: all sentences about
            sounds are nearer to each other than their classes explain.
        """
        number = {name: at for at, name in enumerate(base.classes)}
        class_of = np.array([number[line.class_name] for line in base.lines], dtype=np.int64)
        texts = [readable(line.text) for line in base.lines]
        readings = _unit(encoder.encode(texts))
        vectors = readings.copy()
        views = np.array([line.view for line in base.lines])
        for view in set(views.tolist()):
            is_view = views == view
            if is_view.sum() > 1:
                vectors[is_view] -= vectors[is_view].mean(axis=0)
        names = _unit(encoder.encode([readable(name) for name in base.classes]))
        is_trusted = np.ones(len(texts), dtype=np.bool_)
        is_trusted[[row - 1 for row in distrusted]] = False
        return cls(
            classes=base.classes,
            class_of=class_of,
            names=_unit(names - names.mean(axis=0)),
            readings=readings,
            lines=_unit(vectors),
            is_trusted=is_trusted,
            words=tuple(tuple(words_of(text)) for text in texts),
        )

    @cached_property
    def similarities(self) -> FloatArray:
        """Cosine of each line to each center, shape (M, C); its own is left out of its center."""
        sums = self._sums
        scores = self.lines @ _unit(sums).T  # (M, D) @ (D, C) -> (M, C)
        rows = np.arange(len(self.lines))
        without = _unit(sums[self.class_of] - self.lines * self.is_trusted[:, None])  # (M, D)
        scores[rows, self.class_of] = np.einsum("md,md->m", without, self.lines)
        return np.asarray(scores, dtype=np.float32)

    @cached_property
    def own(self) -> FloatArray:
        """Cosine of each line to its own center without it, shape (M,)."""
        own: FloatArray = self.similarities[np.arange(len(self.lines)), self.class_of]
        return own

    @cached_property
    def likenesses(self) -> FloatArray:
        """The cosine of each two class means, freed of the noise of few lines, shape (C, C).

        The cosine of two centers of a few lines each is too small, since each has its own noise.
        The mean cosine between lines of two classes, over the root of the product of the mean
        cosines between different lines within them, has none on average. In about [-1, 1], a
        little above 1 by chance; -1 for classes of too few lines.

        Source:
            Spearman, The proof and measurement of association between two things, 1904:
            correction for attenuation.
        """
        counts = np.bincount(self.class_of[self.is_trusted], minlength=len(self.classes))
        products = np.asarray(self._sums @ self._sums.T, dtype=np.float64)  # of all pairs of lines
        n_pairs = np.maximum(counts * (counts - 1), 1)
        within = np.maximum((np.diag(products) - counts) / n_pairs, _LEAST_COSINE)
        between = products / np.maximum(np.outer(counts, counts), 1)
        alike = between / np.sqrt(np.outer(within, within))
        alike[counts < _FEWEST] = alike[:, counts < _FEWEST] = -1.0
        return np.asarray(alike, dtype=np.float32)

    @cached_property
    def rivals(self) -> IntArray:
        """Number of the nearest class of each line that is unlike its own, shape (M,)."""
        others = np.where(
            self.likenesses[self.class_of] > LIKENESS_LIMIT, -np.inf, self.similarities
        )
        others[np.arange(len(others)), self.class_of] = -np.inf
        return np.asarray(others.argmax(axis=1), dtype=np.int64)

    @cached_property
    def margins(self) -> FloatArray:
        """How much nearer each line is to its rival than to its own, in deviations, shape (M,)."""
        rival: FloatArray = self.similarities[np.arange(len(self.lines)), self.rivals]
        return _deviations(rival - self.own)

    def margin_to(self, row: int, other: int) -> float:
        """Return how much nearer a line is to a given class than to its own, in deviations.

        Here the name of a class counts as much as its center: it is known what to look for.
        """
        scores, middle, unit = self._named
        return float((scores[row, other] - scores[row, self.class_of[row]] - middle) / unit)

    @cached_property
    def mentions(self) -> Mentions:
        """The classes that lines name."""
        return Mentions.of(self.classes, self.class_of.tolist(), self.words)

    @cached_property
    def strangeness(self) -> FloatArray:
        """How far each line is from its nearest lines and its nearest center, shape (M,).

        Of the lines the view stays in: what is like no other line is not like those of its view.

        Returns:
            Sum of two robust deviations.
        """
        return _deviations(-self._nearness()) + _deviations(-self.similarities.max(axis=1))

    @cached_property
    def is_settled(self) -> NDArray[np.bool_]:
        """Whether a line's class has lines enough for its center to judge it, shape (M,)."""
        counts = np.bincount(self.class_of[self.is_trusted], minlength=len(self.classes))
        return np.asarray(counts[self.class_of] >= _FEWEST)

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
        np.add.at(sums, self.class_of, self.lines * self.is_trusted[:, None])
        return sums

    @cached_property
    def _named(self) -> tuple[FloatArray, float, float]:
        """Return center and name together, (M, C), and what their margins are measured by."""
        by_name = self.lines @ self.names.T  # (M, D) @ (D, C) -> (M, C)
        scores = self.similarities / _spread(self.similarities) + by_name / _spread(by_name)
        rows = np.arange(len(scores))
        spread = scores[rows, self.rivals] - scores[rows, self.class_of]
        return scores, *_middle_and_unit(spread)

    def _nearness(self) -> FloatArray:
        """Return the mean cosine of each line to the few lines nearest to it, shape (M,)."""
        k = min(_N_NEAREST, int(self.is_trusted.sum()) - 1)
        nearness = np.zeros(len(self.readings), dtype=np.float32)
        if k < 1:
            return nearness
        for start in range(0, len(self.readings), _BLOCK):
            cosines = self.readings[start : start + _BLOCK] @ self.readings.T
            rows = np.arange(len(cosines))
            cosines[rows, start + rows] = -np.inf
            cosines[:, ~self.is_trusted] = -np.inf
            nearness[start : start + _BLOCK] = np.partition(cosines, -k)[:, -k:].mean(axis=1)
        return nearness


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


def _spread(values: FloatArray) -> float:
    return max(float(values.std()), 1e-6)


def _middle_and_unit(values: FloatArray, floor: float = 1e-3) -> tuple[float, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]) if len(values) else (0.0, 0.0, 0.0)
    return float(middle), max(float(high - low) / 1.349, floor)  # the sd of a normal distribution


def _deviations(values: FloatArray, floor: float = 1e-3) -> FloatArray:
    middle, unit = _middle_and_unit(values, floor)
    return np.asarray((values - middle) / unit, dtype=np.float32)
