"""A network's end-to-end training by contrast against class centers, with a rehearsal before it.

Features of items that a network was trained on are too good: choices made by them would be too
bold. So a first network, the *rehearsal*, is trained without some items and, if there are enough,
without some classes. It tells for how many epochs to train, and its features of what it has not
seen choose what a head is made by. Then the network proper is trained on everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unibind.alignment.aligner import Aligner
from unibind.alignment.heads import Head
from unibind.alignment.network_fit import NetworkFit, Schedule, fit_network
from unibind.alignment.targets import Targets
from unibind.encoders.trainable import TrainableEncoder, encode_prepared, loaded
from unibind.errors import InvalidInputError
from unibind.protocols import NetworkDesign
from unibind.types import FloatArray, IntArray, Json, ProgressCallback, SpaceId

__all__ = ["Schedule", "Trained", "hold_out", "subset", "train"]

HELD_OUT_ITEMS = 1 / 3
HELD_OUT_CLASSES = 1 / 3
LEAST_CLASSES = 12
"""From this many classes on, the rehearsal leaves some out altogether."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What training ended with.

    Attributes:
        encoder: The trained network.
        rehearsal: The head of the rehearsal, on items that its network has not seen: what was
            chosen for it counts for the head proper.
        params: How it was trained.
    """

    encoder: TrainableEncoder
    rehearsal: Head
    params: Mapping[str, Json]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutItems:
    """What a rehearsal is trained on, and what it is judged by.

    Attributes:
        trained: Rows that the network sees.
        watched: Rows of the same classes that it does not see.
        unseen: Rows of classes that it does not see; may be empty.
    """

    trained: IntArray
    watched: IntArray
    unseen: IntArray


def train(
    design: NetworkDesign,
    prepared: FloatArray,
    targets: Targets,
    *,
    space: SpaceId,
    schedule: Schedule | None = None,
    seed: int = 0,
    groups: Sequence[str | None] | None = None,
    checkpoint: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Trained:
    """Return a trained network, and the head that its rehearsal made.

    Args:
        design: What to train.
        prepared: What the design's `prepare` made of the items, shape (N, *shape).
        targets: What each item is pulled towards.
        space: Where the targets live.
        schedule: How to train.
        seed: Of what is held out, the weights and the batches.
        groups: What each item belongs together with, as in `hold_out`.
        checkpoint: A folder in which an interrupted training is kept. With the same items, targets
            and schedule it goes on as if it had not been interrupted.
        progress: Called after each epoch, with epochs done and at most to come.

    Raises:
        InvalidInputError: There are fewer than two items of each of two targets.
        ArtifactError: The checkpoint cannot be written.
    """
    schedule = schedule or Schedule()
    parts = hold_out(targets, seed=seed, groups=groups)
    n_most = 2 * schedule.n_epochs

    def tell(n_before: int) -> ProgressCallback | None:
        return progress and (lambda n_done, _: progress(n_before + n_done, n_most))

    first = fit_network(
        design,
        prepared[parts.trained],
        subset(targets, parts.trained),
        watched=(prepared[parts.watched], subset(targets, parts.watched)),
        schedule=schedule,
        seed=seed,
        checkpoint=None if checkpoint is None else checkpoint / "rehearsal",
        progress=tell(0),
    )
    rehearsal = _rehearse(design, first, prepared, targets, parts, space=space, seed=seed)
    final = fit_network(
        design,
        prepared,
        targets,
        watched=None,
        schedule=replace(schedule, n_epochs=first.n_epochs),
        seed=seed,
        checkpoint=None if checkpoint is None else checkpoint / "final",
        progress=tell(schedule.n_epochs),
    )
    if progress is not None:
        progress(n_most, n_most)
    return Trained(
        TrainableEncoder(design, final.weights),
        rehearsal,
        {
            "n_epochs": first.n_epochs,
            "seed": seed,
            "n_items": len(prepared),
            "n_held_out": len(parts.watched) + len(parts.unseen),
            "n_classes_left_out": len(np.unique(targets.rows[parts.unseen])),
            "watched_accuracy": round(first.accuracy, 4),
        },
    )


def hold_out(
    targets: Targets, *, seed: int, groups: Sequence[str | None] | None = None
) -> HeldOutItems:
    """Return what a rehearsal leaves out: a third of each class's items, and of many classes some.

    Args:
        targets: What the items belong to.
        seed: Of the choice.
        groups: Who or what each item is of: a wearer, a device. Where all have one, whole groups
            are left out, as long as every class keeps items of others.

    Raises:
        InvalidInputError: Fewer than two targets have two items.
    """
    generator = np.random.default_rng(seed)
    counts = np.bincount(targets.rows, minlength=len(targets.names))
    several = generator.permutation(np.flatnonzero(counts >= 2))
    if len(several) < 2:
        raise InvalidInputError(
            f"{len(several)} of {len(targets.names)} classes have two items or more; to train a "
            "network, two classes need them (with captions that differ from item to item, use an "
            "encoder that needs no training)"
        )
    n_out = int(HELD_OUT_CLASSES * len(several)) if len(several) >= LEAST_CLASSES else 0
    unseen = np.flatnonzero(np.isin(targets.rows, several[:n_out]))
    candidates = np.flatnonzero(np.isin(targets.rows, several[n_out:]))
    watched = _of_whole_groups(targets.rows, candidates, groups, generator)
    for row in several[n_out:] if not watched else ():
        of_class = generator.permutation(np.flatnonzero(targets.rows == row))
        watched += of_class[: max(1, round(HELD_OUT_ITEMS * len(of_class)))].tolist()
    rest = np.setdiff1d(np.arange(len(targets.rows)), np.concatenate([unseen, watched]))
    return HeldOutItems(rest, np.sort(np.array(watched, dtype=np.int64)), unseen)


def _of_whole_groups(
    rows: IntArray,
    candidates: IntArray,
    groups: Sequence[str | None] | None,
    generator: np.random.Generator,
) -> list[int]:
    """Return about a third of the candidates, by whole groups; none if that cannot be."""
    if groups is None or any(groups[row] is None for row in candidates):
        return []
    names = np.array([groups[row] for row in candidates], dtype=np.str_)
    is_watched = np.zeros(len(candidates), dtype=bool)
    for name in generator.permutation(np.unique(names)):
        tried = is_watched | (names == name)
        keeps_all = np.isin(rows[candidates], rows[candidates[~tried]]).all()
        if keeps_all and tried.mean() <= 1.5 * HELD_OUT_ITEMS:
            is_watched = tried
        if is_watched.mean() >= HELD_OUT_ITEMS:
            break
    return [int(row) for row in candidates[is_watched]]


def subset(targets: Targets, rows: IntArray) -> Targets:
    """Return the targets of some of the items; points that none of them has are left out."""
    kept, numbers = np.unique(targets.rows[rows], return_inverse=True)
    return Targets(
        names=tuple(targets.names[row] for row in kept),
        points=targets.points[kept],
        rows=numbers.astype(np.int64),
        are_classes=targets.are_classes,
    )


def _rehearse(
    design: NetworkDesign,
    fit: NetworkFit,
    prepared: FloatArray,
    targets: Targets,
    parts: HeldOutItems,
    *,
    space: SpaceId,
    seed: int,
) -> Head:
    rows = np.sort(np.concatenate([parts.watched, parts.unseen]))
    network = loaded(design, fit.weights)
    features = encode_prepared(network, prepared[rows], dim=design.dim)
    judged: npt.NDArray[np.bool_] | None = np.isin(rows, parts.unseen)
    if not len(parts.unseen):
        judged = None
    return Aligner(seed=seed).fit(
        features,
        subset(targets, rows),
        space=space,
        encoder=TrainableEncoder(design, fit.weights).fingerprint,
        judged=None if judged is None else judged.tolist(),
    )
