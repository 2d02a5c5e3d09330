"""Which class is this, of classes that no head has seen? With the controls that could say no.

Pictures whose captions name a class of a knowledge base; a third of the classes is never trained
on. A head learns the others' centers, and must place the rest by what their sentences mean.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unibind.alignment.aligner import Aligner
from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head
from unibind.alignment.hubs import without_hubs
from unibind.alignment.ridge import RidgePath
from unibind.alignment.stacking import seen_unseen
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.evaluation.arms import Row, Tested, ranks_of, row_of
from unibind.evaluation.baselines import linear_probe
from unibind.evaluation.bootstrap import Summary, difference
from unibind.evaluation.names import ClassFinder
from unibind.evaluation.pictures import Pictures
from unibind.types import FloatArray, IntArray, ProgressCallback

__all__ = ["LabelledPictures", "ZeroShot", "label_pictures", "zero_shot"]

UNSEEN_SHARE = 1 / 3
MIN_PICTURES = 3
"""A class takes part if this many pictures name it."""

DEFAULT_ARM = "head + prior"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPictures:
    """Pictures that name a class.

    Attributes:
        pictures: All pictures.
        rows: Those that name a class, shape (N,).
        labels: Which of `classes`, shape (N,).
        classes: Names of the C classes that enough pictures name.
    """

    pictures: Pictures
    rows: IntArray
    labels: IntArray
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """What the protocol measured.

    Attributes:
        unseen: Table among unseen classes only.
        seen: Table among seen classes, with the supervised ceiling.
        differences: Paired differences in R@1 among unseen classes, by what they compare.
        generalised: Seen, unseen and harmonic mean with all classes as candidates, by rule.
    """

    unseen: list[Row]
    seen: list[Row]
    differences: dict[str, Summary]
    generalised: dict[str, dict[str, float]]


def label_pictures(pictures: Pictures, classes: Sequence[str]) -> LabelledPictures:
    """Return the pictures whose caption names one of classes that at least 3 of them name.

    Raises:
        InvalidInputError: Fewer than 6 classes have as many pictures.
    """
    finder = ClassFinder(classes)
    found = [finder.find(caption) for caption in pictures.captions]
    counts = Counter(name for name in found if name is not None)
    kept = [name for name in classes if counts[name] >= MIN_PICTURES]
    if len(kept) < 6:
        raise InvalidInputError(
            f"{len(kept)} classes are named by {MIN_PICTURES} pictures or more, 6 are needed"
        )
    number = {name: c for c, name in enumerate(kept)}
    rows = [row for row, name in enumerate(found) if name in number]
    return LabelledPictures(
        pictures=pictures,
        rows=np.array(rows, dtype=np.int64),
        labels=np.array([number[found[row] or ""] for row in rows], dtype=np.int64),
        classes=tuple(kept),
    )


def zero_shot(
    labelled: LabelledPictures,
    *,
    knowledge: ClassCenters,
    names: ClassCenters,
    seeds: Sequence[int],
    progress: ProgressCallback | None = None,
) -> ZeroShot:
    """Return what heads say of classes that they have not seen, against controls.

    Args:
        labelled: The pictures.
        knowledge: Centers made of the knowledge base's sentences, for all of `labelled.classes`.
        names: Centers made of the classes' names alone.
        seeds: Of the choice of unseen classes.
        progress: Called with the seeds done and their number.
    """
    unseen: Mapping[str, list[Tested]] = defaultdict(list)
    seen: Mapping[str, list[Tested]] = defaultdict(list)
    generalised: list[dict[str, dict[str, float]]] = []
    for done, seed in enumerate(seeds):
        run = _Run(labelled, knowledge, names, seed)
        for arm, tested in run.among_unseen().items():
            unseen[arm].append(tested)
        for arm, tested in run.among_seen().items():
            seen[arm].append(tested)
        generalised.append(run.generalised())
        if progress is not None:
            progress(done + 1, len(seeds))
    within = {arm: [each.within(1) for each in tested] for arm, tested in unseen.items()}
    compared = (
        (DEFAULT_ARM, "head"),
        (DEFAULT_ARM, "prior"),
        ("head", "head, class names only"),
        ("head", "head, wrong class's sentences"),
    )
    return ZeroShot(
        unseen=[row_of(a, t, default=a == DEFAULT_ARM) for a, t in unseen.items()],
        seen=[row_of(a, t, default=a == DEFAULT_ARM) for a, t in seen.items()],
        differences={f"{a} minus {b}": difference(within[a], within[b]) for a, b in compared},
        generalised={
            rule: {
                name: round(float(np.mean([each[rule][name] for each in generalised])), 4)
                for name in ("seen", "unseen", "harmonic")
            }
            for rule in generalised[0]
        },
    )


class _Run:
    """One seed: which classes are unseen, and the heads trained on the others."""

    def __init__(
        self, labelled: LabelledPictures, knowledge: ClassCenters, names: ClassCenters, seed: int
    ) -> None:
        n_classes = len(labelled.classes)
        generator = np.random.default_rng(seed)
        order = generator.permutation(n_classes)
        self.is_seen = np.ones(n_classes, dtype=bool)
        self.is_seen[order[: round(n_classes * UNSEEN_SHARE)]] = False
        self.labels, self.rows = labelled.labels, labelled.rows
        self.classes = np.array(labelled.classes)
        self.pictures = labelled.pictures
        self.knowledge = knowledge.vectors.mean(axis=1)
        self.names = names.vectors.mean(axis=1)
        self.seed = seed
        of_seen = np.flatnonzero(self.is_seen[self.labels])
        # A third of the seen classes' pictures is kept to test them.
        is_kept = generator.random(len(of_seen)) < 1 / 3
        self.train, self.seen_test = of_seen[~is_kept], of_seen[is_kept]
        self.unseen_test = np.flatnonzero(~self.is_seen[self.labels])
        self._path = RidgePath.of(self._inputs(self.train))
        self.head = self._fit(self.knowledge, prior=True)
        self.bare = self._fit(self.knowledge, prior=False)

    def among_unseen(self) -> dict[str, Tested]:
        """Return the arms among unseen classes."""
        classes, rows = np.flatnonzero(~self.is_seen), self.unseen_test
        points = _points(self.knowledge[classes])
        by_name = _points(self.names[classes])
        wrong = np.random.default_rng(self.seed).permutation(len(self.knowledge))
        wrong_points = _points(self.knowledge[wrong][classes])
        name_head = self._fit(self.names, prior=True)
        wrong_head = self._fit(self.knowledge[wrong], prior=False)
        pixel_head = self._fit(self.knowledge, prior=False, pixels=True)
        inputs, prior = self._inputs(rows), self._prior(rows)
        alone, alone_by_name = (
            head.project(inputs) for head in (self.bare, self._fit(self.names, prior=False))
        )
        both = self.head.embed(inputs, prior)
        chance = np.random.default_rng(self.seed).random((len(rows), len(classes)), np.float32)
        return {
            arm: self._tested(scores, rows, classes)
            for arm, scores in {
                "chance": chance,
                "raw pixels": pixel_head.project(self._pixels(rows)) @ points.T,
                "prior": prior @ points.T,
                "head": alone @ points.T,
                "head + prior": without_hubs(both @ points.T, self.head.references @ points.T),
                "head + prior, hubs kept": both @ points.T,
                "head, class names only": alone_by_name @ by_name.T,
                "head + prior, class names only": without_hubs(
                    name_head.embed(inputs, prior) @ by_name.T, name_head.references @ by_name.T
                ),
                "head, wrong class's sentences": wrong_head.project(inputs) @ wrong_points.T,
            }.items()
        }

    def among_seen(self) -> dict[str, Tested]:
        """Return the arms among seen classes, and the probe trained on their labels."""
        classes = np.unique(self.labels[self.train])
        rows = self.seen_test[np.isin(self.labels[self.seen_test], classes)]
        points, by_name = _points(self.knowledge[classes]), _points(self.names[classes])
        embeddings = self.head.embed(self._inputs(rows), self._prior(rows))
        named = self._fit(self.names, prior=True).embed(self._inputs(rows), self._prior(rows))
        columns = np.searchsorted(classes, self.labels[self.train])
        path = self._path
        weight, bias = linear_probe(
            (self._inputs(self.train) - path.mean) / path.scale, columns, n_classes=len(classes)
        )
        probe = (self._inputs(rows) - path.mean) / path.scale @ weight + bias
        return {
            arm: self._tested(scores, rows, classes)
            for arm, scores in {
                "head + prior": embeddings @ points.T,
                "head + prior, class names only": named @ by_name.T,
                "supervised ceiling: linear probe": probe,
            }.items()
        }

    def generalised(self) -> dict[str, dict[str, float]]:
        """Return seen, unseen and harmonic accuracy with all classes as candidates."""
        rows = np.concatenate([self.seen_test, self.unseen_test])
        points = _points(self.knowledge)
        inputs, prior = self._inputs(rows), self._prior(rows)
        outcome = {}
        for name, head in (("head + prior", self.head), ("head", self.bare)):
            scores = without_hubs(head.embed(inputs, prior) @ points.T, head.references @ points.T)
            for rule, penalty in (("uncalibrated", 0.0), ("calibrated", head.seen_penalty)):
                both = seen_unseen(scores, self.labels[rows], self.is_seen, penalty=penalty)
                outcome[f"{name}, {rule}"] = {
                    "seen": both.seen,
                    "unseen": both.unseen,
                    "harmonic": both.harmonic,
                }
        return outcome

    def _fit(self, centers: FloatArray, *, prior: bool, pixels: bool = False) -> Head:
        labels = self.labels[self.train]
        centered = _points(centers)  # what all classes share is known without their pictures
        targets = Targets.from_captions(list(self.classes[labels]), centered[labels])
        return Aligner(seed=self.seed).fit(
            self._pixels(self.train) if pixels else self._inputs(self.train),
            targets,
            space=self.pictures.space,
            encoder=self.pictures.encoder,
            prior=self._prior(self.train) if prior else None,
            path=None if pixels else self._path,
        )

    def _tested(self, scores: FloatArray, rows: IntArray, classes: IntArray) -> Tested:
        answers = np.searchsorted(classes, self.labels[rows])
        return Tested(ranks_of(scores, answers), self.classes[self.labels[rows]], len(classes))

    def _inputs(self, rows: IntArray) -> FloatArray:
        return self.pictures.inputs[self.rows[rows]]

    def _prior(self, rows: IntArray) -> FloatArray:
        return self.pictures.prior[self.rows[rows]]

    def _pixels(self, rows: IntArray) -> FloatArray:
        return self.pictures.pixels[self.rows[rows]]


def _points(means: FloatArray) -> FloatArray:
    """Return class points, centred on what the given classes share, unit length, shape (C, D)."""
    return unit(means - means.mean(axis=0))
