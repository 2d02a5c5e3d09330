"""How long to train by contrast, and what: judged on classes and items that were held out.

As many courses as there are folds go on side by side, each from the ridge solution without its
fold, each never seeing the fold's classes; and one more that knows all classes, but not a third of
their items. Every few steps all of them are asked about what they have not seen. Where they find
less than the ridge did, be it among unseen classes or among seen ones, the ridge stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unibind.alignment.checkpoints import Checkpoints, digest_of
from unibind.alignment.contrast import Contrast, Course, Learner, Moved, Shape
from unibind.alignment.fits import Fits
from unibind.alignment.geometry import unit
from unibind.alignment.heads import fuse
from unibind.alignment.heldout import HeldOut, Jury, Predicted, harmonic
from unibind.alignment.trials import Trial
from unibind.types import FloatArray, IntArray, Json, ProgressCallback

__all__ = ["Outcome", "Round", "Trainee", "compare"]


@dataclass(frozen=True, slots=True, eq=False)
class Trainee:
    """One modality that is to be trained by contrast.

    Attributes:
        inputs: Of its items, not standardised, shape (N, F).
        fits: Its ridge fits.
        jury: Its judged items, their folds and targets.
        strength: Of the ridge that it begins from.
        prior: Embeddings of the items by the semantic prior, shape (N, D), if there is one.
        prior_weight: Of the prior, while heads are judged. They are trained without it: a head that
            is trained beside the prior leaves to it what it could learn of unseen classes itself.
    """

    inputs: FloatArray
    fits: Fits
    jury: Jury
    strength: float
    prior: FloatArray | None
    prior_weight: float

    def learner(
        self, start: tuple[FloatArray, FloatArray], basis: FloatArray, rows: npt.NDArray[np.int64]
    ) -> Learner:
        """Return what is trained on some rows, from a ridge solution on."""
        return Learner(
            inputs=self.inputs,
            rows=rows,
            labels=self.jury.targets.rows,
            mean=self.fits.mean,
            scale=self.fits.scale,
            basis=basis,
            weight=start[0],
            bias=start[1],
        )

    def predicted(
        self, unseen: FloatArray, seen: FloatArray, start: "_Heads", trials: Sequence[Trial]
    ) -> Predicted:
        """Return what courses predict for the judged items.

        Each fold has one course, not one for each trial of it. So what a course moved is added to
        what the ridge says in the trials.

        Args:
            unseen: The items without their class, shape (J, D).
            seen: The items without themselves, NaN where not known, shape (J, D).
            start: Where the courses began.
            trials: Of the ridge.
        """
        moved = unseen - start.unseen, seen - start.seen
        return Predicted([trial.moved(*moved) for trial in trials], lambda: seen)

    def place(self, rows: FloatArray, at: IntArray) -> FloatArray:
        """Return predictions for judged items on the unit sphere, with the prior beside them."""
        prior = None if self.prior is None else self.prior[self.jury.rows[at]]
        return fuse(unit(rows), prior, self.prior_weight)

    def hidden_items(self) -> npt.NDArray[np.bool_]:
        """Return which judged items are held out though their class is not, (J,).

        Every third of each class that has two or more.
        """
        classes = self.jury.targets.rows[self.jury.rows]
        repeated = np.bincount(self.jury.targets.rows)[classes] > 1
        hidden: npt.NDArray[np.bool_] = (_place_within(classes) % 3 == 0) & repeated
        return hidden


@dataclass(frozen=True, slots=True)
class Round:
    """One look at what is held out.

    Attributes:
        shape: What is trained.
        step: Steps taken.
        n_steps: Steps at most.
        unseen: Mean reciprocal rank of the right class among the held-out ones.
        seen: The same of held-out items of trained classes, among all; NaN where no class has
            two items.
        is_best: Whether none was better so far.
    """

    shape: Shape
    step: int
    n_steps: int
    unseen: float
    seen: float
    is_best: bool = False

    @property
    def worth(self) -> float:
        """Return the harmonic mean of the two: high only if both are."""
        return harmonic(self.unseen, self.seen)

    def is_no_worse_than(self, other: "Round") -> bool:
        """Return whether neither of the two has fallen."""
        seen_holds = bool(np.isnan(self.seen)) or self.seen >= other.seen
        return self.unseen >= other.unseen and seen_holds


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the comparison chose.

    Attributes:
        shape: What is learned; of no meaning if the ridge stays.
        n_steps: For how long.
        moved: The heads, one per modality, trained on everything; None if the ridge stays.
        predicted: Per modality what its courses predict for the judged items.
        table: What was compared.
    """

    shape: Shape
    n_steps: int
    moved: list[Moved] | None
    predicted: list[Predicted]
    table: dict[str, Json]


