"""From items to their classes: sentences, measurements and examples weighed together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unibind.alignment.attributes import MEASURED_WEIGHT
from unibind.alignment.calibration import Calibration, Regime
from unibind.alignment.centers import ClassCenters, check_labels
from unibind.alignment.decision import decide, seen_among
from unibind.alignment.examples import Examples, Learned, Seen
from unibind.alignment.heads import Head
from unibind.alignment.hubs import without_hubs
from unibind.alignment.space import Space
from unibind.alignment.unknown import Outside, outside
from unibind.encoders.pipeline import Failure
from unibind.engine.judging import with_reasons, with_unknown
from unibind.engine.measuring import Measured, measurable, measure
from unibind.engine.recipes import class_texts_of
from unibind.engine.senses import Senses
from unibind.errors import InvalidInputError
from unibind.knowledge.base import KnowledgeBase, open_base
from unibind.knowledge.class_texts import ClassTexts
from unibind.types import FloatArray, IntArray, Json, Prediction, ProgressCallback

__all__ = ["EVIDENCE", "Classified", "Classifier"]

EVIDENCE = ("space", "attributes")
"""What can speak for a class: its sentences, through the space, and what instruments measure."""

_MOST_MADE = 16
_DEFAULT_TEMPERATURE = 0.14
"""Of the prior alone: the likeliest for emoji among 3, 10 and 60 of their names."""


_REGIMES: tuple[Regime, ...] = ("seen", "unseen", "mixed")


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


@dataclass(frozen=True, slots=True, eq=False)
class _Weighed:
    """Scores of items against classes, and what makes a decision of them.

    Attributes:
        scores: Of N items against C classes, shape (N, C).
        labels: Names of the classes.
        temperature: Logits are score / temperature, where there is no calibration.
        calibrations: How sure to be, by what was trained on.
        head: What made the embeddings, if it was trained.
        measured_weight: What a log likelihood ratio of the instruments adds to a score.
        learned: What examples taught of some classes.
    """

    scores: FloatArray
    labels: tuple[str, ...]
    temperature: float
    calibrations: Mapping[Regime, Calibration]
    head: Head | None
    measured_weight: float
    learned: Learned | None

    def decide(self, top: int | None) -> list[list[Prediction]]:
        """Return the classes of each item, the likeliest first."""
        return decide(
            self.scores,
            self.labels,
            temperature=self.temperature,
            seen=() if self.head is None else self.head.seen,
            seen_penalty=0.0 if self.head is None else self.head.seen_penalty,
            calibrations=self.calibrations,
            top=top,
        )


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
        self._learned: Learned | None = None

    def centers(
        self,
        *,
        classes: Sequence[str] | None = None,
        knowledge: str | Path | KnowledgeBase | None = None,
        selection: str = "all",
        n_centers: int | None = None,
        texts: ClassTexts | None = None,
    ) -> ClassCenters:
        """Return class centers; see `Engine.centers`."""
        if knowledge is None:
            if classes is None:
                raise InvalidInputError(
                    "give classes=[...] or knowledge=NAME: nothing to choose from"
                )
            check_labels(classes)
            told = [[name] for name in classes]
        else:
            base = knowledge if isinstance(knowledge, KnowledgeBase) else open_base(knowledge)
            classes = base.classes if classes is None else classes
            check_labels(classes)
            spoken = ClassTexts() if texts is None else texts
            told = [spoken.of(name, base.texts(name)) for name in classes]
            # Who serves asks the same base again and again, and it has thousands of sentences.
            known = (base.content_id, tuple(classes), selection, n_centers, spoken)
            if base.content_id and known in self._made:
                return self._made[known]
        vectors = self._senses.embed_texts([text for lines in told for text in lines])
        ends = np.cumsum([len(lines) for lines in told])[:-1]
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
        texts: str | None = None,
        progress: ProgressCallback | None = None,
    ) -> Classified:
        """Return the classes of the items that work; see `Engine.classify_each`."""
        if set(evidence) - set(EVIDENCE) or not evidence:
            raise InvalidInputError(
                f"evidence {sorted(evidence)}; any of {', '.join(EVIDENCE)} was needed"
            )
        base = open_base(knowledge) if isinstance(knowledge, str | Path) else knowledge
        spoken = class_texts_of(modality, texts)
        centers = self.centers(classes=classes, knowledge=base, texts=spoken)
        measured = None
        if "attributes" in evidence and base is not None:
            measured = measure(modality, items, base, classes=centers.labels, options=options)
        is_measured = measured is not None and measured.says_anything
        has = self._senses.has(modality)
        leads = has and (self._senses.reaches(modality) or self._is_taught(modality, centers))
        lines = _lines(centers, base)
        if "space" not in evidence or (is_measured and not leads):
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
        if has and not leads:
            raise InvalidInputError(self._lost(modality, base))
        encoded = self._senses.encode(modality, items, options=options, progress=progress)
        embeddings = self._place(modality, encoded.features)
        read = None if measured is None else measured.of(encoded.rows)
        taught = self._taught(modality, embeddings, encoded.features, centers)
        weighed = self._weigh(modality, embeddings, centers, measured=read, taught=taught)
        predictions = weighed.decide(top)
        if unknown is not None:
            found = self._outside(modality, embeddings, centers, base, unknown, spoken)
            predictions = with_unknown(predictions, found)
        if explain:
            # What the base says of a class is told also where its name alone decided.
            described = self.centers(classes=centers.labels, knowledge=base)
            predictions = with_reasons(
                predictions,
                embeddings,
                described,
                lines,
                measured=read,
                measured_weight=weighed.measured_weight,
                learned=weighed.learned,
                items=None if taught is None else taught[1],
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
        if embeddings is not None:
            weighed = self._weigh(modality, embeddings, centers, measured=measured, taught=taught)
            return weighed.decide(top)
        if measured is None:
            raise InvalidInputError("give embeddings or measurements: nothing to decide by")
        told = measured.log_likelihood()
        return decide(told, centers.labels, temperature=1 / MEASURED_WEIGHT, top=top)

    def _weigh(
        self,
        modality: str,
        embeddings: FloatArray,
        centers: ClassCenters,
        *,
        measured: Measured | None,
        taught: tuple[Examples, Seen, Seen] | None,
    ) -> "_Weighed":
        """Return what all that can speak says of items: the sum of their scores, and how sure."""
        head = self._senses.head(modality)
        temperature = _DEFAULT_TEMPERATURE if head is None else head.temperature
        calibrations = {} if head is None else head.calibrations
        references = np.zeros((0, 0), dtype=np.float32) if head is None else head.references
        told = centers.scores(references) if len(references) else None
        scores = without_hubs(centers.scores(embeddings, space=self._space.id), told)
        learned = None
        if taught is not None:
            examples, items, shown = taught
            learned = self._learn(examples, shown, centers, references)
            scores = learned.raised(scores, items)
            found = learned.calibration(temperature)
            if found is not None:
                temperature = found.temperature
                calibrations = dict.fromkeys(_REGIMES, found)
        weight = temperature * (MEASURED_WEIGHT if head is None else head.measured_weight)
        if measured is not None:
            scores = scores + weight * measured.log_likelihood()
        return _Weighed(scores, centers.labels, temperature, calibrations, head, weight, learned)

    def _learn(
        self, examples: Examples, shown: Seen, centers: ClassCenters, references: FloatArray
    ) -> Learned:
        """Return what examples teach of listed classes; the list asked about last is remembered."""
        known = self._learned
        if (
            known is None
            or known.centers.labels != centers.labels
            or not np.array_equal(known.references, references)
            or not np.array_equal(known.centers.vectors, centers.vectors)
            or not np.array_equal(known.examples.looks, shown.looks)
            or not np.array_equal(known.examples.embeddings, shown.embeddings)
        ):
            known = self._learned = examples.learned(shown, centers, references=references)
        return known

    def _taught(
        self,
        modality: str,
        embeddings: FloatArray,
        features: FloatArray,
        centers: ClassCenters,
    ) -> tuple[Examples, Seen, Seen] | None:
        """Return the examples of listed classes, the items and these where they are compared."""
        examples = self._senses.examples(modality)
        if examples is None or not self._is_taught(modality, centers):
            return None
        items = Seen(embeddings, self._senses.looks(modality, features))
        shown = Seen(
            self._place(modality, examples.features),
            self._senses.looks(modality, examples.features),
        )
        return examples, items, shown

    def _is_taught(self, modality: str, centers: ClassCenters) -> bool:
        examples = self._senses.examples(modality)
        return examples is not None and any(examples.of(centers.labels))

    def _place(self, modality: str, features: FloatArray) -> FloatArray:
        """Return embeddings, shape (N, D); zero, near to no text, where only examples lead."""
        if self._senses.reaches(modality):
            return self._senses.place(modality, features)
        return np.zeros((len(features), self._space.dim), dtype=np.float32)

    def _lost(self, modality: str, base: KnowledgeBase | None) -> str:
        """Return what to say where nothing leads from a modality's items to the classes."""
        ways = [
            self._senses.headless(modality),
            "show it some examples of each class with `unibind teach FILE... --label NAME`",
        ]
        options = ", ".join(self._senses.encoder(modality).modality.options)
        if modality in measurable() and base is None:
            ways.append("give --knowledge everyday, whose ranges are measured")
        elif modality in measurable() and options:
            ways.append(f"say what the files do not, to be measured (--option NAME=...: {options})")
        return "; or ".join(ways)

    def _outside(
        self,
        modality: str,
        embeddings: FloatArray,
        centers: ClassCenters,
        base: KnowledgeBase | None,
        false_alarms: float,
        texts: ClassTexts,
    ) -> Outside:
        head = self._senses.head(modality)
        if head is None:
            raise InvalidInputError(
                f"to tell what is unknown, {modality!r} needs a head that was trained; make one "
                "with `unibind align`"
            )
        rest = [] if base is None else sorted(set(base.classes) - set(centers.labels))
        others = self.centers(knowledge=base, classes=rest, texts=texts).points() if rest else None
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
