"""The conformance check of an instrument."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unibind.errors import InvalidInputError
from unibind.protocols import Instrument
from unibind.types import Modality

__all__ = ["check_instrument"]


def check_instrument(instrument: Instrument, items: Sequence[Any]) -> None:
    """Check that an instrument keeps the promises that classification relies on.

    Args:
        instrument: The instrument.
        items: At least two items of its modality that differ; each attribute must apply to one of
            them.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    assert len(items) >= 2, f"check_instrument needs two items or more, got {len(items)}"
    assert isinstance(instrument, Instrument), (
        "an instrument has modality, sensor, attributes and measure; this has not all of them"
    )
    assert isinstance(instrument.modality, Modality), (
        "instrument.modality must be a unibind.types.Modality"
    )
    assert isinstance(instrument.sensor, str) and instrument.sensor, (
        "instrument.sensor must be a non-empty str, as in attribute ranges"
    )
    names = list(instrument.attributes)
    assert names and all(isinstance(name, str) and name for name in names), (
        "instrument.attributes must be names, at least one"
    )
    assert len(set(names)) == len(names), f"an attribute has its name twice: {names}"
    measured = instrument.measure(items)
    assert isinstance(measured, np.ndarray), (
        f"measure returned {type(measured).__name__}, a numpy array was needed"
    )
    assert measured.shape == (len(items), len(names)), (
        f"measure returned shape {measured.shape} for {len(items)} items, {len(names)} attributes"
    )
    assert measured.dtype == np.float32, f"measure returned {measured.dtype}, float32 was needed"
    assert not np.isinf(measured).any(), "measure returned inf; NaN means that one does not apply"
    unmeasured = [name for name, column in zip(names, measured.T, strict=True) if not _any(column)]
    assert not unmeasured, f"no item has a value of {unmeasured[0]!r}; give one to which it applies"
    assert instrument.measure([]).shape == (0, len(names)), "measure([]) must have shape (0, A)"
    kept = measured.copy()
    np.testing.assert_array_equal(
        instrument.measure(items), kept, err_msg="a second measurement of the same items differs"
    )
    for item, row in zip(items, kept, strict=True):
        np.testing.assert_allclose(
            instrument.measure([item])[0], row, rtol=1e-4, err_msg="an item alone and among others"
        )
    _check_refusal(instrument)


def _any(column: Any) -> bool:
    return bool(np.isfinite(column).any())


def _check_refusal(instrument: Instrument) -> None:
    try:
        instrument.measure([object()])
    except InvalidInputError:
        return
    raise AssertionError("measure took an object() for an item; it must raise InvalidInputError")
