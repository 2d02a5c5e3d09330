"""Does the language model's text help? An ablation that can say no.

On seen classes it cannot be told: a head that is trained with labels learns to reach any point, a
random one as well as a meaningful one. So every arm is asked about classes that its head has never
seen, and the text is kept only where it beats a word for the domain *and* random words there.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unibind.alignment.aligner import Aligner, Method
from unibind.alignment.geometry import unit
from unibind.alignment.ridge import RidgePath
from unibind.alignment.stacking import seen_unseen
from unibind.evaluation.baselines import linear_probe
from unibind.evaluation.bootstrap import Outcome, Summary, difference, summary
from unibind.evaluation.class_texts import KEPT_OVER, text_arms
from unibind.evaluation.generalised import fit_seen, hub_free, told
from unibind.evaluation.labelled import LabelledItems, Split, split_classes
from unibind.types import FloatArray, Json, ProgressCallback

__all__ = ["Ablation", "Asked", "ablate"]

ORTHOGONAL = "random orthogonal centers"
PROBE = "linear probe"
LLM = "LLM"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an ablation is of.

    Attributes:
        data: Name of the set, and where it is from.
        modality: What its items are.
        knowledge: Name and content id of the knowledge base.
        medium: What the items are called in templates.
        domain: What the classes are, in a word.
        seeds: Of the splits.
        method: How heads are made.
        n_lines: K, how many texts of each class, in every arm; None takes as many as all have.
    """

    data: str
    modality: str
    knowledge: str
    medium: str
    domain: str
    seeds: tuple[int, ...]
    method: Method = "ridge"
    n_lines: int | None = None


@dataclass(frozen=True, slots=True)
class Ablation:
    """What came of it, ready for JSON: equal inputs, equal values.

    Attributes:
        about: What was asked, and of how many items and classes.
        rows: One per arm: accuracy on unseen classes and on seen ones with intervals, and the
            harmonic mean where all classes are candidates.
        differences: LLM text less each other arm, paired, on unseen and on seen classes.
        is_kept: Whether LLM text is kept.
        verdict: The same in words.
    """

    about: dict[str, Json]
    rows: list[dict[str, Json]]
    differences: dict[str, dict[str, dict[str, Json]]]
    is_kept: bool
    verdict: str


def ablate(
    items: LabelledItems,
    lines: Mapping[str, Sequence[str]],
    embed_texts: Callable[[Sequence[str]], FloatArray],
    asked: Asked,
    *,
    progress: ProgressCallback | None = None,
) -> Ablation:
    """Return what each kind of class text is worth, at equal numbers of texts.

    Args:
        items: Labelled.
        lines: Of each of their classes, the sentences that a language model wrote.
        embed_texts: Texts to unit-length embeddings of the space, shape (M, D).
        asked: What is asked.
        progress: Called with the seeds done and their number.

    Raises:
        InvalidInputError: A class has no sentence, or there are too few classes.
    """
    mine = {name: lines.get(name, ()) for name in items.classes}
    seen: dict[str, list[Outcome]] = defaultdict(list)
    unseen: dict[str, list[Outcome]] = defaultdict(list)
    together: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    chances: list[tuple[float, float]] = []
    k = 0
    for done, seed in enumerate(asked.seeds):
        split = split_classes(items, seed=seed)
        run = _Run(items, split, seed, asked.method)
        texts = text_arms(
            mine, medium=asked.medium, domain=asked.domain, seed=seed, n_lines=asked.n_lines
        )
        k = len(next(iter(texts["class name"].values())))
        points = {arm: _points(each, items.classes, embed_texts) for arm, each in texts.items()}
        points[ORTHOGONAL] = run.orthogonal(points[LLM].shape[1])
        for arm, each in points.items():
            found = run.ask(each)
            seen[arm].append(found.seen)
            unseen[arm].append(found.unseen)
            together[arm].append((found.harmonic, found.raw, found.penalty))
        seen[PROBE].append(run.probe())
        chances.append((1 / int(split.is_seen.sum()), 1 / int((~split.is_seen).sum())))
        if progress is not None:
            progress(done + 1, len(asked.seeds))
    rows = [
        {
            "arm": arm,
            "unseen": told(summary(unseen[arm])) if arm in unseen else None,
            "seen": told(summary(seen[arm])),
            "harmonic": _mean(together[arm], 0) if arm in together else None,
            "harmonic_uncalibrated": _mean(together[arm], 1) if arm in together else None,
        }
        for arm in seen
    ]
    compared = {
        kind: {
            arm: difference(outcomes[LLM], other) for arm, other in outcomes.items() if arm != LLM
        }
        for kind, outcomes in (("unseen", unseen), ("seen", seen))
    }
    is_kept, verdict = _verdict(compared["unseen"])
    return Ablation(
        about={
            "data": asked.data,
            "modality": asked.modality,
            "encoder": items.encoder,
            "space": items.space,
            "knowledge": asked.knowledge,
            "medium": asked.medium,
            "domain": asked.domain,
            "method": asked.method,
            "seeds": list(asked.seeds),
            "items": len(items.labels),
            "classes": len(items.classes),
            "unseen_classes": int((~split.is_seen).sum()),
            "lines_per_class": k,
            "chance_seen": round(float(np.mean([each for each, _ in chances])), 4),
            "chance_unseen": round(float(np.mean([each for _, each in chances])), 4),
            "split_by": "group" if items.groups is not None else "item",
        },
        rows=rows,
        differences={
            kind: {arm: told(found) for arm, found in each.items()}
            for kind, each in compared.items()
        },
        is_kept=is_kept,
        verdict=verdict,
    )


