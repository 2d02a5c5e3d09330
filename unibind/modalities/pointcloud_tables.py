"""Point clouds as rows of numbers: text (xyz, pts, txt, csv), numpy's npy, arrays."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities import numpy_files
from unibind.modalities.pointcloud_shape import (
    MAX_POINTS,
    Shape,
    check_count,
    numbers,
    to_colours,
)

__all__ = ["read_npy", "read_text", "table_to_shape"]

MAX_COLUMNS = 32
_REMEDY = "a cloud is one row for each point: x y z, or x y z r g b"
_COLOUR_NAMES = (("r", "g", "b"), ("red", "green", "blue"))


def read_npy(content: bytes) -> Shape:
    """Return the points of a ``.npy`` file with an array (N, 3) or with more columns.

    Raises:
        InvalidInputError: The header is damaged or announces what is not there, or it is no cloud.
    """
    limit = MAX_POINTS * MAX_COLUMNS * np.dtype(np.float64).itemsize
    return table_to_shape(numpy_files.read_npy(content, max_bytes=limit, check=_check_array))


def read_text(content: bytes) -> Shape:
    """Return the points of a text file: a line for each, x y z and perhaps more columns.

    Spaces, tabs, commas or semicolons stand between the numbers. Lines that start with ``#`` or
    ``//`` are remarks, but the last one before the numbers may name the columns, as a first line
    of words may. A first line with one whole number announces how many points there are (.pts).

    Raises:
        InvalidInputError: It is not text, or no such table.
    """
    if b"\0" in content:
        raise InvalidInputError(
            f"no point cloud ({len(content):,} bytes that start with {content[:12].hex(' ')}); "
            "needed: PLY, PCD, LAS, LAZ, NPY, OBJ, OFF, STL, GLB or text, and whole: a binary STL "
            "must be as long as it announces"
        )
    check_count(content.count(b"\n"), "lines")
    lines = [line for line in content.decode("latin-1").splitlines() if line.strip()]
    names: list[str] = []
    n_remarks = 0
    while n_remarks < len(lines) and lines[n_remarks].lstrip().startswith(("#", "//")):
        names = _names(lines[n_remarks])
        n_remarks += 1
    lines = [line for line in lines[n_remarks:] if not line.lstrip().startswith(("#", "//"))]
    if not lines:
        raise InvalidInputError("the file has no points in it")
    announced = lines[0].split()
    if len(announced) == 1 and re.fullmatch("[0-9]{1,11}", announced[0]):
        if int(announced[0]) != len(lines) - 1:
            raise InvalidInputError(
                f"the first line announces {int(announced[0]):,} points, {len(lines) - 1:,} "
                "lines follow; the file is truncated or no point cloud"
            )
        lines = lines[1:]
    elif _names(lines[0])[:3] == ["x", "y", "z"]:
        names = _names(lines[0])
        lines = lines[1:]
    if lines and ";" in lines[0] and "," in lines[0]:
        raise InvalidInputError("the numbers have decimal commas; write them with a point")
    return table_to_shape(numbers((_spaced(line) for line in lines), "points"), names)


def table_to_shape(table: npt.NDArray[Any], names: list[str] | None = None) -> Shape:
    """Return rows as points: columns 1 to 3 are x, y, z; colours, if it has them, are kept.

    Unnamed colours are columns 4 to 6 of 6, or 5 to 7 of 7 (.pts: an intensity stands before
    them), if they are whole numbers from 0 to 255 with one above 1; else they are taken for
    normals, and left out as all other columns are.

    Args:
        table: Real numbers, shape (N, 3) or with more columns.
        names: Of the columns, if they are known.

    Raises:
        InvalidInputError: The shape or the type is another.
    """
    _check_array(table.shape, table.dtype)
    points = table[:, :3]
    # Integers and float64 hold what float32 cannot: it is made small only once it is centred.
    if points.dtype != np.float32:
        points = points.astype(np.float64)
    samples = _colour_columns(table, names or [])
    return Shape(points, None if samples is None else to_colours(samples))


def _colour_columns(table: npt.NDArray[Any], names: list[str]) -> npt.NDArray[Any] | None:
    for wanted in _COLOUR_NAMES:
        if len(names) == table.shape[1] and set(wanted) <= set(names):
            return table[:, [names.index(name) for name in wanted]]
    if names or table.shape[1] not in (6, 7) or not len(table):
        return None
    samples = table[:, -3:]
    if not (np.isfinite(samples).all() and samples.min() >= 0 and 1 < samples.max() <= 255):
        return None
    return samples if (samples == np.round(samples)).all() else None


def _check_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.hasobject or dtype.kind not in "fiu":
        raise InvalidInputError(f"the array holds {dtype}, real numbers were needed; {_REMEDY}")
    if len(shape) != 2 or not 3 <= shape[1] <= MAX_COLUMNS:
        remedy = _REMEDY
        if len(shape) == 2 and shape[0] in (3, 6) and shape[1] > MAX_COLUMNS:
            remedy = "its points are columns: turn it with .T"
        elif len(shape) == 3 and shape[2] == 3:
            remedy = "organised as a picture: .reshape(-1, 3), without the pixels that saw nothing"
        raise InvalidInputError(f"the array has the shape {shape}, (N, 3) was needed; {remedy}")
    check_count(shape[0], "points", MAX_POINTS)


def _spaced(line: str) -> str:
    return line.replace(",", " ").replace(";", " ")


def _names(line: str) -> list[str]:
    return [word.strip('"').lower() for word in _spaced(line).lstrip("#/ \t").split()]
