"""Which class is this, of classes that no head has seen? With the controls that could say no.

Pictures whose captions name a class of a knowledge base; a third of the classes is never trained
on. A head learns the others' centers, and must place the rest by what their sentences mean.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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

    Raises:
        InvalidInputError: The centers are of other classes, or in another order.
    """
    if not knowledge.labels == names.labels == labelled.classes:
        raise InvalidInputError(
            f"the pictures name {len(labelled.classes)} classes, first {labelled.classes[0]!r}; "
            "the centers are not of these, one by one; make them with classes=labelled.classes"
        )
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
        self.unseen_test = np.flatnonzero(~self.is_seen[self.labels])
        of_seen = np.flatnonzero(self.is_seen[self.labels])
        # Where seen classes are tested too, a third of their pictures is not trained on.
        is_kept = generator.random(len(of_seen)) < 1 / 3
        self.seen_test = of_seen[is_kept]
        self.all_seen = _Training(self, of_seen)
        self.most_seen = _Training(self, of_seen[~is_kept])

    def among_unseen(self) -> dict[str, Tested]:
        """Return the arms among unseen classes; the heads know all pictures of the seen ones."""
        classes, rows, training = np.flatnonzero(~self.is_seen), self.unseen_test, self.all_seen
        wrong = np.random.default_rng(self.seed).permutation(len(self.knowledge))
        points, by_name = _points(self.knowledge[classes]), _points(self.names[classes])
        wrong_points = _points(self.knowledge[wrong][classes])
        inputs, prior = self.inputs(rows), self.prior(rows)
        both = training.head(self.knowledge, prior=True)
        alone = training.head(self.knowledge, prior=False)
        wrong_head = training.head(self.knowledge[wrong], prior=False)
        pixel_head = training.pixel_head(self.knowledge)
        chance = np.random.default_rng(self.seed).random((len(rows), len(classes)), np.float32)
        scores = {
            "chance": chance,
            "raw pixels": _scores(pixel_head, self.pixels(rows), None, points),
            "prior": prior @ points.T,
            "head": _scores(alone, inputs, None, points),
            "head + prior": _scores(both, inputs, prior, points),
            "head + prior, hubs kept": both.embed(inputs, prior) @ points.T,
            "head, class names only": _scores(
                training.head(self.names, prior=False), inputs, None, by_name
            ),
            "head + prior, class names only": _scores(
                training.head(self.names, prior=True), inputs, prior, by_name
            ),
            "head, wrong class's sentences": _scores(wrong_head, inputs, None, wrong_points),
        }
        return {arm: self._tested(each, rows, classes) for arm, each in scores.items()}

    def among_seen(self) -> dict[str, Tested]:
        """Return the arms among seen classes, and the probe trained on their labels."""
        training = self.most_seen
        classes = np.unique(self.labels[training.rows])
        rows = self.seen_test[np.isin(self.labels[self.seen_test], classes)]
        inputs, prior = self.inputs(rows), self.prior(rows)
        points, by_name = _points(self.knowledge[classes]), _points(self.names[classes])
        by_knowledge = training.head(self.knowledge, prior=True).embed(inputs, prior)
        named = training.head(self.names, prior=True).embed(inputs, prior)
        scores = {
            "head + prior": by_knowledge @ points.T,
            "head + prior, class names only": named @ by_name.T,
            "supervised ceiling: linear probe": training.probe(classes, inputs),
        }
        return {arm: self._tested(each, rows, classes) for arm, each in scores.items()}

    def generalised(self) -> dict[str, dict[str, float]]:
        """Return seen, unseen and harmonic accuracy with all classes as candidates."""
        rows = np.concatenate([self.seen_test, self.unseen_test])
        points = _points(self.knowledge)
        inputs, prior = self.inputs(rows), self.prior(rows)
        outcome = {}
        for name, with_prior in (("head + prior", True), ("head", False)):
            head = self.most_seen.head(self.knowledge, prior=with_prior)
            scores = _scores(head, inputs, prior, points)
            for rule, penalty in (("uncalibrated", 0.0), ("calibrated", head.seen_penalty)):
                both = seen_unseen(scores, self.labels[rows], self.is_seen, penalty=penalty)
                outcome[f"{name}, {rule}"] = {
                    "seen": both.seen,
                    "unseen": both.unseen,
                    "harmonic": both.harmonic,
                }
        return outcome

    def inputs(self, rows: IntArray) -> FloatArray:
        """Return what a head reads of labelled pictures, shape (N, F')."""
        return self.pictures.inputs[self.rows[rows]]

    def prior(self, rows: IntArray) -> FloatArray:
        """Return the semantic prior of labelled pictures, shape (N, D)."""
        return self.pictures.prior[self.rows[rows]]

    def pixels(self, rows: IntArray) -> FloatArray:
        """Return the raw pixels of labelled pictures, shape (N, P)."""
        return self.pictures.pixels[self.rows[rows]]

    def _tested(self, scores: FloatArray, rows: IntArray, classes: IntArray) -> Tested:
        answers = np.searchsorted(classes, self.labels[rows])
        return Tested(ranks_of(scores, answers), self.classes[self.labels[rows]], len(classes))


class _Training:
    """Pictures of seen classes, and the heads made of them; their inputs are decomposed once."""

    def __init__(self, run: _Run, rows: IntArray) -> None:
        self.rows = rows
        self._run = run
        self._labels = run.labels[rows]
        self._path = RidgePath.of(run.inputs(rows))

    def head(self, centers: FloatArray, *, prior: bool) -> Head:
        """Return the head towards class centers, shape (C, D), alone or to go with the prior."""
        return self._fit(
            self._run.inputs(self.rows),
            centers,
            prior=self._run.prior(self.rows) if prior else None,
            path=self._path,
        )

    def pixel_head(self, centers: FloatArray) -> Head:
        """Return the head that sees raw pixels only."""
        return self._fit(self._run.pixels(self.rows), centers, prior=None, path=None)

    def probe(self, classes: IntArray, inputs: FloatArray) -> FloatArray:
        """Return the scores of a linear probe for inputs, shape (N, F'), against classes."""
        standardised = (self._run.inputs(self.rows) - self._path.mean) / self._path.scale
        columns = np.searchsorted(classes, self._labels)
        weight, bias = linear_probe(standardised, columns, n_classes=len(classes))
        asked: FloatArray = (inputs - self._path.mean) / self._path.scale
        return asked @ weight + bias

    def _fit(
        self,
        inputs: FloatArray,
        centers: FloatArray,
        *,
        prior: FloatArray | None,
        path: RidgePath | None,
    ) -> Head:
        # What all classes share is known from their texts, also of those without pictures.
        points = _points(centers)[self._labels]
        targets = Targets.from_captions(list(self._run.classes[self._labels]), points)
        return Aligner(seed=self._run.seed).fit(
            inputs,
            replace(targets, are_classes=True),
            space=self._run.pictures.space,
            encoder=self._run.pictures.encoder,
            prior=prior,
            path=path,
        )


def _scores(
    head: Head, inputs: FloatArray, prior: FloatArray | None, points: FloatArray
) -> FloatArray:
    """Return a head's scores against points, shape (N, C), corrected for hubs as in use."""
    return without_hubs(head.embed(inputs, prior) @ points.T, head.references @ points.T)


def _points(means: FloatArray) -> FloatArray:
    """Return class points, centred on what the given classes share, unit length, shape (C, D)."""
    return unit(means - means.mean(axis=0))
