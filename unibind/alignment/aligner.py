"""The aligner: cached features and what they should mean, to a head.

    head = Aligner().fit(inputs, Targets.from_labels(labels, centers), space=..., encoder=...)

Whatever is not fixed by hand is chosen on classes that a fit has not seen: the kind of head, the
strength of the ridge, the steps of contrastive training, the weight of the semantic prior, the
penalty of seen classes, and how sure to be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from unibind.alignment.attributes import MEASURED_WEIGHT
from unibind.alignment.calibration import Calibration, Regime
from unibind.alignment.fits import Fits, open_fits
from unibind.alignment.geometry import check_rows, unit
from unibind.alignment.heads import Head, fuse
from unibind.alignment.heldout import HeldOut, Jury, Predicted
from unibind.alignment.ridge import RidgePath
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, Json, ProgressCallback, SpaceId

if TYPE_CHECKING:  # torch, only if a head is trained by contrast
    from unibind.alignment.contrast import Contrast, Moved
    from unibind.alignment.rounds import Round

__all__ = ["METHODS", "Aligner", "Choice", "Method", "Source", "Watcher"]

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
PRIOR_WEIGHTS = (0.0, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
METHODS = ("ridge", "linear", "low-rank", "mlp", "auto")

Method = Literal["ridge", "linear", "low-rank", "mlp", "auto"]
Watcher = Callable[["Round"], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One modality's training items.

    Attributes:
        inputs: What `head_inputs` made of their features, shape (N, F').
        targets: What each is pulled towards.
        encoder: Fingerprint of the encoder that made the features.
        prior: Their embeddings by the semantic prior, shape (N, D), if there is one.
        judged: Which of them the choices are judged on; all by default. Items of a second source
            can help to train without having a say.
        measured: Log likelihood ratios of the targets by what instruments measured on them, shape
            (N, U): only their weight is chosen, where one modality is trained alone.
        path: `RidgePath.of(inputs)`, if it is at hand; most of a ridge's time goes into it.
    """

    inputs: FloatArray
    targets: Targets
    encoder: str
    prior: FloatArray | None = None
    judged: Sequence[bool] | None = None
    measured: FloatArray | None = None
    path: RidgePath | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What held-out classes chose.

    Attributes:
        prior_weight: Of the semantic prior; 0 without one.
        unseen: Mean reciprocal rank of the right class among the held-out ones.
        worth: What the choice was made by: that, and the same of trained classes.
        held_out: The judged items, as fits carry them that had not seen their class.
    """

    prior_weight: float
    unseen: float
    worth: float
    held_out: HeldOut


@dataclass(frozen=True, slots=True)
class Aligner:
    """How a head is made. A value; `fit` returns a new head and changes nothing here.

    Attributes:
        method: ``"ridge"``, closed form; ``"linear"``, ``"low-rank"`` or ``"mlp"``, trained by
            contrast from the ridge solution on, for as long as classes are found better that were
            held out; or ``"auto"``, whichever of these finds them best.
        strength: Of the ridge; None chooses it on held-out classes.
        prior_weight: Of the semantic prior; None chooses it on held-out classes.
        n_folds: Into how many parts the classes are split to choose.
        seed: Of the split, and of contrastive training.
        contrast: How contrastive heads are trained; None takes the defaults.
    """

    method: Method = "ridge"
    strength: float | None = None
    prior_weight: float | None = None
    n_folds: int = 5
    seed: int = 0
    contrast: "Contrast | None" = field(default=None)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidInputError(
                f"no head is made by {self.method!r}; there are {', '.join(METHODS)}"
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
        watch: Watcher | None = None,
        checkpoint: Path | None = None,
    ) -> Head:
        """Return the head that carries inputs to their targets.

        Args:
            inputs: As in `Source`; many of them may be mapped from disk.
            targets: As in `Source`.
            space: Where the targets live.
            encoder: As in `Source`.
            prior: As in `Source`.
            judged: As in `Source`.
            measured: As in `Source`.
            path: As in `Source`.
            progress: Called as contrastive training goes on, or as many rows are read.
            watch: Called with each look at the held-out classes.
            checkpoint: A folder in which contrastive training keeps what it would need to go on.

        Raises:
            InvalidInputError: Too few items, or all of one class; features that are all equal or
                NaN; or not one target, prior and vote for each item.
        """
        source = Source(inputs, targets, encoder, prior, judged, measured, path)
        heads = self.fit_joint(
            {"": source}, space=space, progress=progress, watch=watch, checkpoint=checkpoint
        )
        return heads[""]

    def fit_joint(
        self,
        sources: Mapping[str, Source],
        *,
        space: SpaceId,
        progress: ProgressCallback | None = None,
        watch: Watcher | None = None,
        checkpoint: Path | None = None,
    ) -> dict[str, Head]:
        """Return a head for each modality, trained together.

        Each step of contrastive training draws equally many items of each modality, and items of
        one class attract each other across them; a class is held out of all modalities at once. A
        ridge has no steps: it is the same as if each were fitted alone.

        Args:
            sources: Modality name to its items.
            space: As in `fit`.
            progress: As in `fit`.
            watch: As in `fit`.
            checkpoint: As in `fit`.

        Raises:
            InvalidInputError: As in `fit`, or there is no modality.
        """
        if not sources:
            raise InvalidInputError("no modality to train; give at least one")
        shared = _on_one_list([each.targets for each in sources.values()])
        entries = [
            _Entry(self, _checked(source), targets, progress)
            for source, targets in zip(sources.values(), shared, strict=True)
        ]
        made: list[_Made] = [entry.by_ridge() for entry in entries]
        compared: dict[str, Json] = {}
        if self.method != "ridge":
            made, compared = _by_contrast(self, entries, made, progress, watch, checkpoint)
        return {
            name: entry.head(each, space, compared)
            for name, entry, each in zip(sources, entries, made, strict=True)
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A head in the making: how, its numbers, and what held-out classes chose for it."""

    method: str
    weight: FloatArray
    bias: FloatArray
    choice: Choice
    hidden: "Moved | None" = None
    n_steps: int = 0


