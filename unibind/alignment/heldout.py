"""What fits say of items whose classes they had not seen: what every choice is made by."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from unibind.alignment.calibration import Calibration, Regime, calibrate
from unibind.alignment.geometry import unit
from unibind.alignment.hubs import without_hubs
from unibind.alignment.stacking import choose_penalty
from unibind.alignment.targets import Targets
from unibind.alignment.trials import Trial, parts_of
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray

__all__ = ["MAX_JUDGED", "HeldOut", "Jury", "Predicted", "harmonic"]

MAX_JUDGED = 4000
"""Choices are made by at most this many items: more would not choose otherwise."""

MAX_REFERENCES = 1000
N_DRAWS = 4
SEEN_PER_UNSEEN = 2
MEASURED_WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Jury:
    """Which items the choices are judged by, and in which fold their classes are left out.

    Attributes:
        targets: What the items belong to.
        folds: Rows of each fold, all items of its points among them.
        rows: The J judged items, ascending.
        seed: Of the draws.
    """

    targets: Targets
    folds: list[IntArray]
    rows: IntArray
    seed: int

    @classmethod
    def of(
        cls, targets: Targets, votes: npt.NDArray[np.bool_], *, n_folds: int, seed: int
    ) -> "Jury":
        """Return the jury of targets.

        Args:
            targets: What the items belong to.
            votes: Which items may judge, shape (N,).
            n_folds: Into how many parts the judged points are split at most.
            seed: Of the split, and of the draw where more than `MAX_JUDGED` may judge.

        Raises:
            InvalidInputError: No item may judge.
        """
        if not votes.any():
            raise InvalidInputError("no item is judged; the choices need at least one")
        folds = targets.folds(n_folds, seed=seed, among=targets.rows[votes])
        in_a_fold = np.zeros(len(votes), dtype=bool)
        for rows in folds:
            in_a_fold[rows] = True
        rows = np.flatnonzero(votes & in_a_fold)
        if len(rows) > MAX_JUDGED:
            drawn = np.random.default_rng(seed).choice(rows, size=MAX_JUDGED, replace=False)
            rows = np.sort(drawn)
        return cls(targets, folds, rows, seed)

    @property
    def parts(self) -> list[IntArray]:
        """Rows that are left out together beside a fold; every fold is made of whole parts."""
        return parts_of(self.folds, self.targets.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What fits predict for the J judged items of a jury; of any length.

    Attributes:
        trials: One for each fold with judged items.
        seen: Makes predictions by fits without the item alone, shape (J, D), NaN where there is
            none; called only if it is needed.
    """

    trials: Sequence[Trial]
    seen: Callable[[], FloatArray]

    def unseen(self) -> FloatArray:
        """Return each judged item's prediction by the fit without its class's fold, (J, D)."""
        places = np.concatenate([trial.unseen for trial in self.trials])
        rows: FloatArray = np.concatenate([trial.of_unseen for trial in self.trials])
        return rows[np.argsort(places)]


@dataclass(frozen=True, slots=True, eq=False)
class _Played:
    """A trial's items in the space, as the head that it stands for would place them."""

    unseen: IntArray
    others: IntArray
    of_unseen: FloatArray
    alone: Callable[[], FloatArray]
    references: FloatArray


