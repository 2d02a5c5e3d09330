"""The aligner: cached features and what they should mean, to a head.

    head = Aligner().fit(inputs, Targets.from_labels(labels, centers), space=..., encoder=...)

Whatever is not fixed by hand is chosen on classes that a fit has not seen: the strength of the
ridge, the weight of the semantic prior, and the penalty of seen classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from unibind.alignment.geometry import check_rows, unit
from unibind.alignment.heads import Head, fuse
from unibind.alignment.ridge import RidgePath
from unibind.alignment.stacking import choose_penalty
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray, ProgressCallback, SpaceId

__all__ = ["Aligner", "Choice"]

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
PRIOR_WEIGHTS = (0.0, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
TEMPERATURES = (0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15)


@dataclass(frozen=True, slots=True)
class Choice:
    """What held-out classes chose.

    Attributes:
        strength: Of the ridge.
        prior_weight: Of the semantic prior; 0 without one.
        reciprocal_rank: Mean reciprocal rank of the right class among the held-out ones.
        temperature: With the highest likelihood of the held-out items' classes.
        seen_penalty: With the highest harmonic mean of seen and unseen accuracy.
    """

    strength: float
    prior_weight: float
    reciprocal_rank: float
    temperature: float
    seen_penalty: float


@dataclass(frozen=True, slots=True)
class Aligner:
    """How a head is made. A value; `fit` returns a new head and changes nothing here.

    Attributes:
        method: ``"ridge"``, closed form, for unseen classes and search; or ``"linear"``, trained
            by contrast from there on, for a closed set of classes.
        strength: Of the ridge; None chooses it on held-out classes.
        prior_weight: Of the semantic prior; None chooses it on held-out classes.
        n_folds: Into how many parts the classes are split to choose.
        seed: Of the split, and of the batches of the linear head.
    """

    method: Literal["ridge", "linear"] = "ridge"
    strength: float | None = None
    prior_weight: float | None = None
    n_folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("ridge", "linear"):
            raise InvalidInputError(
                f"no head is made by {self.method!r}; there are 'ridge' and 'linear'"
            )
        if self.n_folds < 2:
            raise InvalidInputError(f"{self.n_folds} folds; at least 2 are needed to leave one out")

    def fit(
        self,
        inputs: FloatArray,
        targets: Targets,
        *,
        space: SpaceId,
        encoder: str,
        prior: FloatArray | None = None,
        judged: Sequence[bool] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Head:
        """Return the head that carries inputs to their targets.

        Args:
            inputs: What `head_inputs` made of the training items' features, shape (N, F').
            targets: What each item is pulled towards.
            space: Where the targets live.
            encoder: Fingerprint of the encoder that made the features.
            prior: Embeddings of the items by the semantic prior, shape (N, D), if there is one.
            judged: Which items the choices are judged on; all by default. Items of a second
                source can help to train without having a say.
            progress: Called as the linear head trains.

        Raises:
            InvalidInputError: Too few items, features that are all equal, NaN, or of unequal
                number to the targets.
        """
        rows = check_rows(inputs, width=inputs.shape[-1], what="features")
        if len(rows) != len(targets.rows):
            raise InvalidInputError(
                f"{len(rows)} items with {len(targets.rows)} targets; one each is needed"
            )
        path = RidgePath.of(rows)
        choice = self._choose(path, targets, prior, np.asarray(judged) if judged else None)
        weight, bias = path.solve(targets.of_items(), choice.strength)
        temperature = choice.temperature
        if self.method == "linear":
            from unibind.alignment.linear import Contrast, fit_linear  # torch, only if asked for

            trained = fit_linear(
                (rows - path.mean) / path.scale,
                targets,
                start=(weight, bias),
                contrast=Contrast(),
                seed=self.seed,
                progress=progress,
            )
            weight, bias, temperature = trained.weight, trained.bias, trained.temperature
        return Head(
            weight=weight,
            bias=bias,
            mean=path.mean,
            scale=path.scale,
            space=space,
            encoder=encoder,
            temperature=temperature,
            prior_weight=choice.prior_weight,
            seen=targets.names,
            seen_penalty=choice.seen_penalty,
            params={
                "method": self.method,
                "strength": choice.strength,
                "n_folds": self.n_folds,
                "seed": self.seed,
                "n_items": len(rows),
                "n_targets": len(targets.names),
            },
            metrics={"held_out_reciprocal_rank": round(choice.reciprocal_rank, 4)},
        )

    def _choose(
        self,
        path: RidgePath,
        targets: Targets,
        prior: FloatArray | None,
        judged: npt.NDArray[np.bool_] | None,
    ) -> Choice:
        folds = targets.folds(self.n_folds, seed=self.seed)
        said = folds if judged is None else [rows[judged[rows]] for rows in folds]
        strengths = STRENGTHS if self.strength is None else (self.strength,)
        weights = PRIOR_WEIGHTS if self.prior_weight is None else (self.prior_weight,)
        best = (-1.0, strengths[0], 0.0)
        for strength in strengths:
            projected = unit(path.left_out(targets.of_items(), strength, folds))
            for weight in weights if prior is not None else (0.0,):
                rank = _reciprocal_rank(fuse(projected, prior, weight), targets, said)
                best = max(best, (rank, strength, weight))
        rank, strength, weight = best
        unseen = path.left_out(targets.of_items(), strength, folds)
        one_by_one = [np.array([row]) for row in range(len(targets.rows))]
        seen = path.left_out(targets.of_items(), strength, one_by_one)
        unseen, seen = (fuse(unit(rows), prior, weight) for rows in (unseen, seen))
        return Choice(
            strength=strength,
            prior_weight=weight,
            reciprocal_rank=rank,
            temperature=_temperature(unseen, targets, said),
            seen_penalty=_seen_penalty(unseen, seen, targets, said),
        )


def _reciprocal_rank(embeddings: FloatArray, targets: Targets, folds: Sequence[IntArray]) -> float:
    """Return the mean reciprocal rank of each item's point among the points of its fold."""
    ranks = []
    for scores, labels in _held_out_scores(embeddings, targets, folds):
        right = np.take_along_axis(scores, labels[:, None], axis=1)
        ranks.append(1 / (1 + (scores > right).sum(axis=1)))
    return float(np.concatenate(ranks).mean()) if ranks else 0.0