def _verdict(compared: Mapping[str, Summary]) -> tuple[bool, str]:
    """Return whether LLM text is kept, and why, in words."""
    failed = [arm for arm in KEPT_OVER if not compared[arm].low > 0]
    of = failed[0] if failed else min(KEPT_OVER, key=lambda arm: compared[arm].mean)
    found = compared[of]
    points = f"{100 * found.mean:+.1f} points over {_THE[of]} "
    points += f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
    if failed:
        return False, f"LLM text is not kept: {points} on unseen classes"
    return True, f"LLM text is kept: {points} on unseen classes"


_THE = {"domain word": "the domain word", "shared random words": "shared random words"}


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    seen: Outcome
    unseen: Outcome
    harmonic: float
    raw: float
    penalty: float


class _Run:
    """One seed: what is trained on, and heads towards whatever points."""

    def __init__(self, items: LabelledItems, split: Split, seed: int, method: Method) -> None:
        self._items, self._split, self._seed, self._method = items, split, seed, method
        self._path = RidgePath.of(items.inputs[split.train])

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

    def ask(self, points: FloatArray) -> _Found:
        """Return what a head towards points, shape (C, D), finds among seen and unseen classes."""
        items, split = self._items, self._split
        head = fit_seen(
            items, points, split, Aligner(method=self._method, seed=self._seed), path=self._path
        )
        embeddings = head.embed(items.inputs, items.prior)

        def right(rows: np.ndarray, classes: np.ndarray) -> Outcome:
            scores = hub_free(head, embeddings[rows], points[classes])
            return self._outcome(classes[scores.argmax(axis=1)], rows)

        everyone = np.concatenate([split.seen, split.unseen])
        scores = hub_free(head, embeddings[everyone], points)
        raw, both = (
            seen_unseen(scores, items.labels[everyone], split.is_seen, penalty=penalty).harmonic
            for penalty in (0.0, head.seen_penalty)
        )
        return _Found(
            right(split.seen, np.flatnonzero(split.is_seen)),
            right(split.unseen, np.flatnonzero(~split.is_seen)),
            both,
            raw,
            head.seen_penalty,
        )

    def probe(self) -> Outcome:
        """Return what a linear probe finds among seen classes: labels, and no text at all."""
        items, split = self._items, self._split
        classes = np.unique(items.labels[split.train])
        standard = (items.inputs - self._path.mean) / self._path.scale
        weight, bias = linear_probe(
            standard[split.train],
            np.searchsorted(classes, items.labels[split.train]),
            n_classes=len(classes),
        )
        answers = classes[(standard[split.seen] @ weight + bias).argmax(axis=1)]
        return self._outcome(answers, split.seen)

    def _outcome(self, answers: np.ndarray, rows: np.ndarray) -> Outcome:
        right = answers == self._items.labels[rows]
        clusters = np.array(self._items.classes)[self._items.labels[rows]]
        return Outcome(right.astype(np.float64), clusters)


def _points(
    texts: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    embed_texts: Callable[[Sequence[str]], FloatArray],
) -> FloatArray:
    """Return the mean of each class's texts, unit length, shape (C, D)."""
    flat = [text for name in classes for text in texts[name]]
    distinct = list(dict.fromkeys(flat))
    vectors = dict(zip(distinct, embed_texts(distinct), strict=True))
    return unit(np.stack([np.mean([vectors[t] for t in texts[name]], axis=0) for name in classes]))


def _mean(rows: Sequence[tuple[float, ...]], column: int) -> float:
    return round(float(np.mean([row[column] for row in rows])), 4)
