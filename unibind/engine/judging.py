"""What is told beside the classes: that it is none of them, and what spoke for each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from unibind.alignment.centers import ClassCenters
from unibind.alignment.decision import UNKNOWN
from unibind.alignment.examples import Learned, Seen
from unibind.alignment.reasons import Part, as_reasons, line_parts
from unibind.alignment.unknown import Outside
from unibind.engine.measuring import Measured
from unibind.types import FloatArray, Prediction

__all__ = ["with_reasons", "with_unknown"]


def with_unknown(predictions: Sequence[list[Prediction]], found: Outside) -> list[list[Prediction]]:
    """Return predictions with one more label, `UNKNOWN`: first if the item is none of the classes.

    It takes its share of the belief from the classes, whose order stays.
    """
    told = []
    for row, classes in enumerate(predictions):
        belief = float(found.belief[row])
        rest = [replace(each, probability=each.probability * (1 - belief)) for each in classes]
        none = Prediction(UNKNOWN, float(found.odds[row]), belief)
        told.append([none, *rest] if found.is_unknown[row] else [*rest, none])
    return told


def with_reasons(
    predictions: Sequence[list[Prediction]],
    embeddings: FloatArray | None,
    centers: ClassCenters,
    lines: Mapping[str, Sequence[str]],
    *,
    measured: Measured | None = None,
    measured_weight: float = 1.0,
    learned: Learned | None = None,
    items: Seen | None = None,
) -> list[list[Prediction]]:
    """Return predictions with what spoke for each: sentences, measurements, examples.

    Args:
        predictions: Of N items.
        embeddings: Of the items, shape (N, D), if the space spoke.
        centers: Of all classes.
        lines: The sentences of each class, in the order of its centers.
        measured: What instruments found on the same items.
        measured_weight: Of their log likelihood ratios beside the other scores.
        learned: What examples taught of some classes.
        items: The items, in the places where examples are compared.
    """

    def parts_of(row: int, label: str) -> list[Part]:
        parts: list[Part] = []
        if learned is not None and items is not None:
            taught = learned.part(label, items.at([row]))
            parts += [] if taught is None else [taught]
        if measured is not None:
            parts += [
                replace(part, value=part.value * measured_weight)
                for part in measured.parts(row, label)
            ]
        if embeddings is not None:
            parts += line_parts(embeddings[row], centers, label, lines[label])
        return parts

    return [
        [
            replace(each, reasons=as_reasons(parts_of(row, each.label)))
            if each.label in lines
            else each
            for each in classes
        ]
        for row, classes in enumerate(predictions)
    ]