def _temperature(embeddings: FloatArray, targets: Targets, folds: Sequence[IntArray]) -> float:
    """Return the temperature under which the held-out items' own points are likeliest."""

    def loss(temperature: float) -> float:
        losses = []
        for scores, labels in _held_out_scores(embeddings, targets, folds):
            logits = scores / temperature
            right = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
            losses.append(np.logaddexp.reduce(logits, axis=1) - right)
        return float(np.concatenate(losses).mean()) if losses else 0.0

    return min(TEMPERATURES, key=loss)


def _seen_penalty(
    unseen: FloatArray, seen: FloatArray, targets: Targets, folds: Sequence[IntArray]
) -> float:
    """Return the mean over folds of the penalty that balances the fold's classes with the rest.

    Args:
        unseen: Embeddings by fits that had not seen the item's class.
        seen: Embeddings by fits that had seen the item's class, though not the item.
        targets: What each item belongs to.
        folds: Each in turn plays the unseen classes.
    """
    counts = np.bincount(targets.rows, minlength=len(targets.names))
    repeated = counts[targets.rows] > 1  # only these were seen by a fit without the item
    penalties = []
    for rows in folds:
        others = np.setdiff1d(np.flatnonzero(repeated), rows)
        if not len(rows) or not len(others):
            continue
        is_seen = np.ones(len(targets.names), dtype=bool)
        is_seen[targets.rows[rows]] = False
        items = np.concatenate([rows, others])
        scores = np.concatenate([unseen[rows], seen[others]]) @ targets.points.T
        penalties.append(choose_penalty(scores, targets.rows[items], is_seen))
    return float(np.mean(penalties)) if penalties else 0.0


def _held_out_scores(
    embeddings: FloatArray, targets: Targets, folds: Sequence[IntArray]
) -> list[tuple[FloatArray, IntArray]]:
    """Return per fold the scores against the fold's own points, and which point is right."""
    held_out = []
    for rows in folds:
        if not len(rows):
            continue
        points, labels = np.unique(targets.rows[rows], return_inverse=True)
        centred = unit(targets.points[points] - targets.points[points].mean(axis=0))
        held_out.append((embeddings[rows] @ centred.T, labels))
    return held_out