class HeldOut:
    """The judged items in the space: by fits that had not seen their class, and in trials.

    Args:
        jury: Who judges.
        predicted: What fits say of its items.
        place: Carries predictions, shape (n, D), of the judged items at some places to the unit
            sphere, with whatever stands beside the head.
    """

    def __init__(
        self,
        jury: Jury,
        predicted: Predicted,
        place: Callable[[FloatArray, IntArray], FloatArray] = lambda rows, at: unit(rows),
    ) -> None:
        self._jury, self._predicted, self._place = jury, predicted, place
        self._everyone = np.arange(len(jury.rows))
        placed = place(predicted.unseen(), self._everyone)
        self.offset = placed.mean(axis=0)
        self.embeddings = unit(placed - self.offset)
        self._seen = cache(lambda: unit(place(predicted.seen(), self._everyone) - self.offset))
        self._rows = jury.targets.rows[jury.rows]  # point of each judged item
        n_kept = min(MAX_REFERENCES, len(self._rows))
        self.references = np.sort(
            np.random.default_rng(jury.seed).choice(len(self._rows), size=n_kept, replace=False)
        )

    @cached_property
    def _trials(self) -> list[_Played]:
        """Each trial's items, with the offset and the references of its own head."""
        return [self._played(trial) for trial in self._predicted.trials]

    def _played(self, trial: Trial) -> _Played:
        apart = self._place(trial.apart, trial.others)
        is_known = np.isfinite(apart).all(axis=1)
        apart = apart[is_known]
        offset = apart.mean(axis=0) if len(apart) else np.zeros_like(self.offset)
        is_reference = np.isin(trial.others[is_known], self.references)

        def alone() -> FloatArray:
            return unit(self._place(trial.alone, trial.others) - offset)

        return _Played(
            unseen=trial.unseen,
            others=trial.others,
            of_unseen=unit(self._place(trial.of_unseen, trial.unseen) - offset),
            alone=cache(alone),
            references=unit(apart[is_reference] - offset),
        )

    def reciprocal_ranks(self) -> FloatArray:
        """Return the reciprocal rank of each judged item's point among those of its fold, (J,)."""
        ranks = np.zeros(len(self._rows), dtype=np.float32)
        for trial, (scores, right) in zip(self._trials, self.within_folds(), strict=True):
            best = np.take_along_axis(scores, right[:, None], axis=1)
            ranks[trial.unseen] = 1 / (1 + (scores > best).sum(axis=1))
        return ranks

    def ranks_among_all(self) -> FloatArray:
        """Return reciprocal ranks of the items that were left out alone, among all points, (M,)."""
        rows = self._known()
        seen, points = self._seen()[rows], self._jury.targets.points
        ranks = np.zeros(len(rows), dtype=np.float32)
        references = self.embeddings[self.references]
        step = max(1, 2**25 // len(points))
        for start in range(0, len(rows), step):
            at = rows[start : start + step]
            scores = without_hubs(seen[start : start + step] @ points.T, references @ points.T)
            own = np.take_along_axis(scores, self._rows[at, None], axis=1)
            ranks[start : start + step] = 1 / (1 + (scores > own).sum(axis=1))
        return ranks

    def worth(self) -> float:
        """Return how well classes are found: the harmonic mean of reciprocal ranks.

        Of items whose class was left out, among the classes of their fold, and of items that were
        left out alone, among all. By the first alone, a choice would give up what is known of
        trained classes for a hair more of the others. Captions have only the first: they are no
        list that anybody chooses from.
        """
        unseen = float(self.reciprocal_ranks().mean())
        if not self._jury.targets.are_classes:
            return unseen
        return harmonic(unseen, _mean_or_nan(self.ranks_among_all()))

    def seen_penalty(self) -> float:
        """Return the penalty of seen classes that balances them with half as many unseen ones."""
        return choose_penalty(list(self._mixed_lists()))

    def calibrations(self, seen_penalty: float) -> dict[Regime, Calibration]:
        """Return how sure to be, by what was trained on; only what could be judged."""
        outcomes: dict[Regime, list[tuple[FloatArray, IntArray]]] = {
            "unseen": self.within_folds(),
            "seen": [],
            "mixed": [],
        }
        if self._jury.targets.are_classes:
            for scores, right, is_seen in self._mixed_lists():
                lowered: FloatArray = scores - np.float32(seen_penalty) * is_seen.astype(np.float32)
                outcomes["mixed"].append((lowered, right))
            outcomes["seen"].append(self._among_seen())
        found = {regime: calibrate(each) for regime, each in outcomes.items()}
        return {regime: each for regime, each in found.items() if each is not None}

    def measured_weight(self, measured: FloatArray, temperature: float) -> float:
        """Return the weight of measured attributes under which the items' own points are likeliest.

        Args:
            measured: Log likelihood ratios of all U points of the targets, shape (J, U).
            temperature: Of the scores that they stand beside.
        """
        worth = {}
        for weight in MEASURED_WEIGHTS:
            losses = []
            for trial, (scores, right) in zip(self._trials, self.within_folds(), strict=True):
                places = trial.unseen
                told = measured[np.ix_(places, np.unique(self._rows[places]))]
                logits = scores / temperature + weight * told
                own = np.take_along_axis(logits, right[:, None], axis=1)[:, 0]
                losses.append(np.logaddexp.reduce(logits, axis=1) - own)
            worth[weight] = -float(np.concatenate(losses).mean())
        return max(worth, key=lambda weight: worth[weight])

    def within_folds(self) -> list[tuple[FloatArray, IntArray]]:
        """Return per fold the scores against the fold's own points, and which point is right."""
        outcome = []
        for trial in self._trials:
            points, right = np.unique(self._rows[trial.unseen], return_inverse=True)
            vectors = self._jury.targets.points[points]
            centred = unit(vectors - vectors.mean(axis=0))
            outcome.append((_scores(trial.of_unseen, centred, trial), right))
        return outcome

    def _among_seen(self) -> tuple[FloatArray, IntArray]:
        """Return the scores of items that were left out alone against all judged points."""
        points, columns = np.unique(self._rows, return_inverse=True)
        vectors, known = self._jury.targets.points[points], self._known()
        references = self.embeddings[self.references]
        scores = without_hubs(self._seen()[known] @ vectors.T, references @ vectors.T)
        return scores, columns[known]

    def _against_seen(self) -> Iterator[tuple[FloatArray, IntArray, npt.NDArray[np.bool_]]]:
        """Yield per trial the scores of its items and of others against all judged points.

        The fold's classes play the unseen ones; the others, each left out alone, are seen.
        """
        points, columns = np.unique(self._rows, return_inverse=True)
        vectors = self._jury.targets.points[points]
        counts = np.bincount(self._jury.targets.rows)
        for trial in self._trials:
            alone = trial.alone()
            known = (counts[self._rows[trial.others]] > 1) & np.isfinite(alone).all(axis=1)
            if not known.any():
                continue
            is_seen = np.ones(len(points), dtype=bool)
            is_seen[columns[trial.unseen]] = False
            embeddings = np.concatenate([trial.of_unseen, alone[known]])
            right = columns[np.concatenate([trial.unseen, trial.others[known]])]
            yield _scores(embeddings, vectors, trial), right, is_seen

    def _mixed_lists(
        self,
    ) -> Iterator[tuple[FloatArray, IntArray, npt.NDArray[np.bool_]]]:
        """Yield what `_against_seen` does, with at most twice as many seen classes as unseen ones.

        With five folds there are four times as many. The more seen classes compete, the higher the
        penalty that balances them; which of them stay is drawn several times.
        """
        generator = np.random.default_rng(self._jury.seed)
        for scores, right, is_seen in self._against_seen():
            unseen, seen = np.flatnonzero(~is_seen), np.flatnonzero(is_seen)
            n_kept = min(len(seen), SEEN_PER_UNSEEN * len(unseen))
            for _ in range(1 if n_kept == len(seen) else N_DRAWS):
                drawn = generator.choice(seen, size=n_kept, replace=False)
                kept = np.sort(np.concatenate([unseen, drawn]))
                place = np.full(len(is_seen), -1)
                place[kept] = np.arange(len(kept))
                rows = place[right] >= 0
                yield scores[rows][:, kept], place[right[rows]], is_seen[kept]

    def _known(self) -> IntArray:
        """Return which items a fit without the item was asked about that had seen their class."""
        targets = self._jury.targets
        counts = np.bincount(targets.rows, minlength=len(targets.names))
        return np.flatnonzero((counts[self._rows] > 1) & np.isfinite(self._seen()).all(axis=1))


def _scores(embeddings: FloatArray, points: FloatArray, trial: _Played) -> FloatArray:
    return without_hubs(embeddings @ points.T, trial.references @ points.T)


def harmonic(one: float, other: float) -> float:
    """Return the harmonic mean of two shares: high only if both are; the one if other is NaN."""
    if np.isnan(other):
        return one
    return 2 * one * other / (one + other) if one + other else 0.0


def _mean_or_nan(ranks: FloatArray) -> float:
    return float(ranks.mean()) if len(ranks) else float("nan")