class _Entry:
    """One modality on its way to a head."""

    def __init__(
        self,
        aligner: Aligner,
        source: Source,
        targets: Targets,
        progress: ProgressCallback | None,
    ) -> None:
        self.aligner, self.source, self.targets = aligner, source, targets
        votes = _votes(source.judged, len(source.inputs))
        self.jury = Jury.of(targets, votes, n_folds=aligner.n_folds, seed=aligner.seed)
        self.prior = None if source.prior is None else np.asarray(source.prior[self.jury.rows])
        self.fits: Fits = open_fits(source.inputs, self.jury, path=source.path, progress=progress)
        self.strength = 0.0

    def by_ridge(self) -> _Made:
        """Return the ridge of the strength, beside the prior of the weight, that rank best."""
        strengths = STRENGTHS if self.aligner.strength is None else (self.aligner.strength,)
        worth = {}
        for strength in strengths:
            predicted = self.predicted(strength)
            for weight in self.weights():
                worth[strength, weight] = self.choice(predicted, weight).worth
        self.strength, weight = _best(worth)
        choice = self.choice(self.predicted(self.strength), weight)
        return _Made("ridge", *self.fits.solve(self.strength), choice)

    def predicted(self, strength: float) -> Predicted:
        """Return what ridges of a strength predict for the judged items."""
        without_item = cache(partial(self.fits.without_item, strength))
        return Predicted(self.fits.trials(strength), without_item)

    def weights(self) -> tuple[float, ...]:
        """Return the weights of the prior that come into question."""
        if self.prior is None:
            return (0.0,)
        given = self.aligner.prior_weight
        return PRIOR_WEIGHTS if given is None else (given,)

    def choice(self, predicted: Predicted, weight: float) -> Choice:
        """Return what comes of a weight of the prior beside what fits predict."""

        def place(rows: FloatArray, at: npt.NDArray[np.int64]) -> FloatArray:
            return fuse(unit(rows), None if self.prior is None else self.prior[at], weight)

        held_out = HeldOut(self.jury, predicted, place)
        unseen_rank = float(held_out.reciprocal_ranks().mean())
        return Choice(weight, unseen_rank, held_out.worth(), held_out)

    def best_weight(self, predicted: Predicted) -> Choice:
        """Return the choice of the weight that ranks best."""
        worth = {weight: self.choice(predicted, weight).worth for weight in self.weights()}
        return self.choice(predicted, _best(worth))

    def measured_weight(self, held_out: HeldOut, temperature: float) -> float:
        """Return the weight of what instruments measured, beside scores of a temperature."""
        if self.source.measured is None:
            return MEASURED_WEIGHT
        return held_out.measured_weight(self.source.measured[self.jury.rows], temperature)

    def head(self, made: _Made, space: SpaceId, compared: Mapping[str, Json]) -> Head:
        """Return the finished head."""
        choice, targets = made.choice, self.targets
        held_out = choice.held_out
        penalty = held_out.seen_penalty() if targets.are_classes else 0.0
        calibrations: dict[Regime, Calibration] = held_out.calibrations(penalty)
        trained = np.unique(targets.rows)
        pulled = targets.rows[self.jury.rows[held_out.references]]
        rest = {}
        if made.hidden is not None and made.hidden.outward.size:
            rest = {
                "hidden": made.hidden.hidden,
                "hidden_bias": made.hidden.hidden_bias,
                "outward": made.hidden.outward,
            }
        return Head(
            weight=made.weight,
            bias=made.bias,
            mean=self.fits.mean,
            scale=self.fits.scale,
            space=space,
            encoder=self.source.encoder,
            temperature=calibrations["unseen"].temperature,
            prior_weight=choice.prior_weight,
            measured_weight=self.measured_weight(held_out, calibrations["unseen"].temperature),
            seen=tuple(targets.names[row] for row in trained) if targets.are_classes else (),
            seen_penalty=penalty,
            references=held_out.embeddings[held_out.references],
            reference_points=targets.points[pulled],
            offset=held_out.offset.astype(np.float32),
            calibrations=calibrations,
            params={
                "method": made.method,
                "strength": self.strength,
                "n_folds": self.aligner.n_folds,
                "seed": self.aligner.seed,
                "n_items": len(self.source.inputs),
                "n_targets": len(trained),
                **({"n_steps": made.n_steps} if made.method != "ridge" else {}),
                **({"compared": dict(compared)} if compared else {}),
            },
            metrics={
                "held_out_reciprocal_rank": round(choice.unseen, 4),
                "held_out_worth": round(choice.worth, 4),
            },
            **rest,
        )


