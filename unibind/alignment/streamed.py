"""Ridge regression of more rows than fit into memory: two passes, and only sums are kept."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from unibind.alignment.heldout import Jury
from unibind.alignment.ridge import check_strength, standard_scale
from unibind.alignment.trials import Trial
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray, ProgressCallback

__all__ = ["StreamedRidge"]

_ROWS = 2**14

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Sums over some rows z with targets y: how many, of z, of y, of z z^T and of z y^T."""

    n: float
    inputs: Float64Array
    targets: Float64Array
    gram: Float64Array
    cross: Float64Array

    def plus(self, other: "_Sums") -> "_Sums":
        """Return the sums over the rows of both."""
        return _Sums(
            self.n + other.n,
            self.inputs + other.inputs,
            self.targets + other.targets,
            self.gram + other.gram,
            self.cross + other.cross,
        )

    def less(self, other: "_Sums") -> "_Sums":
        """Return the sums over the rows that are not among the others."""
        return _Sums(
            self.n - other.n,
            self.inputs - other.inputs,
            self.targets - other.targets,
            self.gram - other.gram,
            self.cross - other.cross,
        )


class StreamedRidge:
    """The fits of `RidgePath`, from sums: memory grows with F and D, not with the rows.

    Per fold of the jury the F x F sums are kept, so that each fit without a fold is one
    factorisation. For F = 1280 and five folds that is 80 MB, for any number of rows.

    Args:
        inputs: Shape (N, F), for example mapped from disk.
        jury: Whose folds are left out, and whose targets are fitted.
        progress: Called with the rows read, over both passes, and their number.

    Raises:
        InvalidInputError: There are fewer than two rows, all rows are equal, or one is NaN or
            infinite.
    """

    def __init__(
        self, inputs: FloatArray, jury: Jury, *, progress: ProgressCallback | None = None
    ) -> None:
        if len(inputs) < 2:
            raise InvalidInputError(f"{len(inputs)} training items; a head needs at least two")
        self._jury = jury
        self._judged = inputs[jury.rows]
        self._tell = progress or (lambda done, total: None)
        self.mean, self.scale = self._standard(inputs)
        self._z = ((self._judged - self.mean) / self.scale).astype(np.float64)
        self._all, self._of_part = self._sums(inputs)
        self._penalty = float(np.trace(self._all.gram)) / self._all.n

    def solve(self, strength: float) -> tuple[FloatArray, FloatArray]:
        """Return the weight (F, D) and bias (D,) that map standardised inputs to the targets."""
        return _narrow(self._fit(self._all, strength))

    def solve_without(
        self, strength: float, fold: int | None, judged: npt.NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the same of the fit without a fold and some of the judged items, shape (J,)."""
        rest, also = self._all, judged
        if fold is not None:
            rest = rest.less(self._of_fold(fold))
            also = judged & ~np.isin(self._jury.rows, self._jury.folds[fold])
        targets, z = self._jury.targets, self._z[also]
        y = targets.points[targets.rows[self._jury.rows[also]]].astype(np.float64)
        left_out = _Sums(float(len(z)), z.sum(axis=0), y.sum(axis=0), z.T @ z, z.T @ y)
        return _narrow(self._fit(rest.less(left_out), strength))

    def basis(self, n_directions: int) -> FloatArray:
        """Return the leading right singular vectors of the standardised inputs, shape (F, R)."""
        width = len(self.mean)
        first = max(0, width - n_directions)
        _, vectors = scipy.linalg.eigh(self._all.gram, subset_by_index=(first, width - 1))
        return np.ascontiguousarray(vectors[:, ::-1], dtype=np.float32)

    def without_item(self, strength: float) -> FloatArray:
        """Return each judged item's prediction by the fit without that item alone, (J, D)."""
        return self._alone(self._all, np.arange(len(self._z)), strength)

    def trials(self, strength: float) -> list[Trial]:
        """Return for each fold with judged items what a head would do that had not seen it."""
        jury, found = self._jury, []
        for fold, rows in enumerate(jury.folds):
            is_unseen = np.isin(jury.rows, rows)
            if not is_unseen.any():
                continue
            unseen, others = np.flatnonzero(is_unseen), np.flatnonzero(~is_unseen)
            rest = self._all.less(self._of_fold(fold))
            weight, bias = self._fit(rest, strength)
            apart = (self._z[others] @ weight + bias).astype(np.float32)
            for part, left_out in enumerate(jury.parts):
                at = np.isin(jury.rows[others], left_out)
                if not at.any():
                    continue
                without = rest.less(self._of_part[part])
                if without.n < 1:
                    apart[at] = np.nan
                    continue
                other_weight, other_bias = self._fit(without, strength)
                apart[at] = self._z[others[at]] @ other_weight + other_bias
            of_unseen = (self._z[unseen] @ weight + bias).astype(np.float32)
            alone = self._alone(rest, others, strength)
            found.append(Trial(unseen, others, of_unseen, alone, apart))
        return found

    def _alone(self, sums: _Sums, at: IntArray, strength: float) -> FloatArray:
        """Return predictions for some judged items by the fit to sums less the item, (B, D)."""
        weight, bias = self._fit(sums, strength)
        factor = scipy.linalg.cho_factor(self._shrunk(self._centred(sums), strength))
        z = self._z[at] - sums.inputs / sums.n
        leverage = (z * scipy.linalg.cho_solve(factor, z.T).T).sum(axis=1) + 1 / sums.n
        targets = self._jury.targets
        own = targets.points[targets.rows[self._jury.rows[at]]]
        residuals = (own - self._z[at] @ weight - bias) / (1 - leverage)[:, None]
        predictions: FloatArray = (own - residuals).astype(np.float32)
        return predictions

    def _of_fold(self, fold: int) -> _Sums:
        """Return the sums over the rows of a fold: of the parts that it is made of."""
        rows = self._jury.folds[fold]
        own = [
            sums
            for part, sums in zip(self._jury.parts, self._of_part, strict=True)
            if np.isin(part[:1], rows).any()
        ]
        total = own[0]
        for sums in own[1:]:
            total = total.plus(sums)
        return total

    def _standard(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        n, first = len(inputs), np.asarray(inputs[0], dtype=np.float64)
        shifted, squares, differ = np.zeros_like(first), np.zeros_like(first), False
        for start, block in _blocks(inputs):
            if not np.isfinite(block).all():
                bad = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
                raise InvalidInputError(
                    f"features are NaN or infinite, first in row {bad}; leave these items out, or "
                    "look at what the encoder made of them"
                )
            moved = block - first  # from the first row on: far from 0 squares would cancel
            differ = differ or bool(moved.any())
            shifted += moved.sum(axis=0)
            squares += (moved**2).sum(axis=0)
            self._tell(start + len(block), 2 * n)
        if not differ:
            raise InvalidInputError(
                "all training features are equal; the encoder sees no difference between the items"
            )
        spread = np.sqrt(np.maximum(squares / n - (shifted / n) ** 2, 0)).astype(np.float32)
        mean = (first + shifted / n).astype(np.float32)
        return mean, standard_scale(mean, spread)

    def _sums(self, inputs: FloatArray) -> tuple[_Sums, list[_Sums]]:
        targets, n_parts = self._jury.targets, len(self._jury.parts)
        part_of = np.full(len(inputs), n_parts, dtype=np.int16)  # the last is in no part
        for part, rows in enumerate(self._jury.parts):
            part_of[rows] = part
        width, dim = inputs.shape[1], targets.points.shape[1]
        parts = [
            _Sums(
                0.0, np.zeros(width), np.zeros(dim), *map(np.zeros, ((width, width), (width, dim)))
            )
            for _ in range(n_parts + 1)
        ]
        for start, block in _blocks(inputs):
            z = ((block - self.mean) / self.scale).astype(np.float32)
            y = targets.points[targets.rows[start : start + len(block)]]
            places = part_of[start : start + len(block)]
            for part in np.unique(places):
                at = places == part
                parts[part] = _added(parts[part], z[at], y[at])
            self._tell(len(inputs) + start + len(block), 2 * len(inputs))
        total = parts[0]
        for more in parts[1:]:
            total = total.plus(more)
        return total, parts[:n_parts]

    def _fit(self, sums: _Sums, strength: float) -> tuple[Float64Array, Float64Array]:
        check_strength(strength)
        if sums.n < 1:
            raise InvalidInputError("a fold of all rows leaves none to fit; split them into more")
        mean, target = sums.inputs / sums.n, sums.targets / sums.n
        cross = sums.cross - sums.n * np.outer(mean, target)
        weight = scipy.linalg.solve(
            self._shrunk(self._centred(sums), strength), cross, assume_a="pos", check_finite=False
        )
        return weight, target - mean @ weight

    @staticmethod
    def _centred(sums: _Sums) -> Float64Array:
        mean = sums.inputs / sums.n
        centred: Float64Array = sums.gram - sums.n * np.outer(mean, mean)
        return centred

    def _shrunk(self, gram: Float64Array, strength: float) -> Float64Array:
        gram[np.diag_indices_from(gram)] += strength * self._penalty
        return gram


def _blocks(inputs: FloatArray) -> Iterator[tuple[int, Float64Array]]:
    for start in range(0, len(inputs), _ROWS):
        yield start, np.asarray(inputs[start : start + _ROWS], dtype=np.float64)


def _added(sums: _Sums, z: FloatArray, y: FloatArray) -> _Sums:
    sums.gram[...] += z.T @ z  # in place: the sums are the largest thing in memory
    sums.cross[...] += z.T @ y
    return _Sums(
        sums.n + len(z),
        sums.inputs + z.sum(axis=0),
        sums.targets + y.sum(axis=0),
        sums.gram,
        sums.cross,
    )


def _narrow(fit: tuple[Float64Array, Float64Array]) -> tuple[FloatArray, FloatArray]:
    return fit[0].astype(np.float32), fit[1].astype(np.float32)
