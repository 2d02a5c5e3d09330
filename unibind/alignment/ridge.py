"""Ridge regression in closed form, with exact predictions for rows that were left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from unibind.alignment.trials import Trial, open_trial
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray

__all__ = ["RidgeFits", "RidgePath", "check_strength", "standard_scale"]

_CONSTANT = 1e-6
"""An input that varies by less than this share of its mean is taken as constant: it is rounding."""

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RidgePath:
    """One decomposition of the inputs, from which the fit at every strength follows at once.

    With Z the standardised inputs, a strength s adds s times the mean diagonal of Z Z^T to it: the
    mean squared length of a row. So the same strength means the same for any number of inputs and
    in any units of theirs, and weighs less against more rows.

    Attributes:
        mean: Mean of the inputs, shape (F,).
        scale: Standard deviation of the inputs, shape (F,); 1 for constant ones.
        rotated: Z in the basis of its right singular vectors, shape (N, R).
        basis: Right singular vectors of Z, shape (F, R).
        eigenvalues: Of Z^T Z, shape (R,), descending.
    """

    mean: FloatArray
    scale: FloatArray
    rotated: Float64Array
    basis: Float64Array
    eigenvalues: Float64Array

    @classmethod
    def of(cls, inputs: FloatArray) -> "RidgePath":
        """Decompose inputs, shape (N, F); the smaller of the two Gram matrices is used.

        Raises:
            InvalidInputError: There are fewer than two rows, or all rows are equal.
        """
        if len(inputs) < 2:
            raise InvalidInputError(f"{len(inputs)} training items; a head needs at least two")
        if (inputs == inputs[0]).all():
            raise InvalidInputError(
                "all training features are equal; the encoder sees no difference between the items"
            )
        # float32 sums of many rows would lose digits.
        mean = inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = inputs.std(axis=0, dtype=np.float64).astype(np.float32)
        scale = standard_scale(mean, spread)
        z = ((inputs - mean) / scale).astype(np.float64)
        n, width = z.shape
        small = z.T @ z if width <= n else z @ z.T
        eigenvalues, vectors = scipy.linalg.eigh(
            small,
            overwrite_a=True,
            check_finite=False,
            driver="evd",  # the fastest for all of them
        )
        kept = eigenvalues > eigenvalues[-1] * 1e-9
        eigenvalues, vectors = eigenvalues[kept][::-1], vectors[:, kept][:, ::-1]
        if width <= n:
            basis, rotated = vectors, z @ vectors
        else:
            rotated = vectors * np.sqrt(eigenvalues)
            basis = z.T @ vectors / np.sqrt(eigenvalues)
        return cls(mean, scale, rotated, basis, eigenvalues)

    def towards(self, targets: FloatArray) -> "RidgeFits":
        """Return the fits to targets, shape (N, D), for every strength."""
        bias = targets.mean(axis=0, dtype=np.float64)
        centred = targets - bias
        return RidgeFits(self, centred, bias, self.rotated.T @ centred)


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFits:
    """All fits of one set of inputs to one set of targets, by strength.

    Attributes:
        path: The decomposition of the inputs.
        centred: Targets less their mean, shape (N, D).
        bias: Mean of the targets, shape (D,); it is not shrunk.
        projected: Centred targets in the basis of the inputs, shape (R, D).
    """

    path: RidgePath
    centred: Float64Array
    bias: Float64Array
    projected: Float64Array

    def solve(self, strength: float) -> tuple[FloatArray, FloatArray]:
        """Return the weight (F, D) and bias (D,) that map standardised inputs to the targets."""
        weight = self.path.basis @ (self._shrinkage(strength)[:, None] * self.projected)
        return weight.astype(np.float32), self.bias.astype(np.float32)

    def left_out(self, strength: float, folds: Sequence[IntArray]) -> FloatArray:
        """Return for each row of a fold the prediction of the fit without that whole fold.

        Nothing is fitted again. With H the hat matrix and B the rows of a fold, the residuals
        without the fold are (I - H_BB)^-1 r_B; for a fold of one row this is the textbook
        r / (1 - h). The mean and scale of the inputs stay those of all rows.

        Args:
            strength: As in `solve`.
            folds: Row numbers of each fold.

        Returns:
            Shape (N, D); rows in no fold are NaN.

        Raises:
            InvalidInputError: A fold has all rows, which leaves nothing to fit.

        Source:
            Allen, The relationship between variable selection and data augmentation, 1974
            (PRESS); the block form follows from the Woodbury identity.
        """
        n = len(self.centred)
        shrinkage = self._shrinkage(strength)
        shrunk = shrinkage[:, None] * self.projected
        predictions = np.full(self.centred.shape, np.nan, dtype=np.float32)
        alone = np.array([rows[0] for rows in folds if len(rows) == 1], dtype=np.int64)
        if len(alone):  # all at once: a thousand tiny products cost a thousand calls
            block = self.path.rotated[alone]  # (B, R)
            leverage = block**2 @ shrinkage + 1.0 / n  # (B,)
            residuals = (self.centred[alone] - block @ shrunk) / (1 - leverage)[:, None]
            predictions[alone] = self.centred[alone] - residuals + self.bias
        for rows in folds:
            if len(rows) >= n:
                raise InvalidInputError(
                    f"a fold of all {n} rows leaves none to fit; split them into two or more"
                )
            if len(rows) == 1:
                continue
            block = self.path.rotated[rows]  # (B, R)
            hat = (block * shrinkage) @ block.T + 1.0 / n  # 1/n: the bias is fitted too
            residuals = scipy.linalg.solve(
                np.eye(len(rows)) - hat,
                self.centred[rows] - block @ shrunk,
                assume_a="sym",
                check_finite=False,
            )
            predictions[rows] = self.centred[rows] - residuals + self.bias
        return predictions

    def trials(
        self,
        strength: float,
        folds: Sequence[IntArray],
        parts: Sequence[IntArray],
        judged: IntArray,
    ) -> list[Trial]:
        """Return for each fold what a head would do that had not seen it.

        Args:
            strength: As in `solve`.
            folds: Row numbers of each fold; one without judged rows has no trial.
            parts: Rows that are left out together beside a fold.
            judged: Rows whose predictions are wanted, ascending.
        """
        hat = (self.path.rotated * self._shrinkage(strength)) @ self.path.rotated.T
        hat += 1.0 / len(self.centred)  # the bias is fitted too
        residuals = self.centred - hat @ self.centred
        remainder = np.eye(len(hat)) - hat
        targets = self.centred + self.bias
        found = []
        for fold in folds:
            unseen = np.flatnonzero(np.isin(judged, fold))
            if not len(unseen):
                continue
            own, rest, alone, apart = open_trial(residuals, remainder, targets, fold, parts)
            others = np.setdiff1d(np.arange(len(judged)), unseen)
            at = np.searchsorted(rest, judged[others])
            of_unseen = own[np.searchsorted(fold, judged[unseen])]
            found.append(Trial(unseen, others, of_unseen, alone[at], apart[at]))
        return found

    def solve_without(self, strength: float, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the weight and bias of the fit without some rows, exactly.

        Rows whose targets are what a fit without them predicts do not change that fit: it is the
        fit to those predictions.
        """
        filled = (self.centred + self.bias).astype(np.float32)
        filled[rows] = self.left_out(strength, [rows])[rows]
        return self.path.towards(filled).solve(strength)

    def _shrinkage(self, strength: float) -> Float64Array:
        check_strength(strength)
        eigenvalues = self.path.eigenvalues
        penalty = strength * eigenvalues.sum() / len(self.centred)
        shrinkage: Float64Array = 1.0 / (eigenvalues + penalty)
        return shrinkage


def standard_scale(mean: FloatArray, spread: FloatArray) -> FloatArray:
    """Return what inputs are divided by, shape (F,): their spread, 1 where they are constant."""
    scale: FloatArray = np.where(spread > _CONSTANT * np.abs(mean), spread, np.float32(1))
    return scale


def check_strength(strength: float) -> None:
    """Check that a ridge strength is above 0.

    Raises:
        InvalidInputError: It is not.
    """
    if not strength > 0:
        raise InvalidInputError(f"ridge strength {strength}; it must be above 0")