def _by_contrast(
    aligner: Aligner,
    entries: "list[_Entry]",
    ridges: list[_Made],
    progress: ProgressCallback | None,
    watch: Watcher | None,
    checkpoint: Path | None,
) -> tuple[list[_Made], dict[str, Json]]:
    """Return the heads of the shape and number of steps that find held-out classes best."""
    from unibind.alignment.contrast import SHAPES, Contrast
    from unibind.alignment.rounds import Trainee, compare

    contrast = aligner.contrast or Contrast()
    trainees = [
        Trainee(
            inputs=entry.source.inputs,
            fits=entry.fits,
            jury=entry.jury,
            strength=entry.strength,
            prior=entry.source.prior,
            prior_weight=ridge.choice.prior_weight,
        )
        for entry, ridge in zip(entries, ridges, strict=True)
    ]
    shapes = SHAPES if aligner.method == "auto" else tuple(s for s in SHAPES if s == aligner.method)
    outcome = compare(
        trainees,
        contrast,
        shapes,
        seed=aligner.seed,
        progress=progress,
        watch=watch,
        checkpoint=checkpoint,
    )
    if outcome.moved is None:
        return ridges, outcome.table
    made = []
    for place, (entry, moved) in enumerate(zip(entries, outcome.moved, strict=True)):
        choice = entry.best_weight(outcome.predicted[place])
        made.append(_Made(outcome.shape, moved.weight, moved.bias, choice, moved, outcome.n_steps))
    return made, outcome.table


def _on_one_list(targets: Sequence[Targets]) -> list[Targets]:
    """Return the same targets with the names of all of them in one order.

    Raises:
        InvalidInputError: One name has two points, or classes and captions are mixed.
    """
    if len(targets) == 1:
        return list(targets)
    names = sorted({name for each in targets for name in each.names})
    place = {name: row for row, name in enumerate(names)}
    points = np.zeros((len(names), targets[0].points.shape[1]), dtype=np.float32)
    for each in targets:
        rows = [place[name] for name in each.names]
        known = points[rows].any(axis=1)
        if len({one.are_classes for one in targets}) > 1 or not np.allclose(
            points[rows][known], each.points[known], atol=1e-5
        ):
            raise InvalidInputError(
                "modalities that are trained together need the same centers of the same classes"
            )
        points[rows] = each.points
    return [
        Targets(
            tuple(names),
            points,
            np.array([place[name] for name in each.names], dtype=np.int64)[each.rows],
            each.are_classes,
        )
        for each in targets
    ]


def _checked(source: Source) -> Source:
    """Return a source whose parts belong together.

    Raises:
        InvalidInputError: They do not.
    """
    rows = check_rows(source.inputs, width=source.inputs.shape[-1], what="features")
    _check_count("targets", len(source.targets.rows), len(rows))
    present = np.unique(source.targets.rows)
    if len(present) < 2:
        raise InvalidInputError(
            f"all items belong to {source.targets.names[present[0]]!r}; a head needs at least two "
            "classes or captions to tell apart"
        )
    prior = source.prior
    if prior is not None:
        prior = check_rows(prior, width=source.targets.points.shape[1], what="semantic priors")
        _check_count("semantic priors", len(prior), len(rows))
    return replace(source, inputs=rows, prior=prior)


def _check_count(what: str, found: int, needed: int) -> None:
    if found != needed:
        raise InvalidInputError(f"{needed} items with {found} {what}; one each is needed")


def _votes(judged: Sequence[bool] | None, n_items: int) -> npt.NDArray[np.bool_]:
    votes = np.ones(n_items, dtype=bool) if judged is None else np.asarray(judged, dtype=bool)
    _check_count("entries of judged", len(votes), n_items)
    return votes


def _best(worth: Mapping[_T, float]) -> _T:
    """Return the choice with the highest worth; of equals the nearest to the middle of the grid.

    Few classes say little: every choice may find all their items.
    """
    highest, grid = max(worth.values()), list(worth)
    equals = [choice for choice in grid if np.isclose(worth[choice], highest)]
    return min(equals, key=lambda choice: abs(2 * grid.index(choice) + 1 - len(grid)))
