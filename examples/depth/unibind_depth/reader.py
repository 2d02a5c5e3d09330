"""Depth maps: how far what each pixel sees is, in metres."""

import io
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any

import numpy as np
from PIL import Image

from unibind.errors import InvalidInputError
from unibind.types import Modality

__all__ = ["DEPTH", "READING", "DepthMap", "accept", "draw", "read"]

MAX_PIXELS = 50_000_000
MAX_METRES = 1000.0
READING = 1
"""Raise it when the same file comes to give other depths."""

_NPY = b"\x93NUMPY"
_MILLIMETRE = 0.001
_NEAR, _FAR = 30.0, 220.0  # grey levels; white is where nothing was measured

# What Pillow and numpy raise on broken files.
_BROKEN = (OSError, ValueError, TypeError, LookupError, SyntaxError, EOFError, MemoryError)


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """One depth map.

    Attributes:
        metres: float32, shape (H, W); NaN where nothing was measured, at least one pixel was.
    """

    metres: np.ndarray


def read(content: bytes, *, metres_per_unit: float | None = None) -> DepthMap:
    """Return the depths of a 16-bit grey PNG, or of a ``.npy`` array (H, W).

    A zero, a NaN or an infinite value says that nothing was measured there.

    Args:
        content: The whole file.
        metres_per_unit: Length of the file's unit; else 0.001 for whole numbers, as depth cameras
            write them, and 1 for floating-point ones.

    Raises:
        InvalidInputError: It is neither, or holds no depth.
    """
    if not content:
        raise InvalidInputError("the depth map is empty (0 bytes); save or copy it again")
    values = _read_npy(content) if content.startswith(_NPY) else _read_png(content)
    return accept(values, metres_per_unit=metres_per_unit)


def accept(value: Any, *, metres_per_unit: float | None = None) -> DepthMap:
    """Return depths that are already decoded: an array (H, W), or a `DepthMap`.

    Raises:
        InvalidInputError: It is neither, or holds no depth, or one that no camera measures.
    """
    if isinstance(value, DepthMap):
        return value
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "fiu":
        shape = getattr(value, "shape", "")
        raise InvalidInputError(
            f"a depth map was needed as an array of numbers (H, W), got {type(value).__name__} "
            f"{shape}; a colour picture is no depth map"
        )
    if not 1 <= value.size <= MAX_PIXELS:
        raise InvalidInputError(
            f"the depth map has {value.size:,} pixels; needed: 1 to {MAX_PIXELS:,}"
        )
    unit = _unit(value.dtype, metres_per_unit)
    with np.errstate(all="ignore"):  # what float32 cannot hold becomes infinite
        metres = value.astype(np.float32) * np.float32(unit)
    metres[~np.isfinite(metres) | (metres == 0)] = np.nan
    if np.isnan(metres).all():
        raise InvalidInputError("nothing was measured at any pixel of the depth map")
    low, high = float(np.nanmin(metres)), float(np.nanmax(metres))
    if low < 0 or high > MAX_METRES:
        raise InvalidInputError(
            f"the depths go from {low:.3g} to {high:.3g} m; needed: 0 to {MAX_METRES:g}. Say the "
            "unit: metres_per_unit=0.001 for millimetres"
        )
    return DepthMap(metres)


def draw(item: DepthMap) -> np.ndarray:
    """Return a picture of a depth map, uint8, shape (H, W, 3): near is dark, no depth is white."""
    metres = accept(item).metres
    is_measured = ~np.isnan(metres)
    # Strays far away would leave no greys for the thing itself.
    near, far = np.quantile(metres[is_measured], [0.01, 0.99])
    share = np.clip((metres - near) / max(float(far - near), 1e-6), 0, 1)
    grey = np.full(metres.shape, 255, dtype=np.uint8)
    grey[is_measured] = np.round(_NEAR + (_FAR - _NEAR) * share[is_measured])
    return np.repeat(grey[:, :, None], 3, axis=2)


def _read_npy(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    try:
        # Mapped from memory, so that a forged shape is refused and not allocated.
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version} of the format")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype.hasobject or len(shape) != 2:
            raise ValueError(f"an array {shape} of {dtype}")
        values = np.frombuffer(content, dtype, count=shape[0] * shape[1], offset=stream.tell())
        return values.reshape(shape, order="F" if is_fortran else "C")
    # numpy reads the header as a Python literal.
    except (*_BROKEN, RecursionError, TokenError) as error:
        raise InvalidInputError(
            f"the .npy file is truncated, damaged or no depth map ({error}); save it again"
        ) from error


def _read_png(content: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels")
            if not picture.mode.startswith("I"):
                raise ValueError(f"pixels are {picture.mode}, 16-bit grey was needed")
            return np.asarray(picture).astype(np.int32)
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise InvalidInputError(
            f"no depth map ({error}); needed: a 16-bit grey PNG, or a .npy array (H, W)"
        ) from error


def _unit(dtype: np.dtype, metres_per_unit: float | None) -> float:
    if metres_per_unit is None:
        return 1.0 if dtype.kind == "f" else _MILLIMETRE
    is_number = isinstance(metres_per_unit, int | float) and not isinstance(metres_per_unit, bool)
    if not (is_number and 0 < metres_per_unit <= MAX_METRES):
        raise InvalidInputError(
            f"the option metres_per_unit is {metres_per_unit!r}; needed: a number above 0"
        )
    return float(metres_per_unit)


DEPTH = Modality(
    name="depth",
    units="DepthMap: float32 metres (H, W), NaN where nothing was measured",
    read=read,
    accept=accept,
    suffixes=(".depth.png", ".npy"),
    options={"metres_per_unit": "length of the file's unit; else 0.001 for whole numbers, or 1"},
    limits={"pixels": MAX_PIXELS, "metres": MAX_METRES},
    draw=draw,
)
