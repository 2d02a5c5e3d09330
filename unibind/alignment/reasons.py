"""Why this class: the sentences that spoke for it, each with its share."""

from collections.abc import Sequence

import numpy as np

from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.types import FloatArray, Reason

__all__ = ["line_reasons"]


def line_reasons(
    embedding: FloatArray,
    centers: ClassCenters,
    label: str,
    lines: Sequence[str],
    *,
    n_reasons: int = 3,
) -> tuple[Reason, ...]:
    """Return the sentences of a class that lie nearest to an item, the nearest first.

    The score of a class by the mean of its sentences is a sum over them: what each adds to it,
    of all that they add, is its share. One that lies on the item's far side has a share below 0.

    Args:
        embedding: Of the item, unit length, shape (D,).
        centers: Of all listed classes; what they share says nothing, and is taken off.
        label: The class.
        lines: Its sentences, in the order of its centers.
        n_reasons: How many at most.
    """
    column = centers.labels.index(label)
    vectors = unit(centers.vectors[column, : len(lines)]) - centers.common()  # (M, D)
    parts = vectors @ embedding
    total = float(np.abs(parts).sum())
    if not total:
        return ()
    order = np.argsort(-parts, kind="stable")[:n_reasons]
    return tuple(Reason(lines[row], float(parts[row]) / total, "description") for row in order)
