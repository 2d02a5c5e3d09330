"""None of these: when an item is of no class that was listed.

How near an item is to its nearest class says little: every photograph is near to something. What
says more is whether things that were *not* listed explain it better: the things that the head was
trained on. The threshold is not set by hand either. For each training item there is an embedding by
a fit that had not seen its class; put into the list that is asked about, in place of one class, its
own class must be recognised. Where that fails for 5 % of them lies the threshold for 5 % false
alarms, anew for each list.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head
from unibind.alignment.hubs import without_hubs
from unibind.errors import InvalidInputError
from unibind.types import FloatArray

__all__ = ["Outside", "outside"]

SAME = 0.8
"""Of two points with a higher cosine one is no alternative to the other: they mean the same."""

_TEMPERATURE = 0.05
_MIN_OTHERS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """How far items lie outside of a list of classes.

    Attributes:
        odds: Log odds that an item is something that is not listed, shape (N,).
        threshold: Above it, an item is unknown.
        belief: Share of belief in what is not listed, in [0, 1], shape (N,).
    """

    odds: FloatArray
    threshold: float
    belief: FloatArray

    @property
    def is_unknown(self) -> npt.NDArray[np.bool_]:
        """Whether each item is of no listed class, shape (N,)."""
        found: npt.NDArray[np.bool_] = self.odds > self.threshold
        return found


def outside(
    embeddings: FloatArray,
    centers: ClassCenters,
    head: Head,
    *,
    is_seen: npt.NDArray[np.bool_],
    false_alarms: float,
    others: FloatArray | None = None,
) -> Outside:
    """Return how far items lie outside of the classes of a list.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        centers: Of the C listed classes.
        head: What made the embeddings.
        is_seen: Which of the classes it was trained on, shape (C,).
        false_alarms: Share of items of the listed classes that may be called unknown, in (0, 1).
        others: Points of further things that may be meant, shape (M, D), such as the other classes
            of a knowledge base.

    Raises:
        InvalidInputError: The share is not in (0, 1), or the head knows of nothing else.
    """
    if not 0 < false_alarms < 1:
        raise InvalidInputError(f"{false_alarms} false alarms; a share in (0, 1) was needed")
    listed = centers.points()
    known = np.unique(head.reference_points, axis=0)
    candidates = known if others is None else np.concatenate([known, others])
    is_trained = np.arange(len(candidates)) < len(known)
    if len(candidates):
        is_other = (candidates @ listed.T).max(axis=1) < SAME
        candidates, is_trained = candidates[is_other], is_trained[is_other]
    if len(candidates) < _MIN_OTHERS:
        raise InvalidInputError(
            f"the head was trained on {len(candidates)} things that are not listed; to tell that "
            "an item is none of the listed classes, it must know of others: list fewer classes, "
            "or choose some of a knowledge base's (knowledge=NAME, classes=[...])"
        )
    # All that was trained on scores higher, be it listed or not; alike for all where all was.
    one_kind = bool(is_seen.all()) and bool(is_trained.all())
    penalty = 0.0 if one_kind or not head.seen else head.seen_penalty
    of_listed, of_others = (
        np.float32(penalty) * is_seen.astype(np.float32),
        np.float32(penalty) * is_trained.astype(np.float32),
    )

    def odds_of(inner: FloatArray, outer: FloatArray) -> FloatArray:
        far: FloatArray = logsumexp((outer - of_others) / _TEMPERATURE, axis=1)
        near: FloatArray = logsumexp((inner - of_listed) / _TEMPERATURE, axis=1)
        return far - near

    references = head.references
    inner_references = centers.scores(references)
    outer_references = references @ candidates.T
    odds = odds_of(
        without_hubs(centers.scores(embeddings), inner_references),
        without_hubs(embeddings @ candidates.T, outer_references),
    )
    inner = without_hubs(inner_references, inner_references)
    outer = without_hubs(outer_references, outer_references)
    own = head.reference_points
    # What means the same as the item's own class is left out on both sides, and that class put
    # into the list: the item is now of a listed class that no fit behind it had seen.
    inner = np.where(own @ listed.T >= SAME, -np.inf, inner)
    outer = np.where(own @ candidates.T >= SAME, -np.inf, outer)
    rows = np.arange(len(own))
    own_scores = (references * own).sum(axis=1) - _hub_of(own, references)
    columns = rows % inner.shape[1]
    inner[rows, columns] = own_scores + of_listed[columns]  # it counts as unseen
    known_odds = odds_of(inner, outer)
    threshold = float(np.quantile(known_odds[np.isfinite(known_odds)], 1 - false_alarms))
    belief: FloatArray = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return Outside(odds, threshold, belief)


def _hub_of(points: FloatArray, references: FloatArray) -> FloatArray:
    """Return what the correction for hubs takes off the scores of points, shape (M,)."""
    nothing = np.zeros((1, len(points)), dtype=np.float32)
    hubs: FloatArray = -without_hubs(nothing, references @ unit(points).T)[0]
    return hubs
