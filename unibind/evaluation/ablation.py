"""Does the language model's text help? An ablation that can say no.

On seen classes it cannot be told: a head that is trained with labels learns to reach any point, a
random one as well as a meaningful one. So every arm is asked about classes that its head has never
seen, and the text is kept only where it beats a word for the domain *and* random words there.
"""

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from unibind.alignment.aligner import Method
from unibind.artifact import write_file
from unibind.evaluation.bootstrap import Outcome, difference, summary
from unibind.evaluation.class_texts import text_arms
from unibind.evaluation.generalised import told
from unibind.evaluation.labelled import LabelledItems
from unibind.evaluation.seed_run import Answered, SeedRun, mean_points
from unibind.evaluation.verdict import judge
from unibind.knowledge.class_texts import LLM
from unibind.types import FloatArray, Json, ProgressCallback

__all__ = ["ORTHOGONAL", "PROBE", "Ablation", "Asked", "ablate"]

ORTHOGONAL = "random orthogonal centers"
PROBE = "linear probe"

Texts = Mapping[str, Mapping[str, Sequence[str]]]
"""Arm, class, texts."""


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
        chosen: Which text stands for a class by this, one of `knowledge.class_texts.KINDS`.
        because: Why that one, in words.
    """

    about: dict[str, Json]
    rows: list[dict[str, Json]]
    differences: dict[str, dict[str, dict[str, Json]]]
    is_kept: bool
    verdict: str
    chosen: str
    because: str


def ablate(
    items: LabelledItems,
    lines: Mapping[str, Sequence[str]],
    embed_texts: Callable[[Sequence[str]], FloatArray],
    asked: Asked,
    *,
    checkpoint: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Ablation:
    """Return what each kind of class text is worth, at equal numbers of texts.

    Args:
        items: Labelled.
        lines: Of each of their classes, the sentences that a language model wrote.
        embed_texts: Texts to unit-length embeddings of the space, shape (M, D); called once.
        asked: What is asked.
        checkpoint: A folder in which finished seeds are kept until the end: interrupted, the same
            ablation goes on there.
        progress: Called with the arms done, over all seeds, and their number.

    Raises:
        InvalidInputError: A class has no sentence.
        ArtifactError: The folder cannot be written.
    """
    mine = {name: lines.get(name, ()) for name in items.classes}
    texts: dict[int, Texts] = {
        seed: text_arms(
            mine, medium=asked.medium, domain=asked.domain, seed=seed, n_lines=asked.n_lines
        )
        for seed in asked.seeds
    }
    vectors = _Vectors(texts, embed_texts)
    kept = _Kept(checkpoint, items, texts, asked)
    n_arms = len(next(iter(texts.values()))) + 2  # random points, and the probe
    answered: dict[str, list[Answered]] = defaultdict(list)
    for place, seed in enumerate(asked.seeds):
        run = SeedRun(items, seed, asked.method)
        known = kept.load(seed)

        def tell(n_done: int, place: int = place) -> None:
            if progress is not None:
                progress(place * n_arms + n_done, len(asked.seeds) * n_arms)

        found = (
            {arm: run.read(each) for arm, each in known.items()}
            if known is not None
            else _answers(run, texts[seed], vectors, items.classes, tell)
        )
        kept.save(seed, found)
        for arm, each in found.items():
            answered[arm].append(each)
        tell(n_arms)
    n_texts = len(next(iter(texts[asked.seeds[0]][LLM].values())))
    made = _told(asked, items, answered, n_texts=n_texts)
    kept.clear()
    return made


def _answers(
    run: SeedRun,
    texts: Mapping[str, Mapping[str, Sequence[str]]],
    vectors: "_Vectors",
    classes: Sequence[str],
    tell: Callable[[int], None],
) -> dict[str, Answered]:
    found: dict[str, Answered] = {}
    for arm, each in texts.items():
        found[arm] = run.ask(mean_points(each, classes, vectors.of))
        tell(len(found))
    found[ORTHOGONAL] = run.ask(run.orthogonal(vectors.dim))
    tell(len(found))
    return {**found, PROBE: run.probe()}


def _told(
    asked: Asked,
    items: LabelledItems,
    answered: Mapping[str, Sequence[Answered]],
    *,
    n_texts: int,
) -> Ablation:
    """Return the tables of all answers, and what they decide."""
    seen = {arm: [each.seen for each in answers] for arm, answers in answered.items()}
    unseen: dict[str, list[Outcome]] = {}
    for arm, answers in answered.items():
        found = [each.unseen for each in answers if each.unseen is not None]
        if found:
            unseen[arm] = found
    verdict = judge(unseen)
    is_seen = SeedRun(items, asked.seeds[0], asked.method).split.is_seen
    n_seen, n_unseen = int(is_seen.sum()), int((~is_seen).sum())
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
            "unseen_classes": n_unseen,
            "lines_per_class": n_texts,
            "chance_seen": round(1 / n_seen, 4),
            "chance_unseen": round(1 / n_unseen, 4) if n_unseen else None,
            "split_by": "group" if items.groups is not None else "item",
        },
        rows=[
            {
                "arm": arm,
                "unseen": told(summary(unseen[arm])) if arm in unseen else None,
                "seen": told(summary(seen[arm])),
                "harmonic": _mean([each.harmonic for each in answers]),
                "harmonic_uncalibrated": _mean([each.raw for each in answers]),
            }
            for arm, answers in answered.items()
        ],
        differences={
            kind: {
                arm: told(difference(outcomes[LLM], other))
                for arm, other in outcomes.items()
                if arm != LLM
            }
            for kind, outcomes in (("unseen", unseen), ("seen", seen))
        },
        is_kept=verdict.is_kept,
        verdict=verdict.words,
        chosen=verdict.chosen,
        because=verdict.because,
    )


class _Vectors:
    """The embeddings of all texts of all seeds, each made once."""

    def __init__(
        self, texts: Mapping[int, Texts], embed_texts: Callable[[Sequence[str]], FloatArray]
    ) -> None:
        distinct = dict.fromkeys(
            text
            for arms in texts.values()
            for classes in arms.values()
            for each in classes.values()
            for text in each
        )
        self._rows = {text: row for row, text in enumerate(distinct)}
        self._vectors = embed_texts(list(distinct))
        self.dim = self._vectors.shape[1]

    def of(self, text: str) -> FloatArray:
        """Return the embedding of a text, shape (D,)."""
        vector: FloatArray = self._vectors[self._rows[text]]
        return vector


class _Kept:
    """The seeds that are done, a file each; what belongs to another ablation is not used."""

    def __init__(
        self, folder: Path | None, items: LabelledItems, texts: Mapping[int, Texts], asked: Asked
    ) -> None:
        digest = hashlib.sha256(json.dumps([asdict(asked), texts], sort_keys=True).encode())
        arrays = [items.inputs, items.labels, items.prior, items.groups]
        for array in arrays:
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        self._key = digest.hexdigest()
        self._folder = None if folder is None else folder / self._key[:16]

    def load(self, seed: int) -> dict[str, dict[str, Json]] | None:
        """Return what arms answered under a seed, None if that is not known."""
        if self._folder is None or not self._place(seed).is_file():
            return None
        try:
            kept = json.loads(self._place(seed).read_text(encoding="utf-8"))
            answers: dict[str, dict[str, Json]] = kept["answers"]
        except (ValueError, KeyError, TypeError, OSError):
            return None  # it is measured again, which is the remedy
        return answers if kept.get("key") == self._key else None

    def save(self, seed: int, answered: Mapping[str, Answered]) -> None:
        """Keep what arms answered under a seed."""
        if self._folder is None:
            return
        answers = {arm: each.to_json() for arm, each in answered.items()}
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": self._key, "answers": answers})
        write_file(self._place(seed), text.encode())

    def clear(self) -> None:
        """Remove what was kept: the ablation is done."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self, seed: int) -> Path:
        assert self._folder is not None
        return self._folder / f"seed-{seed}.json"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None
