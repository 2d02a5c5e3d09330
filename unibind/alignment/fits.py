"""All ridge fits that a choice needs: of everything, without a class, without an item."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from unibind.alignment.heldout import Jury
from unibind.alignment.ridge import RidgePath
from unibind.alignment.streamed import StreamedRidge
from unibind.alignment.trials import Trial
from unibind.types import FloatArray, ProgressCallback

__all__ = ["MAX_ROWS_HELD", "Fits", "HeldFits", "open_fits"]

MAX_ROWS_HELD = 5_000
"""With more rows only sums over them are kept; the results are the same but for rounding."""


class Fits(Protocol):
    """Ridge fits of one jury's targets."""

    @property
    def mean(self) -> FloatArray:
        """Mean of the inputs, shape (F,)."""
        ...

    @property
    def scale(self) -> FloatArray:
        """Standard deviation of the inputs, shape (F,); 1 for constant ones."""
        ...

    def solve(self, strength: float) -> tuple[FloatArray, FloatArray]:
        """Return the weight (F, D) and bias (D,) that map standardised inputs to the targets."""
        ...

    def solve_without(
        self, strength: float, fold: int | None, judged: npt.NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the same of the fit without a fold and some of the judged items, shape (J,)."""
        ...

    def without_item(self, strength: float) -> FloatArray:
        """Return each judged item's prediction by the fit without that item alone, (J, D)."""
        ...

    def trials(self, strength: float) -> list[Trial]:
        """Return for each fold with judged items what a head would do that had not seen it."""
        ...

    def basis(self, n_directions: int) -> FloatArray:
        """Return the leading right singular vectors of the standardised inputs, shape (F, R)."""
        ...


class HeldFits:
    """`Fits` of inputs that fit into memory.

    Args:
        path: The decomposition of the inputs.
        jury: Whose folds are left out, and whose targets are fitted.
    """

    def __init__(self, path: RidgePath, jury: Jury) -> None:
        self._path, self._jury = path, jury
        self._fits = path.towards(jury.targets.of_items())

    @property
    def mean(self) -> FloatArray:
        """Mean of the inputs, shape (F,)."""
        return self._path.mean

    @property
    def scale(self) -> FloatArray:
        """Standard deviation of the inputs, shape (F,); 1 for constant ones."""
        return self._path.scale

    def solve(self, strength: float) -> tuple[FloatArray, FloatArray]:
        """Return the weight (F, D) and bias (D,) that map standardised inputs to the targets."""
        return self._fits.solve(strength)

    def solve_without(
        self, strength: float, fold: int | None, judged: npt.NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the same of the fit without a fold and some of the judged items, shape (J,)."""
        rows = self._jury.rows[judged]
        if fold is not None:
            rows = np.union1d(self._jury.folds[fold], rows)
        return self._fits.solve_without(strength, rows)

    def without_item(self, strength: float) -> FloatArray:
        """Return each judged item's prediction by the fit without that item alone, (J, D)."""
        alone = [np.array([row]) for row in self._jury.rows]
        return self._fits.left_out(strength, alone)[self._jury.rows]

    def trials(self, strength: float) -> list[Trial]:
        """Return for each fold with judged items what a head would do that had not seen it."""
        return self._fits.trials(strength, self._jury.folds, self._jury.parts, self._jury.rows)

    def basis(self, n_directions: int) -> FloatArray:
        """Return the leading right singular vectors of the standardised inputs, shape (F, R)."""
        return np.ascontiguousarray(self._path.basis[:, :n_directions], dtype=np.float32)


def open_fits(
    inputs: FloatArray,
    jury: Jury,
    *,
    path: RidgePath | None = None,
    progress: ProgressCallback | None = None,
) -> Fits:
    """Return the fits of inputs, shape (N, F): held in memory, or streamed if they are many.

    Args:
        inputs: Finite rows; more than `MAX_ROWS_HELD` may be mapped from disk.
        jury: Whose folds are left out, and whose targets are fitted.
        path: `RidgePath.of(inputs)`, if it is at hand; many rows are streamed all the same.
        progress: Called as rows are streamed.

    Raises:
        InvalidInputError: Too few rows, or all are equal.
    """
    if len(inputs) > MAX_ROWS_HELD:
        return StreamedRidge(inputs, jury, progress=progress)
    return HeldFits(path or RidgePath.of(inputs), jury)
