"""Seen and unseen classes together: what a head is worth where nobody says which is which."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from unibind.alignment.aligner import Aligner
from unibind.alignment.calibration import Regime
from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head
from unibind.alignment.hubs import without_hubs
from unibind.alignment.ridge import RidgePath
from unibind.alignment.stacking import seen_unseen
from unibind.alignment.targets import Targets
from unibind.alignment.unknown import outside
from unibind.errors import InvalidInputError
from unibind.evaluation.bootstrap import Outcome, Summary, summary
from unibind.evaluation.labelled import LabelledItems, Split, split_classes
from unibind.evaluation.reliability import (
    auroc,
    calibration_error,
    calibration_floor,
    calibration_interval,
    debiased_calibration_error,
)
from unibind.types import FloatArray, IntArray, Json, ProgressCallback

__all__ = ["Generalised", "evaluate", "fit_seen", "hub_free", "points_of", "told"]

FALSE_ALARMS = 0.05


@dataclass(frozen=True, slots=True)
class Generalised:
    """What was measured, means over seeds.

    Attributes:
        accuracy: Among seen classes only, and among unseen ones only, with intervals over classes;
            None for unseen ones where there are fewer than 4 classes, for then none is left out.
        together: All classes being candidates: seen, unseen and harmonic mean, with the penalty
            of seen classes (calibrated) and without it.
        calibration_error: Of the likeliest class's probability, by what the list holds, with its
            interval over classes, the floor that perfect probabilities would show, and the error
            less what chance adds.
        unknown: Half of the classes listed: AUROC of being none of them, how many items of listed
            classes are called unknown, and how many of the others.
        n_classes: Of all, and of these unseen.
        n_items: Trained on, tested of seen, and tested of unseen classes, means over seeds.
        n_seeds: Splits.
    """

    accuracy: dict[str, Json]
    together: dict[str, dict[str, float]]
    calibration_error: dict[str, Json]
    unknown: dict[str, float] | None
    n_classes: dict[str, int]
    n_items: dict[str, int]
    n_seeds: int


def evaluate(
    items: LabelledItems,
    centers: ClassCenters,
    *,
    seeds: Sequence[int],
    aligner: Aligner | None = None,
    progress: ProgressCallback | None = None,
) -> Generalised:
    """Return what heads of seen classes are worth on seen and unseen ones.

    Args:
        items: Labelled.
        centers: Of all their classes, in any order.
        seeds: Of the splits.
        aligner: How heads are made.
        progress: Called with the seeds done and their number.

    Raises:
        InvalidInputError: A class has no center.
    """
    points = points_of(items, centers)
    together: dict[str, list[list[float]]] = defaultdict(list)
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    believed: dict[str, list[_Believed]] = defaultdict(list)
    outsiders, sizes = [], []
    for done, seed in enumerate(seeds):
        split = split_classes(items, seed=seed)
        head = fit_seen(items, points, split, aligner or Aligner(seed=seed))
        run = _Run(items, points, split, head)
        rules = (("uncalibrated", 0.0), ("calibrated", head.seen_penalty))
        for rule, penalty in rules if len(split.unseen) else ():
            rows = np.concatenate([split.seen, split.unseen])
            both = seen_unseen(run.scores(rows), items.labels[rows], split.is_seen, penalty=penalty)
            together[rule].append([both.seen, both.unseen, both.harmonic])
        for kind, belief, right, labels in run.beliefs():
            believed[kind].append((belief, right, labels))
            outcomes[kind].append(Outcome(right.astype(np.float64), labels))
        found = run.unknown(centers, seed)
        if found is not None:
            outsiders.append(found)
        sizes.append([len(split.train), len(split.seen), len(split.unseen)])
        if progress is not None:
            progress(done + 1, len(seeds))
    n_unseen = int((~split.is_seen).sum())
    return Generalised(
        accuracy={
            kind: told(summary(outcomes[kind])) if kind in outcomes else None
            for kind in ("seen", "unseen")
        },
        together={
            rule: dict(
                zip(
                    ("seen", "unseen", "harmonic"),
                    np.mean(rows, axis=0).round(4).tolist(),
                    strict=True,
                )
            )
            for rule, rows in together.items()
        },
        calibration_error={kind: _errors(each) for kind, each in believed.items()},
        unknown=dict(
            zip(
                ("auroc", "false_alarms", "detected"),
                np.mean(outsiders, axis=0).round(4).tolist(),
                strict=True,
            )
        )
        if outsiders
        else None,
        n_classes={"all": len(items.classes), "unseen": n_unseen},
        n_items=dict(
            zip(
                ("trained", "seen", "unseen"),
                np.mean(sizes, axis=0).round().astype(int).tolist(),
                strict=True,
            )
        ),
        n_seeds=len(seeds),
    )


def points_of(items: LabelledItems, centers: ClassCenters) -> FloatArray:
    """Return the direction of each of the items' classes, not centred, shape (C, D).

    Raises:
        InvalidInputError: A class has no center.
    """
    targets = Targets.from_labels(list(items.classes), centers)  # names what is missing
    del targets
    place = {label: c for c, label in enumerate(centers.labels)}
    return unit(centers.vectors[[place[name] for name in items.classes]].mean(axis=1))


def fit_seen(
    items: LabelledItems,
    points: FloatArray,
    split: Split,
    aligner: Aligner,
    *,
    path: RidgePath | None = None,
) -> Head:
    """Return the head of a split's training items; of the other classes only texts are known."""
    centred = unit(points - points.mean(axis=0))
    labels = items.labels[split.train]
    names = [items.classes[label] for label in labels]
    targets = replace(Targets.from_captions(names, centred[labels]), are_classes=True)
    return aligner.fit(
        items.inputs[split.train],
        targets,
        space=items.space,
        encoder=items.encoder,
        prior=None if items.prior is None else items.prior[split.train],
        path=path,
    )