@dataclass(frozen=True, slots=True, eq=False)
class _Heads:
    """Where courses carry the judged items of one modality: without their class, and alone."""

    unseen: FloatArray
    seen: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """A round of a shape, where the judged items were then, and what comes of that."""

    round: Round
    heads: list[_Heads]
    predicted: list[Predicted]


def compare(
    trainees: Sequence[Trainee],
    contrast: Contrast,
    shapes: Sequence[Shape],
    *,
    seed: int,
    progress: ProgressCallback | None = None,
    watch: Callable[[Round], None] | None = None,
    checkpoint: Path | None = None,
) -> Outcome:
    """Return the shape and the number of steps that find held-out classes and items best.

    Args:
        trainees: The modalities that are trained together; their juries have the same folds.
        contrast: How; its shape is not looked at.
        shapes: Which shapes come into question.
        seed: Of the courses.
        progress: Called with the steps done and an upper bound of them.
        watch: Called with each look.
        checkpoint: A folder in which what is done is kept, so that it goes on from there.
    """
    key = digest_of(
        asdict(contrast) | {"shapes": list(shapes), "seed": seed},
        [each.inputs[each.jury.rows] for each in trainees]
        + [each.jury.targets.points for each in trainees]
        + [each.jury.targets.rows for each in trainees],
    )
    kept = Checkpoints(checkpoint, key)
    n_folds = len(trainees[0].jury.folds)
    total = contrast.n_steps * ((n_folds + 1) * len(shapes) + 1)
    done = 0

    def tell(steps: int) -> None:
        nonlocal done
        done += steps
        if progress is not None:
            progress(min(done, total), total)

    bases = [each.fits.basis(contrast.n_directions) for each in trainees]
    trials = [each.fits.trials(each.strength) for each in trainees]
    starts: list[Round] = []
    found: list[_Best] = []
    for shape in shapes:
        ridge, best = _follow(
            trainees, bases, trials, replace(contrast, shape=shape), seed, tell, watch, kept
        )
        starts.append(ridge)
        found.append(best)
    ridge = starts[0]
    table: dict[str, Json] = {"ridge": _told(ridge)}
    table |= {str(each.round.shape): _told(each.round) for each in found}
    best = max(found, key=lambda each: each.round.worth)
    if best.round.step == 0 or not best.round.worth > ridge.worth:
        kept.clear()
        return Outcome(best.round.shape, 0, None, [], table)
    learners = [
        each.learner(each.fits.solve(each.strength), basis, np.arange(len(each.inputs)))
        for each, basis in zip(trainees, bases, strict=True)
    ]
    whole = _course(trainees, learners, replace(contrast, shape=best.round.shape), seed)
    _advance(whole, best.round.step, contrast.check_every, tell, kept)
    kept.clear()
    return Outcome(best.round.shape, best.round.step, whole.moved(), best.predicted, table)


def _follow(
    trainees: Sequence[Trainee],
    bases: Sequence[FloatArray],
    trials: Sequence[Sequence[Trial]],
    contrast: Contrast,
    seed: int,
    tell: Callable[[int], None],
    watch: Callable[[Round], None] | None,
    kept: Checkpoints,
) -> tuple[Round, _Best]:
    """Return the first look at a shape, which is the ridge, and the best."""
    courses = []
    folds = [*range(len(trainees[0].jury.folds)), None]
    for number, fold in enumerate(folds):
        learners = [
            _without(each, basis, fold) for each, basis in zip(trainees, bases, strict=True)
        ]
        courses.append(_course(trainees, learners, contrast, seed + number))
    phase = f"held out {contrast.shape}"
    start = _heads(trainees, courses)
    first = best = _look(trainees, start, start, trials, courses[0])
    state = kept.load(phase)
    since = 0
    if state is not None:
        for fold, course in enumerate(courses):
            course.resume(state.of(fold))
        best = _best_of(state.notes, state.arrays, trainees, first, trials)
        since = int(state.notes["since"])
    elif watch is not None:
        watch(first.round)
    while courses[0].step < contrast.n_steps and since < contrast.patience:
        steps = min(contrast.check_every, contrast.n_steps - courses[0].step)
        for course in courses:
            course.advance(steps)
            tell(steps)
        now = _look(trainees, _heads(trainees, courses), start, trials, courses[0])
        is_best = now.round.is_no_worse_than(first.round) and now.round.worth > best.round.worth
        best, since = (now, 0) if is_best else (best, since + 1)
        if watch is not None:
            watch(replace(now.round, is_best=is_best))
        kept.save(
            phase,
            [course.state() for course in courses],
            notes={"since": since, "best": asdict(best.round)},
            arrays=_arrays_of(best),
        )
    tell((contrast.n_steps - courses[0].step) * len(courses))
    return first.round, best


