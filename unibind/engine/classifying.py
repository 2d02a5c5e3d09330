"""From items to their classes: sentences, measurements and examples weighed together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unibind.alignment.attributes import MEASURED_WEIGHT
from unibind.alignment.centers import ClassCenters, check_labels
from unibind.alignment.decision import decide, seen_among
from unibind.alignment.examples import Examples, Seen
from unibind.alignment.hubs import without_hubs
from unibind.alignment.space import Space
from unibind.alignment.unknown import Outside, outside
from unibind.encoders.pipeline import Failure
from unibind.engine.judging import with_reasons, with_unknown
from unibind.engine.measuring import Measured, measure
from unibind.engine.senses import Senses
from unibind.errors import InvalidInputError
from unibind.knowledge.base import KnowledgeBase, open_base
from unibind.types import FloatArray, IntArray, Json, Prediction, ProgressCallback

__all__ = ["EVIDENCE", "Classified", "Classifier"]

EVIDENCE = ("space", "attributes")
"""What can speak for a class: its sentences, through the space, and what instruments measure."""

_MOST_MADE = 16
_DEFAULT_TEMPERATURE = 0.14
"""Of the prior alone: the likeliest for emoji among 3, 10 and 60 of their names."""


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """What many items are.

    Attributes:
        predictions: Of each of the M items that worked, in their order, the likeliest first.
        rows: Places of those among the items, ascending, shape (M,).
        failures: The others, in their order.
    """

    predictions: list[list[Prediction]]
    rows: IntArray
    failures: tuple[Failure, ...]


class Classifier:
    """Places the items of a space's senses among classes.

    Args:
        space: The space.
        senses: What leads from items into it.
    """

    def __init__(self, space: Space, senses: Senses) -> None:
        self._space = space
        self._senses = senses
        self._made: dict[tuple[object, ...], ClassCenters] = {}

    def centers(
        self,
        *,
        classes: Sequence[str] | None = None,
        knowledge: str | Path | KnowledgeBase | None = None,
        selection: str = "all",
        n_centers: int | None = None,
    ) -> ClassCenters:
        """Return class centers; see `Engine.centers`."""
        if knowledge is None:
            if classes is None:
                raise InvalidInputError(
                    "give classes=[...] or knowledge=NAME: nothing to choose from"
                )
            check_labels(classes)
            texts = [[name] for name in classes]
        else:
            base = knowledge if isinstance(knowledge, KnowledgeBase) else open_base(knowledge)
            classes = base.classes if classes is None else classes
            check_labels(classes)
            texts = [[name, *base.texts(name)] for name in classes]
            # Who serves asks the same base again and again, and it has thousands of sentences.
            known = (base.content_id, tuple(classes), selection, n_centers)
            if base.content_id and known in self._made:
                return self._made[known]
        vectors = self._senses.embed_texts([text for lines in texts for text in lines])
        ends = np.cumsum([len(lines) for lines in texts])[:-1]
        centers = ClassCenters.from_lines(
            classes,
            np.split(vectors, ends),
            space=self._space.id,
            selection=selection,
            n_centers=n_centers,
        )
        if knowledge is not None and base.content_id:
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            self._made[known] = centers
        return centers

    def classify_each(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        classes: Sequence[str] | None = None,
        knowledge: str | Path | KnowledgeBase | None = None,
        options: Mapping[str, Json] | None = None,
        evidence: Collection[str] = EVIDENCE,
        top: int | None = None,
        explain: bool = False,
        unknown: float | None = None,
        progress: ProgressCallback | None = None,
    ) -> Classified:
        """Return the classes of the items that work; see `Engine.classify_each`."""
        if set(evidence) - set(EVIDENCE) or not evidence:
            raise InvalidInputError(
                f"evidence {sorted(evidence)}; any of {', '.join(EVIDENCE)} was needed"
            )
        base = open_base(knowledge) if isinstance(knowledge, str | Path) else knowledge
        centers = self.centers(classes=classes, knowledge=base)
        measured = None
        if "attributes" in evidence and base is not None:
            measured = measure(modality, items, base, classes=centers.labels, options=options)
        is_measured = measured is not None and measured.says_anything
        reaches = self._senses.has(modality) and self._senses.reaches(modality)
        lines = _lines(centers, base)
        if "space" not in evidence or (is_measured and not reaches):
            if measured is None or not is_measured:
                raise InvalidInputError(
                    f"no instrument measured anything of these {modality!r} items that the "
                    "knowledge base has ranges for; give knowledge=NAME of a base with ranges, "
                    "and say what the files do not (options)"
                )
            if unknown is not None:
                raise InvalidInputError(
                    "measurements alone know of nothing but the listed classes; to tell what is "
                    f"unknown, let the space speak too, for which {modality!r} needs a head: make "
                    "one with `unibind align`"
                )
            alone = measured.of(measured.rows)
            predictions = self.decide(modality, None, centers, measured=alone, top=top)
            if explain:
                predictions = with_reasons(predictions, None, centers, lines, measured=alone)
            return Classified(predictions, measured.rows, measured.failures)
        encoded = self._senses.encode(modality, items, options=options, progress=progress)
        embeddings = self._senses.place(modality, encoded.features)
        read = None if measured is None else measured.of(encoded.rows)
        taught = self._taught(modality, embeddings, encoded.features, centers)
        predictions = self.decide(
            modality, embeddings, centers, measured=read, taught=taught, top=top
        )
        if unknown is not None:
            found = self._outside(modality, embeddings, centers, base, unknown)
            predictions = with_unknown(predictions, found)
        if explain:
            predictions = with_reasons(
                predictions, embeddings, centers, lines, measured=read, taught=taught
            )
        return Classified(predictions, encoded.rows, encoded.failures)

    def decide(
        self,
        modality: str,
        embeddings: FloatArray | None,
        centers: ClassCenters,
        *,
        measured: Measured | None = None,
        taught: tuple[Examples, Seen, Seen] | None = None,
        top: int | None = None,
    ) -> list[list[Prediction]]:
        """Return for each item the classes; see `Engine.decide`."""
        told = None if measured is None else measured.log_likelihood()
        if embeddings is None:
            if told is None:
                raise InvalidInputError("give embeddings or measurements: nothing to decide by")
            return decide(told, centers.labels, temperature=1 / MEASURED_WEIGHT, top=top)
        scores = centers.scores(embeddings, space=self._space.id)
        head = self._senses.head(modality)
        references = np.zeros((0, 0), dtype=np.float32) if head is None else head.references
        if taught is not None:
            examples, seen, shown = taught
            scores = examples.scores(seen, shown, centers, references=references)
        elif len(references):
            scores = without_hubs(scores, centers.scores(references))
        temperature = _DEFAULT_TEMPERATURE if head is None else head.temperature
        if told is not None:
            weight = MEASURED_WEIGHT if head is None else head.measured_weight
            scores = scores + temperature * weight * told
        return decide(
            scores,
            centers.labels,
            temperature=temperature,
            seen=() if head is None else head.seen,
            seen_penalty=0.0 if head is None else head.seen_penalty,
            calibrations=None if head is None else head.calibrations,
            top=top,
        )

    def _taught(
        self,
        modality: str,
        embeddings: FloatArray,
        features: FloatArray,
        centers: ClassCenters,
    ) -> tuple[Examples, Seen, Seen] | None:
        """Return the examples of listed classes, the items and these where they are compared."""
        examples = self._senses.examples(modality)
        if examples is None or not any(examples.of(centers.labels)):
            return None
        items = Seen(embeddings, self._senses.looks(modality, features))
        shown = Seen(
            self._senses.place(modality, examples.features),
            self._senses.looks(modality, examples.features),
        )
        return examples, items, shown

    def _outside(
        self,
        modality: str,
        embeddings: FloatArray,
        centers: ClassCenters,
        base: KnowledgeBase | None,
        false_alarms: float,
    ) -> Outside:
        head = self._senses.head(modality)
        if head is None:
            raise InvalidInputError(
                f"to tell what is unknown, {modality!r} needs a head that was trained; make one "
                "with `unibind align`"
            )
        rest = [] if base is None else sorted(set(base.classes) - set(centers.labels))
        others = self.centers(knowledge=base, classes=rest).points() if rest else None
        return outside(
            embeddings,
            centers,
            head,
            is_seen=seen_among(centers.labels, head.seen),
            false_alarms=false_alarms,
            others=others,
        )


def _lines(centers: ClassCenters, base: KnowledgeBase | None) -> dict[str, tuple[str, ...]]:
    """Return the lines of each class, in the order of its centers: its name is the first."""
    return {
        label: (label,) if base is None else (label, *base.texts(label)) for label in centers.labels
    }
