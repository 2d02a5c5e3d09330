"""Which caption is this? Each held-out picture against the captions of all held-out ones.

A third of a set's captions is never trained on, nor any picture whose caption says the same or
whose picture looks the same, in any set. What a head has learned of other pictures must carry over.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.alignment.aligner import Aligner
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head
from unibind.alignment.hubs import without_hubs
from unibind.alignment.ridge import RidgePath
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.evaluation.arms import Row, Tested, ranks_of, row_of
from unibind.evaluation.baselines import picture_hashes
from unibind.evaluation.names import plain_name
from unibind.evaluation.pictures import Pictures
from unibind.types import FloatArray, IntArray, ProgressCallback

__all__ = ["CaptionSplit", "caption_table", "hold_out_captions", "train_head"]

HELD_OUT_SHARE = 1 / 3
NEAR_BITS = 18
"""Two pictures are near-duplicates if at most this many of the 240 bits of their hashes differ."""

DEFAULT_ARM = "head + prior"


@dataclass(frozen=True, slots=True, eq=False)
class CaptionSplit:
    """One seed's split.

    Attributes:
        gallery: The held-out captions, one row each in `Pictures.texts`, shape (G,).
        test: Rows of the held-out pictures, shape (N,).
        answers: Which of the gallery is right for each, in [0, G), shape (N,).
        train: Rows that may be trained on.
        n_near: How many pictures were left out for being near to a held-out one.
    """

    gallery: IntArray
    test: IntArray
    answers: IntArray
    train: IntArray
    n_near: int


def hold_out_captions(pictures: Pictures, source: str, *, seed: int) -> CaptionSplit:
    """Hold out a third of one set's distinct captions, and all that is near to them everywhere.

    Args:
        pictures: Of one or more sets.
        source: The set that is tested.
        seed: Of the choice.

    Raises:
        InvalidInputError: The set has fewer than 6 distinct captions.
    """
    own = pictures.rows_of(source)
    captions = sorted({pictures.captions[row] for row in own})
    if len(captions) < 6:
        raise InvalidInputError(
            f"{source!r} has {len(captions)} distinct captions, at least 6 are needed"
        )
    chosen = np.random.default_rng(seed).permutation(len(captions))
    held_out = {captions[c] for c in chosen[: round(len(captions) * HELD_OUT_SHARE)]}
    is_test = np.array([pictures.captions[row] in held_out for row in own])
    test, order = own[is_test], sorted(held_out)
    names = {plain_name(caption) for caption in held_out}
    same_name = np.array([plain_name(caption) in names for caption in pictures.captions])
    hashes = picture_hashes(pictures.pixels)
    is_near = same_name | (_least_distance(hashes, hashes[test]) <= NEAR_BITS)
    is_near[test] = True
    first_row = {pictures.captions[row]: row for row in reversed(test)}
    number = {caption: c for c, caption in enumerate(order)}
    return CaptionSplit(
        gallery=np.array([first_row[caption] for caption in order]),
        test=test,
        answers=np.array([number[pictures.captions[row]] for row in test]),
        train=np.flatnonzero(~is_near),
        n_near=int(is_near.sum()) - len(test),
    )


def train_head(
    pictures: Pictures,
    rows: IntArray,
    source: str,
    *,
    seed: int,
    inputs: FloatArray | None = None,
    path: RidgePath | None = None,
) -> Head:
    """Return a head trained to carry pictures to their captions; choices are judged on `source`.

    Args:
        pictures: Of one or more sets.
        rows: Which may be trained on.
        source: The set whose held-out captions judge.
        seed: Of the folds.
        inputs: Instead of `Pictures.inputs`, without a prior: for baselines.
        path: The decomposition of the rows' inputs, if it is at hand.
    """
    captions = [pictures.captions[row] for row in rows]
    return Aligner(seed=seed).fit(
        (pictures.inputs if inputs is None else inputs)[rows],
        Targets.from_captions(captions, pictures.texts[rows]),
        space=pictures.space,
        encoder=pictures.encoder,
        prior=pictures.prior[rows] if inputs is None else None,
        judged=[pictures.sources[row] == source for row in rows],
        path=path,
    )


def caption_table(
    pictures: Pictures,
    source: str,
    *,
    seeds: Sequence[int],
    progress: ProgressCallback | None = None,
) -> list[Row]:
    """Return the table of arms, means over seeds.

    Args:
        pictures: The tested set, and others to train with.
        source: The tested set.
        seeds: Of the splits.
        progress: Called with the seeds done and their number.
    """
    tested: Mapping[str, list[Tested]] = defaultdict(list)
    for done, seed in enumerate(seeds):
        split = hold_out_captions(pictures, source, seed=seed)
        for arm, scores in _scores(pictures, split, source, seed).items():
            ranks = ranks_of(scores, split.answers)
            clusters = np.array([pictures.captions[row] for row in split.test])
            tested[arm].append(Tested(ranks, clusters, len(split.gallery)))
        if progress is not None:
            progress(done + 1, len(seeds))
    return [
        row_of(arm, outcomes, default=arm == DEFAULT_ARM, note=_NOTES.get(arm, ""))
        for arm, outcomes in tested.items()
    ]


_NOTES = {
    "chance": "measured: random scores",
    "raw pixels": "16 x 16 pixels through the same aligner",
    "prior": "no training",
    "head": "trained on the other pictures' captions",
    "head + prior": "the shipped default",
    "head + prior, hubs kept": "the default without its correction for hubs",
    "head + prior, captions permuted": "control: the prior, and a head trained on wrong captions",
}


def _scores(
    pictures: Pictures, split: CaptionSplit, source: str, seed: int
) -> dict[str, FloatArray]:
    """Return for each arm the scores of held-out pictures against the gallery, shape (N, G)."""
    texts = pictures.texts[split.gallery]
    points = unit(texts - texts.mean(axis=0))  # (G, D), centred on the gallery's own mean
    inputs, prior = pictures.inputs[split.test], pictures.prior[split.test]
    path = RidgePath.of(pictures.inputs[split.train])
    head = train_head(pictures, split.train, source, seed=seed, path=path)
    pixel_head = train_head(pictures, split.train, source, seed=seed, inputs=pictures.pixels)
    embeddings = head.embed(inputs, prior)
    permuted = _permuted_head(pictures, split, head, path, seed)
    generator = np.random.default_rng(seed)
    return {
        "chance": generator.random((len(split.test), len(points)), dtype=np.float32),
        "raw pixels": pixel_head.project(pictures.pixels[split.test]) @ points.T,
        "prior": prior @ points.T,
        "head": head.project(inputs) @ points.T,
        "head + prior": without_hubs(embeddings @ points.T, head.references @ points.T),
        "head + prior, hubs kept": embeddings @ points.T,
        "head + prior, captions permuted": permuted.embed(inputs, prior) @ points.T,
    }


def _permuted_head(
    pictures: Pictures, split: CaptionSplit, like: Head, path: RidgePath, seed: int
) -> Head:
    """Return the head of the same choices, trained on captions dealt out at random."""
    captions = [pictures.captions[row] for row in split.train]
    order = np.random.default_rng(seed).permutation(len(captions))
    targets = Targets.from_captions(
        [captions[n] for n in order], pictures.texts[split.train[order]]
    )
    aligner = Aligner(strength=like.params["strength"], prior_weight=like.prior_weight, seed=seed)
    return aligner.fit(
        pictures.inputs[split.train],
        targets,
        space=pictures.space,
        encoder=pictures.encoder,
        prior=pictures.prior[split.train],
        path=path,
    )


def _least_distance(hashes: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_]) -> IntArray:
    """Return how many bits differ between each hash, shape (N, B), and the nearest of others."""
    a, b = hashes.astype(np.float32), others.astype(np.float32)
    distance = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - 2 * a @ b.T
    least: IntArray = distance.min(axis=1).round().astype(np.int64)
    return least