def hub_free(head: Head, embeddings: FloatArray, points: FloatArray) -> FloatArray:
    """Return scores against points of a list, centred on it, corrected for hubs, shape (N, C)."""
    centred = unit(points - points.mean(axis=0))
    return without_hubs(embeddings @ centred.T, head.references @ centred.T)


class _Run:
    """One seed's head, asked in several ways."""

    def __init__(self, items: LabelledItems, points: FloatArray, split: Split, head: Head) -> None:
        self._items, self._points, self._split, self._head = items, points, split, head
        self._embeddings = head.embed(items.inputs, items.prior)

    def scores(self, rows: IntArray, classes: IntArray | None = None) -> FloatArray:
        points = self._points if classes is None else self._points[classes]
        return hub_free(self._head, self._embeddings[rows], points)

    def beliefs(
        self,
    ) -> Sequence[tuple[Regime, FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.str_]]]:
        """Return belief in the likeliest class and whether it is right, by what is listed."""
        split, labels = self._split, self._items.labels
        everyone = np.concatenate([split.seen, split.unseen])
        every_class = np.arange(len(self._points))
        told = []
        asked: tuple[tuple[Regime, IntArray, IntArray], ...] = (
            ("seen", split.seen, np.flatnonzero(split.is_seen)),
            ("unseen", split.unseen, np.flatnonzero(~split.is_seen)),
            ("mixed", everyone, every_class),
        )
        for kind, rows, classes in asked if len(split.unseen) else asked[:1]:
            scores = self.scores(rows, classes)
            if kind == "mixed":
                penalty = np.float32(self._head.seen_penalty)
                scores = scores - penalty * split.is_seen.astype(np.float32)
            belief = self._head.calibration(kind).probabilities(scores).max(axis=1)
            right = classes[scores.argmax(axis=1)] == labels[rows]
            told.append((kind, belief, right, np.array(self._items.classes)[labels[rows]]))
        return told

    def unknown(self, centers: ClassCenters, seed: int) -> tuple[float, float, float] | None:
        """Return AUROC, false alarms and detections where half of the classes are listed.

        None where that cannot be asked: too few classes were trained on that are not listed.
        """
        split, n_classes = self._split, len(self._points)
        listed = np.sort(np.random.default_rng(seed).permutation(n_classes)[: n_classes // 2])
        rows = np.concatenate([split.seen, split.unseen])
        inside = np.isin(self._items.labels[rows], listed)
        if inside.all() or not inside.any():
            return None
        place = {label: c for c, label in enumerate(centers.labels)}
        names = tuple(self._items.classes[c] for c in listed)
        try:
            found = outside(
                self._embeddings[rows],
                ClassCenters(
                    names, centers.vectors[[place[name] for name in names]], centers.space
                ),
                self._head,
                is_seen=split.is_seen[listed],
                false_alarms=FALSE_ALARMS,
            )
        except InvalidInputError:
            return None
        return (
            auroc(found.odds[~inside], found.odds[inside]),
            float(found.is_unknown[inside].mean()),
            float(found.is_unknown[~inside].mean()),
        )


def told(found: Summary) -> dict[str, Json]:
    """Return a mean with its interval as JSON."""
    return {
        "mean": round(found.mean, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
    }


_Believed = tuple[FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.str_]]
"""Belief in the likeliest class of each item, whether it is right, and the item's own class."""


def _errors(believed: Sequence[_Believed]) -> dict[str, float | int]:
    belief, right, labels = (np.concatenate(parts) for parts in zip(*believed, strict=True))
    low, high = calibration_interval(belief, right, np.unique(labels, return_inverse=True)[1])
    return {
        "error": round(calibration_error(belief, right), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "floor": round(calibration_floor(belief), 4),
        "debiased": round(debiased_calibration_error(belief, right), 4),
        "believed": round(float(belief.mean()), 4),
        "right": round(float(right.mean()), 4),
        "n": len(belief),
    }