def _without(trainee: Trainee, basis: FloatArray, fold: int | None) -> Learner:
    """Return what never sees the classes of a fold; for None, a third of the items."""
    jury, hidden = trainee.jury, trainee.hidden_items()
    if fold is not None:
        hidden = np.zeros_like(hidden)
    left_out = jury.rows[hidden] if fold is None else jury.folds[fold]
    start = trainee.fits.solve_without(trainee.strength, fold, hidden)
    return trainee.learner(start, basis, np.setdiff1d(np.arange(len(trainee.inputs)), left_out))


def _course(
    trainees: Sequence[Trainee], learners: Sequence[Learner], contrast: Contrast, seed: int
) -> Course:
    targets = trainees[0].jury.targets
    return Course(learners, targets.points, contrast, seed=seed, centers=targets.centers)


def _advance(
    course: Course, n_steps: int, every: int, tell: Callable[[int], None], kept: Checkpoints
) -> None:
    state = kept.load("whole")
    if state is not None:
        course.resume(state.of(0))
    while course.step < n_steps:
        steps = min(every, n_steps - course.step)
        course.advance(steps)
        tell(steps)
        kept.save("whole", [course.state()], notes={}, arrays={})


def _heads(trainees: Sequence[Trainee], courses: Sequence[Course]) -> list[_Heads]:
    """Return where the courses carry what each has not seen, by modality."""
    moved = [course.moved() for course in courses]  # by fold, by modality
    heads = []
    for place, trainee in enumerate(trainees):
        jury, dim = trainee.jury, trainee.jury.targets.points.shape[1]
        unseen = np.full((len(jury.rows), dim), np.nan, dtype=np.float32)
        seen = unseen.copy()
        block = (np.asarray(trainee.inputs[jury.rows]) - trainee.fits.mean) / trainee.fits.scale
        for fold, rows in enumerate(jury.folds):
            at = np.isin(jury.rows, rows)
            unseen[at] = moved[fold][place].project(block[at])
        hidden = trainee.hidden_items()
        seen[hidden] = moved[-1][place].project(block[hidden])
        heads.append(_Heads(unseen, seen))
    return heads


def _look(
    trainees: Sequence[Trainee],
    heads: Sequence[_Heads],
    start: Sequence[_Heads],
    trials: Sequence[Sequence[Trial]],
    course: Course,
) -> _Best:
    """Return what the courses are worth by now."""
    predicted = [
        trainee.predicted(each.unseen, each.seen, first, of_ridge)
        for trainee, each, first, of_ridge in zip(trainees, heads, start, trials, strict=True)
    ]
    rounds = []
    for trainee, each in zip(trainees, predicted, strict=True):
        held_out = HeldOut(trainee.jury, each, trainee.place)
        ranks = held_out.ranks_among_all()
        seen = float(ranks.mean()) if len(ranks) else float("nan")
        rounds.append((float(held_out.reciprocal_ranks().mean()), seen))
    unseen, seen = np.array(rounds).mean(axis=0).tolist()
    shape, n_steps = course.contrast.shape, course.contrast.n_steps
    return _Best(Round(shape, course.step, n_steps, unseen, seen), list(heads), predicted)


def _arrays_of(best: _Best) -> dict[str, FloatArray]:
    arrays = {f"unseen {place}": each.unseen for place, each in enumerate(best.heads)}
    return arrays | {f"seen {place}": each.seen for place, each in enumerate(best.heads)}


def _best_of(
    notes: dict[str, Json],
    arrays: dict[str, FloatArray],
    trainees: Sequence[Trainee],
    first: _Best,
    trials: Sequence[Sequence[Trial]],
) -> _Best:
    if not notes["best"]["step"]:
        return first
    heads = [_Heads(arrays[f"unseen {n}"], arrays[f"seen {n}"]) for n in range(len(trainees))]
    predicted = [
        trainee.predicted(each.unseen, each.seen, start, of_ridge)
        for trainee, each, start, of_ridge in zip(trainees, heads, first.heads, trials, strict=True)
    ]
    return _Best(Round(**notes["best"]), heads, predicted)


def _told(look: Round) -> dict[str, Json]:
    seen = None if np.isnan(look.seen) else round(look.seen, 4)
    return {"unseen": round(look.unseen, 4), "seen": seen, "steps": look.step}


def _place_within(classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for each item how many of its class come before it."""
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    first = np.searchsorted(ordered, ordered)
    places = np.empty(len(classes), dtype=np.int64)
    places[order] = np.arange(len(classes)) - first
    return places
