"""What fits say of items whose classes they had not seen: what every choice is made by."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from unibind.alignment.calibration import Calibration, Regime, calibrate
from unibind.alignment.geometry import unit
from unibind.alignment.hubs import without_hubs
from unibind.alignment.stacking import choose_penalty
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray

__all__ = ["MAX_JUDGED", "HeldOut", "Jury", "harmonic"]

MAX_JUDGED = 4000
"""Choices are made by at most this many items: more would not choose otherwise."""

MAX_REFERENCES = 1000
N_DRAWS = 4
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
    def said(self) -> list[IntArray]:
        """Places of the judged items of each fold among `rows`; folds without any are left out."""
        places = [np.flatnonzero(np.isin(self.rows, rows)) for rows in self.folds]
        return [at for at in places if len(at)]

    def hold_out(
        self,
        unseen: FloatArray,
        seen: Callable[[], FloatArray],
        offset: FloatArray | None = None,
    ) -> "HeldOut":
        """Return what comes of embeddings of the judged items.

        Args:
            unseen: Each by a fit without its class's fold, shape (J, D).
            seen: Makes the same by fits without the item alone; called only if it is needed.
            offset: What is taken off them; their own mean by default.
        """
        if offset is None:
            offset = unseen.mean(axis=0)
        return HeldOut(self, unit(unseen - offset), lambda: unit(seen() - offset), offset)


class HeldOut:
    """The judged items in the space, by fits that had not seen their class.

    Args:
        jury: Who judges.
        embeddings: Of the J judged items, each by a fit without its fold, shape (J, D).
        seen: Makes the embeddings by fits that had seen the item's class, though not the item.
        offset: What was taken off both, shape (D,).
    """

    def __init__(
        self,
        jury: Jury,
        embeddings: FloatArray,
        seen: Callable[[], FloatArray],
        offset: FloatArray,
    ) -> None:
        self.embeddings = embeddings
        self.offset = offset
        self._seen = cache(seen)
        self._jury = jury
        self._folds = jury.said
        self._rows = jury.targets.rows[jury.rows]  # point of each judged item
        n_kept = min(MAX_REFERENCES, len(self._rows))
        self.references = np.sort(
            np.random.default_rng(jury.seed).choice(len(self._rows), size=n_kept, replace=False)
        )

    def reciprocal_ranks(self) -> FloatArray:
        """Return the reciprocal rank of each judged item's point among those of its fold, (J,)."""
        ranks = np.zeros(len(self._rows), dtype=np.float32)
        for places, (scores, right) in zip(self._folds, self.within_folds(), strict=True):
            best = np.take_along_axis(scores, right[:, None], axis=1)
            ranks[places] = 1 / (1 + (scores > best).sum(axis=1))
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
        """Return the penalty of seen classes that balances them with as many unseen ones."""
        return choose_penalty(list(self._as_many_seen()))

    def calibrations(self, seen_penalty: float) -> dict[Regime, Calibration]:
        """Return how sure to be, by what was trained on; only what could be judged."""
        outcomes: dict[Regime, list[tuple[FloatArray, IntArray]]] = {
            "unseen": self.within_folds(),
            "seen": [],
            "mixed": [],
        }
        if self._jury.targets.are_classes:
            for scores, right, is_seen in self._against_seen():
                lowered: FloatArray = scores - np.float32(seen_penalty) * is_seen.astype(np.float32)
                outcomes["mixed"].append((lowered, right))
                known = is_seen[right]
                place = np.cumsum(is_seen) - 1
                outcomes["seen"].append((scores[known][:, is_seen], place[right[known]]))
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
            for places, (scores, right) in zip(self._folds, self.within_folds(), strict=True):
                told = measured[np.ix_(places, np.unique(self._rows[places]))]
                logits = scores / temperature + weight * told
                own = np.take_along_axis(logits, right[:, None], axis=1)[:, 0]
                losses.append(np.logaddexp.reduce(logits, axis=1) - own)
            worth[weight] = -float(np.concatenate(losses).mean())
        return max(worth, key=lambda weight: worth[weight])

    def within_folds(self) -> list[tuple[FloatArray, IntArray]]:
        """Return per fold the scores against the fold's own points, and which point is right."""
        outcome = []
        for places in self._folds:
            points, right = np.unique(self._rows[places], return_inverse=True)
            vectors = self._jury.targets.points[points]
            centred = unit(vectors - vectors.mean(axis=0))
            outcome.append((self._scores(self.embeddings[places], centred, places), right))
        return outcome

    def _against_seen(self) -> Iterator[tuple[FloatArray, IntArray, npt.NDArray[np.bool_]]]:
        """Yield per fold the scores of its items and of others against all judged points.

        Its own classes play the unseen ones; the others, each left out alone, are seen.
        """
        known, seen = self._known(), self._seen()
        points, columns = np.unique(self._rows, return_inverse=True)
        vectors = self._jury.targets.points[points]
        for places in self._folds:
            others = np.setdiff1d(known, places)
            if not len(others):
                continue
            is_seen = np.ones(len(points), dtype=bool)
            is_seen[columns[places]] = False
            embeddings = np.concatenate([self.embeddings[places], seen[others]])
            right = columns[np.concatenate([places, others])]
            yield self._scores(embeddings, vectors, places), right, is_seen

    def _as_many_seen(
        self,
    ) -> Iterator[tuple[FloatArray, IntArray, npt.NDArray[np.bool_]]]:
        """Yield what `_against_seen` does, with no more seen classes than unseen ones.

        With five folds there are four times as many, and a penalty for these is too high for any
        other list. Which of them stay is drawn several times.
        """
        generator = np.random.default_rng(self._jury.seed)
        for scores, right, is_seen in self._against_seen():
            unseen, seen = np.flatnonzero(~is_seen), np.flatnonzero(is_seen)
            n_kept = min(len(seen), len(unseen))
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

    def _scores(self, embeddings: FloatArray, points: FloatArray, fold: IntArray) -> FloatArray:
        # In use, no reference item is of an unseen class; so none of the fold may be one here.
        references = self.embeddings[np.setdiff1d(self.references, fold)]
        return without_hubs(embeddings @ points.T, references @ points.T)


def harmonic(one: float, other: float) -> float:
    """Return the harmonic mean of two shares: high only if both are; the one if other is NaN."""
    if np.isnan(other):
        return one
    return 2 * one * other / (one + other) if one + other else 0.0


def _mean_or_nan(ranks: FloatArray) -> float:
    return float(ranks.mean()) if len(ranks) else float("nan")
