"""Why this class: all that spoke for it or against it, each with its share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unibind.alignment.centers import ClassCenters
from unibind.types import FloatArray, Reason

__all__ = ["N_LINES", "Part", "as_reasons", "line_parts"]

N_LINES = 3
"""Sentences that are told of a class; all that were weighed count in the shares."""


@dataclass(frozen=True, slots=True)
class Part:
    """One summand of a class's score.

    Attributes:
        text: What it says.
        value: What it adds, in the unit of scores.
        source: As in `Reason`.
    """

    text: str
    value: float
    source: str


def line_parts(
    embedding: FloatArray, centers: ClassCenters, label: str, lines: Sequence[str]
) -> list[Part]:
    """Return what each sentence of a class adds to its score: together the cosine to its center.

    Args:
        embedding: Of the item, unit length, shape (D,).
        centers: Of all listed classes; what they share says nothing, and is taken off.
        label: The class.
        lines: Its sentences, in the order of its centers; a class's name alone is one.
    """
    vectors = centers.vectors[centers.labels.index(label), : len(lines)]  # (M, D)
    apart = vectors / np.linalg.norm(vectors.sum(axis=0)) - centers.common() / len(lines)
    values = (apart @ embedding / np.linalg.norm(apart.sum(axis=0))).tolist()
    if len(lines) == 1:
        text = f'only the name was compared: cosine {values[0]:.2f} to "{lines[0]}"'
        return [Part(text, values[0], "description")]
    return [Part(line, value, "description") for line, value in zip(lines, values, strict=True)]


def as_reasons(parts: Sequence[Part], *, n_lines: int = N_LINES) -> tuple[Reason, ...]:
    """Return the parts of a score as reasons, the strongest first.

    A share is what a part adds, of all that the parts add and take off: with those sentences that
    are not told, the shares of a class make 1 but for their signs.

    Args:
        parts: All of them; those of value 0 say nothing.
        n_lines: How many sentences to tell: those that speak most for the class.
    """
    total = sum(abs(part.value) for part in parts)
    if not total:
        return ()
    telling = [part for part in parts if part.value]
    lines = [part for part in telling if part.source == "description"]
    kept = sorted(lines, key=lambda part: -part.value)[:n_lines]
    kept += [part for part in telling if part.source != "description"]
    kept.sort(key=lambda part: -abs(part.value))
    return tuple(Reason(part.text, part.value / total, part.source) for part in kept)
