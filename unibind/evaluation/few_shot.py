"""How fast unseen classes are learned from 1 to 16 examples, against a probe on the same ones."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from unibind.alignment.aligner import Aligner
from unibind.alignment.centers import ClassCenters
from unibind.alignment.examples import Examples, Seen
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.evaluation.baselines import linear_probe
from unibind.evaluation.bootstrap import Outcome, difference, summary
from unibind.evaluation.generalised import told
from unibind.types import FloatArray, IntArray, Json, ProgressCallback, SpaceId

__all__ = ["SHOTS", "Captioned", "few_shot"]

SHOTS = (0, 1, 2, 4, 8, 16)
_MIN_TESTED = 2
_MAX_CLASSES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Captioned:
    """N items with a caption and a class each.

    Attributes:
        inputs: What a head reads, shape (N, F').
        prior: By the semantic prior, shape (N, D), if there is one.
        texts: Embeddings of the captions, shape (N, D).
        captions: Shape (N,); items of one caption are never on both sides of a split.
        classes: Class of each, shape (N,).
        space: Where the texts live.
        encoder: Fingerprint of the encoder behind the inputs.
    """

    inputs: FloatArray
    prior: FloatArray | None
    texts: FloatArray
    captions: Sequence[str]
    classes: Sequence[str]
    space: SpaceId
    encoder: str


def few_shot(
    items: Captioned,
    centers: ClassCenters,
    *,
    seeds: Sequence[int],
    progress: ProgressCallback | None = None,
) -> dict[str, Json]:
    """Return accuracy among classes that no head has seen, by number of examples of each.

    The head is trained on the captions of all other classes. Of each unseen class 16 items are
    examples, taken in one order, so that more examples always include fewer; the rest is tested.

    Args:
        items: Of classes with 18 items or more, and others to train on.
        centers: Of the classes, by name.
        seeds: Of the draws.
        progress: Called with the seeds done and their number.

    Raises:
        InvalidInputError: Fewer than two classes have enough items.
    """
    classes = np.array(items.classes)
    counts = Counter(items.classes)
    large = sorted(name for name, count in counts.items() if count >= SHOTS[-1] + _MIN_TESTED)
    large = [name for name in large if name in centers.labels]
    if len(large) < 2:
        raise InvalidInputError(
            f"{len(large)} classes have {SHOTS[-1] + _MIN_TESTED} items; at least 2 are needed"
        )
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    n_tested = []
    for done, seed in enumerate(seeds):
        generator = np.random.default_rng(seed)
        unseen = np.sort(generator.permutation(large)[:_MAX_CLASSES])
        shown, tested, right = _draw(items, classes, unseen, generator)
        apart = ~np.isin(classes, unseen) & ~np.isin(
            np.array(items.captions), np.array(items.captions)[np.isin(classes, unseen)]
        )
        run = _Run(items, centers, unseen, np.flatnonzero(apart), seed)
        clusters = np.array(items.captions)[tested]
        n_tested.append(len(tested))
        for n in SHOTS:
            rows = np.concatenate([each[:n] for each in shown]).astype(np.int64)
            labels = np.repeat(np.arange(len(unseen)), [len(each[:n]) for each in shown])
            arms = {"taught": run.taught(tested, rows, unseen[labels])}
            if n:
                arms["linear probe"] = run.probe(tested, rows, labels)
            for arm, scores in arms.items():
                values = (scores.argmax(axis=1) == right).astype(np.float64)
                outcomes[f"{arm}, {n}"].append(Outcome(values, clusters))
        if progress is not None:
            progress(done + 1, len(seeds))
    return {
        "shots": list(SHOTS),
        "classes": min(len(large), _MAX_CLASSES),
        "chance": round(1 / min(len(large), _MAX_CLASSES), 4),
        "tested": round(float(np.mean(n_tested))),
        "seeds": len(seeds),
        "accuracy": {name: told(summary(each)) for name, each in outcomes.items()},
        "taught_minus_probe": {
            str(n): told(difference(outcomes[f"taught, {n}"], outcomes[f"linear probe, {n}"]))
            for n in SHOTS[1:]
        },
    }


def _draw(
    items: Captioned,
    classes: npt.NDArray[np.str_],
    unseen: npt.NDArray[np.str_],
    generator: np.random.Generator,
) -> tuple[list[IntArray], IntArray, IntArray]:
    """Return examples of each class, in the order of learning, what is tested, and its class."""
    captions = np.array(items.captions)
    shown, tested, right = [], [], []
    for column, name in enumerate(unseen):
        rows = generator.permutation(np.flatnonzero(classes == name))
        # One item of each caption first; what is left of the captions shown is not tested.
        _, first = np.unique(captions[rows], return_index=True)
        examples = rows[np.sort(first)][: SHOTS[-1]]
        if len(np.unique(captions[rows])) < SHOTS[-1] + _MIN_TESTED:
            examples = examples[: max(1, len(np.unique(captions[rows])) - _MIN_TESTED)]
        rest = rows[~np.isin(captions[rows], captions[examples])]
        shown.append(examples)
        tested.append(rest)
        right.append(np.full(len(rest), column))
    return shown, np.concatenate(tested), np.concatenate(right)


class _Run:
    """One seed's head of the other classes, and what is asked of it."""

    def __init__(
        self,
        items: Captioned,
        centers: ClassCenters,
        unseen: npt.NDArray[np.str_],
        train: IntArray,
        seed: int,
    ) -> None:
        self._items = items
        places = [centers.labels.index(name) for name in unseen]
        self._centers = replace(
            centers, labels=tuple(unseen.tolist()), vectors=centers.vectors[places]
        )
        targets = Targets.from_captions([items.captions[row] for row in train], items.texts[train])
        self._head: Head = Aligner(seed=seed).fit(
            items.inputs[train],
            targets,
            space=items.space,
            encoder=items.encoder,
            prior=None if items.prior is None else items.prior[train],
        )

    def taught(self, rows: IntArray, shown: IntArray, labels: npt.NDArray[np.str_]) -> FloatArray:
        """Return scores of items once examples were shown, shape (N, C)."""
        examples = Examples(tuple(labels.tolist()), self._items.inputs[shown], self._items.encoder)
        return examples.scores(
            self._seen(rows), self._seen(shown), self._centers, references=self._head.references
        )

    def probe(self, rows: IntArray, shown: IntArray, labels: IntArray) -> FloatArray:
        """Return scores of a linear probe trained on the same examples, shape (N, C)."""
        weight, bias = linear_probe(
            self._standardised(shown), labels, n_classes=len(self._centers.labels)
        )
        scores: FloatArray = self._standardised(rows) @ weight + bias
        return scores

    def _standardised(self, rows: IntArray) -> FloatArray:
        inputs: FloatArray = (self._items.inputs[rows] - self._head.mean) / self._head.scale
        return inputs

    def _seen(self, rows: IntArray) -> Seen:
        prior = None if self._items.prior is None else self._items.prior[rows]
        embeddings = self._head.embed(self._items.inputs[rows], prior)
        return Seen(embeddings, unit(self._standardised(rows)))
