"""Directions on the unit sphere, and the checks that every floor above relies on."""

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.types import FloatArray

__all__ = ["check_rows", "softmax", "unit"]

_TINY = 1e-12
_BLOCK = 2**16


def unit(rows: npt.NDArray[np.floating]) -> FloatArray:
    """Return rows, shape (..., D), scaled to length 1; a row of zeros stays zero."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: FloatArray = (rows / np.maximum(length, _TINY)).astype(np.float32, copy=False)
    return scaled


def softmax(logits: npt.NDArray[np.floating]) -> FloatArray:
    """Return the softmax over the last axis, shape (..., C), without overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    shares: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return shares.astype(np.float32, copy=False)


def check_rows(rows: npt.NDArray[np.floating], *, width: int, what: str) -> FloatArray:
    """Return rows as float32, shape (N, width), once they are known to be finite.

    Args:
        rows: What to check.
        width: How wide the rows must be.
        what: What they are, for the message: ``"features"``, ``"embeddings"``.

    Raises:
        InvalidInputError: They are not two-dimensional, of another width, NaN or infinite.
    """
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InvalidInputError(
            f"{what} have shape {rows.shape}, (N, {width}) was needed; "
            "were they made by another encoder or space?"
        )
    # In blocks: a table that is mapped from disk must not fill the memory with its mask.
    bad = np.concatenate(
        [
            start + np.flatnonzero(~np.isfinite(rows[start : start + _BLOCK]).all(axis=1))
            for start in range(0, max(1, len(rows)), _BLOCK)
        ]
    )
    if bad.size:
        raise InvalidInputError(
            f"{bad.size} of {len(rows)} {what} are NaN or infinite, first in row {bad[0]}; "
            "leave these items out, or look at what the encoder made of them"
        )
    return np.ascontiguousarray(rows, dtype=np.float32)
