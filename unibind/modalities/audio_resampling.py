"""Another number of samples per second, through soxr."""

import numpy as np

from unibind.errors import InvalidInputError
from unibind.types import FloatArray

__all__ = ["Resampler", "resample"]


class Resampler:
    """Changes the rate of a sound that comes block by block.

    Args:
        rate_hz: What comes.
        wanted_hz: What goes.

    Raises:
        InvalidInputError: soxr is not installed.
    """

    def __init__(self, rate_hz: int, wanted_hz: int) -> None:
        try:
            import soxr
        except ImportError:
            raise InvalidInputError(
                f"a sound of {rate_hz} Hz is needed at {wanted_hz} Hz, and soxr, which resamples, "
                "is not installed; run pip install 'unibind[audio]'"
            ) from None
        self._stream = soxr.ResampleStream(rate_hz, wanted_hz, 1, dtype="float32")

    def __call__(self, block: FloatArray, *, is_last: bool = False) -> FloatArray:
        """Return what the next block, shape (B,), adds: shape (B',), now and then none."""
        added: FloatArray = self._stream.resample_chunk(block, last=is_last)
        return added


def resample(samples: FloatArray, rate_hz: int, wanted_hz: int) -> FloatArray:
    """Return samples, shape (S,), at another rate, shape (S * wanted_hz / rate_hz,).

    Raises:
        InvalidInputError: soxr is not installed.
    """
    if rate_hz == wanted_hz:
        return samples
    return np.ascontiguousarray(Resampler(rate_hz, wanted_hz)(samples, is_last=True))
