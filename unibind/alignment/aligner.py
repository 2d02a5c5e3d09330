"""The aligner: cached features and what they should mean, to a head.

    head = Aligner().fit(inputs, Targets.from_labels(labels, centers), space=..., encoder=...)

Whatever is not fixed by hand is chosen on classes that a fit has not seen: the strength of the
ridge, the weight of the semantic prior, and the penalty of seen classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from unibind.alignment.attributes import MEASURED_WEIGHT
from unibind.alignment.geometry import check_rows, unit
from unibind.alignment.heads import Head, fuse
from unibind.alignment.hubs import without_hubs
from unibind.alignment.ridge import RidgeFits, RidgePath
from unibind.alignment.stacking import choose_penalty
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray, ProgressCallback, SpaceId

__all__ = ["Aligner", "Choice"]

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
PRIOR_WEIGHTS = (0.0, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
MAX_REFERENCES = 1000
MEASURED_WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
TEMPERATURES = (0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What held-out classes chose.

    Attributes:
        strength: Of the ridge.
        prior_weight: Of the semantic prior; 0 without one.
        reciprocal_rank: Mean reciprocal rank of the right class among the held-out ones.
        temperature: With the highest likelihood of the held-out items' classes.
        measured_weight: Of measured attributes, with the highest likelihood too.
        seen_penalty: With the highest harmonic mean of seen and unseen accuracy.
        references: Embeddings of items by fits that had not seen their class, shape (M, D).
    """

    strength: float
    prior_weight: float
    reciprocal_rank: float
    temperature: float
    measured_weight: float
    seen_penalty: float
    references: FloatArray


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
        measured: FloatArray | None = None,
        path: RidgePath | None = None,
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
            measured: Log likelihood ratios of the targets by what instruments measured on the
                items, shape (N, U): only their weight is chosen.
            path: `RidgePath.of(inputs)`, if it is at hand; most of the time goes into it.
            progress: Called as the linear head trains.

        Raises:
            InvalidInputError: Too few items, or all of one class; features that are all equal or
                NaN; or not one target, prior and vote for each item.
        """
        rows = check_rows(inputs, width=inputs.shape[-1], what="features")
        _check_count("targets", len(targets.rows), len(rows))
        if len(targets.names) < 2:
            raise InvalidInputError(
                f"all items belong to {targets.names[0]!r}; a head needs at least two classes or "
                "captions to tell apart"
            )
        if prior is not None:
            prior = check_rows(prior, width=targets.points.shape[1], what="semantic priors")
            _check_count("semantic priors", len(prior), len(rows))
        path = path or RidgePath.of(rows)
        fits = path.towards(targets.of_items())
        choice = self._choose(fits, targets, prior, measured, _votes(judged, len(rows)))
        weight, bias = fits.solve(choice.strength)
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
            **(
                {}
                if choice.measured_weight is None
                else {"measured_weight": choice.measured_weight}
            ),
            seen=targets.names if targets.are_classes else (),
            seen_penalty=choice.seen_penalty,
            references=choice.references,
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
        fits: RidgeFits,
        targets: Targets,
        prior: FloatArray | None,
        measured: FloatArray | None,
        votes: npt.NDArray[np.bool_],
    ) -> Choice:
        folds = targets.folds(self.n_folds, seed=self.seed, among=targets.rows[votes])
        said = [rows[votes[rows]] for rows in folds]
        strengths = STRENGTHS if self.strength is None else (self.strength,)
        weights = PRIOR_WEIGHTS if self.prior_weight is None else (self.prior_weight,)
        ranks = {}
        for strength in strengths:
            projected = unit(fits.left_out(strength, folds))
            for weight in weights if prior is not None else (0.0,):
                held_out = _HeldOut(fuse(projected, prior, weight), targets, said, self.seed)
                ranks[strength, weight] = held_out.reciprocal_rank()
        strength, weight = _best(ranks)
        unseen = fuse(unit(fits.left_out(strength, folds)), prior, weight)
        held_out = _HeldOut(unseen, targets, said, self.seed)
        penalty = 0.0
        if targets.are_classes:
            one_by_one = [np.array([row]) for row in np.flatnonzero(votes)]
            seen = fuse(unit(fits.left_out(strength, one_by_one)), prior, weight)
            penalty = held_out.seen_penalty(seen)
        temperature = held_out.temperature()
        return Choice(
            strength=strength,
            prior_weight=weight,
            reciprocal_rank=ranks[strength, weight],
            temperature=temperature,
            measured_weight=(
                MEASURED_WEIGHT
                if measured is None
                else held_out.measured_weight(measured, temperature)
            ),
            seen_penalty=penalty,
            references=held_out.embeddings[held_out.references],
        )


def _check_count(what: str, found: int, needed: int) -> None:
    if found != needed:
        raise InvalidInputError(f"{needed} items with {found} {what}; one each is needed")


def _votes(judged: Sequence[bool] | None, n_items: int) -> npt.NDArray[np.bool_]:
    votes = np.ones(n_items, dtype=bool) if judged is None else np.asarray(judged, dtype=bool)
    _check_count("entries of judged", len(votes), n_items)
    if not votes.any():
        raise InvalidInputError("no item is judged; the choices need at least one")
    return votes


def _best(worth: Mapping[_T, float]) -> _T:
    """Return the choice with the highest worth; of equals the nearest to the middle of the grid.

    Few classes say little: every choice may find all their items.
    """
    highest, grid = max(worth.values()), list(worth)
    equals = [choice for choice in grid if np.isclose(worth[choice], highest)]
    return min(equals, key=lambda choice: abs(2 * grid.index(choice) + 1 - len(grid)))


def _loss(folds: Sequence[tuple[FloatArray, IntArray]]) -> float:
    """Return the mean cross-entropy of logits, shape (n, u), against labels, over folds."""
    losses = []
    for logits, labels in folds:
        right = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        losses.append(np.logaddexp.reduce(logits, axis=1) - right)
    return float(np.concatenate(losses).mean())


class _HeldOut:
    """What fits say of items whose classes they had not seen, fold by fold.

    Args:
        embeddings: Of the N items, each by a fit without its fold, shape (N, D); rows in no fold
            are never looked at.
        targets: What each item belongs to.
        folds: Rows whose outcome counts, per fold.
        seed: Of the choice of reference items.
    """

    def __init__(
        self, embeddings: FloatArray, targets: Targets, folds: Sequence[IntArray], seed: int
    ) -> None:
        self.embeddings = embeddings
        self._targets = targets
        self._folds = [rows for rows in folds if len(rows)]
        everyone = np.sort(np.concatenate(self._folds))
        n_kept = min(MAX_REFERENCES, len(everyone))
        self.references = np.sort(
            np.random.default_rng(seed).choice(everyone, size=n_kept, replace=False)
        )

    def reciprocal_rank(self) -> float:
        """Return the mean reciprocal rank of each item's point among the points of its fold."""
        ranks = []
        for scores, labels in self._within_folds():
            right = np.take_along_axis(scores, labels[:, None], axis=1)
            ranks.append(1 / (1 + (scores > right).sum(axis=1)))
        return float(np.concatenate(ranks).mean())

    def temperature(self) -> float:
        """Return the temperature under which the items' own points are likeliest."""
        folds = self._within_folds()
        return _best(
            {
                temperature: -_loss([(scores / temperature, labels) for scores, labels in folds])
                for temperature in TEMPERATURES
            }
        )

    def measured_weight(self, measured: FloatArray, temperature: float) -> float:
        """Return the weight of measured attributes under which the items' own points are likeliest.

        Args:
            measured: Log likelihood ratios of the targets, shape (N, U).
            temperature: Of the scores that they stand beside.
        """
        folds = self._within_folds()
        told = [measured[np.ix_(rows, np.unique(self._targets.rows[rows]))] for rows in self._folds]
        return _best(
            {
                weight: -_loss(
                    [
                        (scores / temperature + weight * ratios, labels)
                        for (scores, labels), ratios in zip(folds, told, strict=True)
                    ]
                )
                for weight in MEASURED_WEIGHTS
            }
        )

    def seen_penalty(self, seen: FloatArray) -> float:
        """Return the mean over folds of the penalty that balances its classes with the rest.

        Args:
            seen: Embeddings by fits that had seen the item's class, though not the item.
        """
        rows_of_all = self._targets.rows
        counts = np.bincount(rows_of_all, minlength=len(self._targets.names))
        repeated = counts[rows_of_all] > 1  # only these were seen by a fit without the item
        candidates = np.concatenate(self._folds)
        penalties = []
        for rows in self._folds:
            others = np.setdiff1d(candidates[repeated[candidates]], rows)
            if not len(others):
                continue
            is_seen = np.ones(len(self._targets.names), dtype=bool)
            is_seen[rows_of_all[rows]] = False
            embeddings = np.concatenate([self.embeddings[rows], seen[others]])
            scores = self._scores(embeddings, self._targets.points, rows)
            labels = rows_of_all[np.concatenate([rows, others])]
            penalties.append(choose_penalty(scores, labels, is_seen))
        return float(np.mean(penalties)) if penalties else 0.0

    def _within_folds(self) -> list[tuple[FloatArray, IntArray]]:
        """Return per fold the scores against the fold's own points, and which point is right."""
        outcome = []
        for rows in self._folds:
            points, labels = np.unique(self._targets.rows[rows], return_inverse=True)
            centred = unit(self._targets.points[points] - self._targets.points[points].mean(axis=0))
            outcome.append((self._scores(self.embeddings[rows], centred, rows), labels))
        return outcome

    def _scores(self, embeddings: FloatArray, points: FloatArray, fold: IntArray) -> FloatArray:
        # In use, no reference item is of an unseen class; so none of the fold may be one here.
        references = self.embeddings[np.setdiff1d(self.references, fold)]
        return without_hubs(embeddings @ points.T, references @ points.T)
