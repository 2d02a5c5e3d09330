"""What is told beside the classes: that it is none of them, and what spoke for each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from unibind.alignment.centers import ClassCenters
from unibind.alignment.decision import UNKNOWN
from unibind.alignment.examples import Examples, Seen
from unibind.alignment.reasons import line_reasons
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
    taught: tuple[Examples, Seen, Seen] | None = None,
) -> list[list[Prediction]]:
    """Return predictions with what spoke for each: examples, measurements, sentences.

    Args:
        predictions: Of N items.
        embeddings: Of the items, shape (N, D), if the space spoke.
        centers: Of all classes.
        lines: The sentences of each class, in the order of its centers.
        measured: What instruments found on the same items.
        taught: Examples, the items and the examples in the places where they are compared.
    """
    told = []
    for row, classes in enumerate(predictions):
        explained = []
        for each in classes:
            reasons = each.reasons
            if each.label in lines:
                if taught is not None:
                    examples, items, shown = taught
                    reasons += examples.reasons(each.label, items.looks[row], shown)
                if measured is not None:
                    reasons += measured.reasons(row, each.label)
                if embeddings is not None:
                    reasons += line_reasons(embeddings[row], centers, each.label, lines[each.label])
            explained.append(replace(each, reasons=reasons))
        told.append(explained)
    return told
