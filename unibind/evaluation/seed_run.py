"""One seed of an ablation: what heads towards each arm's points answer, and what a probe does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unibind.alignment.aligner import Aligner, Method
from unibind.alignment.geometry import unit
from unibind.alignment.ridge import RidgePath
from unibind.alignment.stacking import seen_unseen
from unibind.evaluation.baselines import linear_probe
from unibind.evaluation.bootstrap import Outcome
from unibind.evaluation.generalised import fit_seen, hub_free
from unibind.evaluation.labelled import LabelledItems, Split, split_classes
from unibind.types import FloatArray, IntArray, Json

__all__ = ["Answered", "SeedRun", "mean_points"]


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What one arm answered under one seed.

    Attributes:
        seen: Which items of seen classes were answered rightly among these.
        unseen: The same of unseen classes; None of an arm that cannot know them.
        harmonic: Harmonic mean of both accuracies, all classes being candidates.
        raw: The same without the penalty of seen classes.
    """

    seen: Outcome
    unseen: Outcome | None = None
    harmonic: float | None = None
    raw: float | None = None

    def to_json(self) -> dict[str, Json]:
        """Return it for a file; which items they are of is known from the split."""
        return {
            "seen": self.seen.values.astype(int).tolist(),
            "unseen": None if self.unseen is None else self.unseen.values.astype(int).tolist(),
            "harmonic": self.harmonic,
            "raw": self.raw,
        }


class SeedRun:
    """One seed: what is trained on, and heads towards whatever points.

    Args:
        items: The labelled items.
        seed: Of the split, and of what is drawn at random.
        method: How heads are made.
    """

    def __init__(self, items: LabelledItems, seed: int, method: Method) -> None:
        self.split: Split = split_classes(items, seed=seed)
        self._items, self._seed, self._method = items, seed, method
        self._path: RidgePath | None = None

    @property
    def path(self) -> RidgePath:
        """What every ridge of this seed shares."""
        if self._path is None:
            self._path = RidgePath.of(self._items.inputs[self.split.train])
        return self._path

    def orthogonal(self, dim: int) -> FloatArray:
        """Return random points, each at right angles to the others while there is room, (C, D)."""
        generator = np.random.default_rng(self._seed)
        blocks, left = [], len(self._items.classes)
        while left > 0:
            basis, _ = np.linalg.qr(generator.normal(size=(dim, dim)))
            blocks.append(basis.T[:left])
            left -= dim
        points: FloatArray = np.concatenate(blocks).astype(np.float32)
        return points

    def ask(self, points: FloatArray) -> Answered:
        """Return what a head towards points, shape (C, D), finds among seen and unseen classes."""
        items, split = self._items, self.split
        aligner = Aligner(method=self._method, seed=self._seed)
        head = fit_seen(items, points, split, aligner, path=self.path)
        embeddings = head.embed(items.inputs, items.prior)

        def right(rows: IntArray, classes: IntArray) -> Outcome:
            scores = hub_free(head, embeddings[rows], points[classes])
            return self._outcome(classes[scores.argmax(axis=1)], rows)

        seen = right(split.seen, np.flatnonzero(split.is_seen))
        if not len(split.unseen):
            return Answered(seen)
        everyone = np.concatenate([split.seen, split.unseen])
        scores = hub_free(head, embeddings[everyone], points)
        raw, both = (
            seen_unseen(scores, items.labels[everyone], split.is_seen, penalty=penalty).harmonic
            for penalty in (0.0, head.seen_penalty)
        )
        return Answered(seen, right(split.unseen, np.flatnonzero(~split.is_seen)), both, raw)

    def probe(self) -> Answered:
        """Return what a linear probe finds among seen classes: labels, and no text at all."""
        items, split = self._items, self.split
        classes = np.unique(items.labels[split.train])
        standard = (items.inputs - self.path.mean) / self.path.scale
        weight, bias = linear_probe(
            standard[split.train],
            np.searchsorted(classes, items.labels[split.train]),
            n_classes=len(classes),
        )
        answers = classes[(standard[split.seen] @ weight + bias).argmax(axis=1)]
        return Answered(self._outcome(answers, split.seen))

    def read(self, kept: Mapping[str, Json]) -> Answered:
        """Return what `Answered.to_json` made of this seed's answers."""
        split, unseen = self.split, kept["unseen"]
        return Answered(
            self._of(kept["seen"], split.seen),
            None if unseen is None else self._of(unseen, split.unseen),
            kept["harmonic"],
            kept["raw"],
        )

    def _outcome(self, answers: IntArray, rows: IntArray) -> Outcome:
        return self._of(answers == self._items.labels[rows], rows)

    def _of(self, right: Sequence[int] | np.ndarray, rows: IntArray) -> Outcome:
        clusters = np.array(self._items.classes)[self._items.labels[rows]]
        return Outcome(np.asarray(right, dtype=np.float64), clusters)


def mean_points(
    texts: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    vector_of: Callable[[str], FloatArray],
) -> FloatArray:
    """Return the mean of each class's texts, unit length, shape (C, D)."""
    return unit(
        np.stack([np.mean([vector_of(text) for text in texts[name]], axis=0) for name in classes])
    )
