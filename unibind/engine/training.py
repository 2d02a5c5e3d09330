"""Networks that a space trains end to end: from items to an encoder with weights of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unibind.alignment.aligner import Aligner
from unibind.alignment.heads import Head
from unibind.alignment.targets import Targets
from unibind.encoders.pipeline import Failure, encode_sources
from unibind.encoders.trainable import Preparing, TrainableEncoder
from unibind.engine.senses import Senses
from unibind.errors import InvalidInputError
from unibind.types import Json, ProgressCallback

if TYPE_CHECKING:
    from unibind.alignment.network_fit import Schedule

__all__ = ["as_rehearsed", "rehearsed_head", "train_encoder", "with_rehearsed_strength"]

_CHOSEN = (
    "temperature",
    "prior_weight",
    "seen_penalty",
    "references",
    "reference_points",
    "offset",
    "calibrations",
    "metrics",
)
"""What of a head was chosen by items and classes that were held out."""


def train_encoder(
    senses: Senses,
    modality: str,
    items: Sequence[Any],
    targets: Targets,
    *,
    seed: int = 0,
    schedule: "Schedule | None" = None,
    groups: Sequence[str | None] | None = None,
    options: Mapping[str, Json] | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[Failure, ...]:
    """Train a modality's network on items, keep it in the space's folder, and use it.

    An interrupted training goes on where it was when it is asked for again.

    Args:
        senses: Of the space.
        modality: Whose encoder is a network's design.
        items: Training items: paths, contents, or decoded values.
        targets: What each item is pulled towards.
        seed: Of what is held out, the weights and the batches.
        schedule: How to train; None takes the defaults.
        groups: Who or what each item is of; where all have one, whole groups are held out.
        options: What the items do not say of themselves.
        progress: Called after each epoch.

    Returns:
        The items that cannot be read; it was trained without them.

    Raises:
        InvalidInputError: The modality's encoder is no network to be trained, or there are too few
            items.
        ArtifactError: The folder cannot be written.
    """
    from unibind.alignment.end_to_end import subset, train  # torch
    from unibind.alignment.network_fit import discard

    encoder = senses.encoder(modality)
    if not isinstance(encoder, TrainableEncoder):
        raise InvalidInputError(
            f"the encoder of {modality!r} is frozen: there is no network to train; only its head "
            "is trained, by `align`"
        )
    design = encoder.design
    read = encode_sources(Preparing(design), items, options=options)
    checkpoint = _folder(senses) / f"{modality}-checkpoint"
    trained = train(
        design,
        read.features.reshape(-1, *design.shape),
        subset(targets, read.rows),
        space=senses.space.id,
        schedule=schedule,
        seed=seed,
        groups=None if groups is None else [groups[row] for row in read.rows],
        checkpoint=checkpoint,
        progress=progress,
    )
    trained.encoder.save(_folder(senses) / modality, space=senses.space.id, params=trained.params)
    trained.rehearsal.save(_folder(senses) / f"{modality}-rehearsal")
    discard(checkpoint)
    senses.keep_encoder(modality, trained.encoder)
    return read.failures


def with_rehearsed_strength(aligner: Aligner, rehearsal: Head | None) -> Aligner:
    """Return an aligner that takes the strength from a network's rehearsal, if there was one."""
    if rehearsal is None or aligner.strength is not None:
        return aligner
    return replace(aligner, strength=rehearsal.params["strength"])


def as_rehearsed(head: Head, rehearsal: Head | None) -> Head:
    """Return a head that is as sure, and as fair to unseen classes, as its rehearsal could be.

    Args:
        head: Made of features that its network was trained on.
        rehearsal: Made of features that its network had not seen; None leaves the head as it is.
    """
    if rehearsal is None:
        return head
    known = {each.name for each in fields(Head)}
    return replace(head, **{n: getattr(rehearsal, n) for n in _CHOSEN if n in known})


def rehearsed_head(senses: Senses, modality: str) -> Head | None:
    """Return the head of the rehearsal of a modality's network; None if nothing was trained."""
    if not isinstance(senses.encoder(modality), TrainableEncoder):
        return None
    return Head.open(_folder(senses) / f"{modality}-rehearsal")


def _folder(senses: Senses) -> Path:
    return senses.root / "networks"
