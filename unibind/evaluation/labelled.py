"""Labelled items of any modality in memory, and their split into seen and unseen classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray, SpaceId

__all__ = ["MIN_CLASSES", "MIN_SPLIT", "LabelledItems", "Split", "split_classes"]

MIN_CLASSES = 2
MIN_SPLIT = 4
"""Of how many classes some can be left out: two to choose between, and two to train on."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledItems:
    """N items with a class each.

    Attributes:
        inputs: What a head reads of them, shape (N, F').
        prior: Their embeddings by the semantic prior, shape (N, D), if there is one.
        labels: Class of each, in [0, C), shape (N,).
        classes: Names of the C classes; each has an item.
        space: Where the prior lives.
        encoder: Fingerprint of the encoder behind the inputs.
        groups: What an item was recorded with (a person, a device), shape (N,), if that is known:
            then no group is both trained on and tested.
    """

    inputs: FloatArray
    prior: FloatArray | None
    labels: IntArray
    classes: tuple[str, ...]
    space: SpaceId
    encoder: str
    groups: npt.NDArray[np.str_] | None = None

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        inputs: FloatArray,
        prior: FloatArray | None,
        *,
        space: SpaceId,
        encoder: str,
        groups: Sequence[str] | None = None,
        min_items: int = 2,
    ) -> "LabelledItems":
        """Return the items of classes that have enough of them.

        Raises:
            InvalidInputError: Fewer than 2 classes have as many, or not one input each.
        """
        if len(names) != len(inputs):
            raise InvalidInputError(f"{len(inputs)} items with {len(names)} labels; one is needed")
        found, counts = np.unique(np.array(names), return_counts=True)
        kept = found[counts >= min_items]
        if len(kept) < MIN_CLASSES:
            raise InvalidInputError(
                f"{len(kept)} of {len(found)} classes have {min_items} items or more; at least "
                f"{MIN_CLASSES} are needed, and {MIN_SPLIT} to leave some out"
            )
        rows = np.flatnonzero(np.isin(np.array(names), kept))
        return cls(
            inputs=inputs[rows],
            prior=None if prior is None else prior[rows],
            labels=np.searchsorted(kept, np.array(names)[rows]),
            classes=tuple(kept.tolist()),
            space=space,
            encoder=encoder,
            groups=None if groups is None else np.array(groups)[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One seed's split.

    Attributes:
        is_seen: Whether each class is trained on, shape (C,).
        train: Rows that are trained on.
        seen: Rows of seen classes that are tested.
        unseen: Rows of unseen classes; all are tested.
    """

    is_seen: npt.NDArray[np.bool_]
    train: IntArray
    seen: IntArray
    unseen: IntArray


def split_classes(
    items: LabelledItems, *, seed: int, unseen_share: float = 1 / 3, test_share: float = 1 / 3
) -> Split:
    """Leave a third of the classes out, and a third of the items of the others.

    Of fewer than 4 classes none is left out; of others at least two are, to choose between.

    Args:
        items: The items.
        seed: Of the draws.
        unseen_share: Share of the classes that is never trained on.
        test_share: Share of the other classes' items (or of the groups) that is tested.
    """
    generator = np.random.default_rng(seed)
    n_classes = len(items.classes)
    is_seen = np.ones(n_classes, dtype=bool)
    n_unseen = max(2, round(n_classes * unseen_share)) if n_classes >= MIN_SPLIT else 0
    is_seen[generator.permutation(n_classes)[:n_unseen]] = False
    of_seen = np.flatnonzero(is_seen[items.labels])
    if items.groups is None:
        is_tested = generator.random(len(of_seen)) < test_share
    else:
        names = np.unique(items.groups)
        tested = generator.permutation(names)[: max(1, round(len(names) * test_share))]
        is_tested = np.isin(items.groups[of_seen], tested)
    if not is_tested.any() or is_tested.all():  # so few that chance drew nothing, or everything
        is_tested = _every_other(items.labels[of_seen])
    train = of_seen[~is_tested]
    is_trained = np.isin(items.labels[of_seen], items.labels[train])  # one item may be all there is
    unseen = np.flatnonzero(~is_seen[items.labels])
    return Split(is_seen, train, of_seen[is_tested & is_trained], unseen)


def _every_other(labels: IntArray) -> npt.NDArray[np.bool_]:
    """Return which rows are tested: of each class every second one, shape (N,)."""
    place = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        place[rows] = np.arange(len(rows))
    is_tested: npt.NDArray[np.bool_] = place % 2 == 1
    return is_tested
