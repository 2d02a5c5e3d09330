"""What a file of a shape holds, as it was read: its points or its surface, its axis, its unit."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError

__all__ = [
    "MAX_POINTS",
    "MAX_TRIANGLES",
    "Shape",
    "check_count",
    "check_length",
    "fan",
    "numbers",
    "some_rows",
    "to_colours",
]

MAX_POINTS = 10_000_000
"""Points of a cloud, or vertices of a mesh, that are read at most."""

MAX_TRIANGLES = 2_000_000
"""Triangles of a mesh that are read at most, its polygons cut into them."""

_MOST_COLUMNS = 64
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The content of one file, before it is turned upright, sampled and checked.

    Attributes:
        vertices: Coordinates in the file's units, floating-point, shape (V, 3).
        colours: sRGB of each vertex, uint8, shape (V, 3), if the file says.
        triangles: Rows of vertices, int64, shape (M, 3), if the file is a mesh.
        up: The axis that points up in files of this format, "y" or "z".
        metres_per_unit: If the format fixes it, or the file says it.
    """

    vertices: npt.NDArray[np.floating[Any]]
    colours: npt.NDArray[np.uint8] | None = None
    triangles: npt.NDArray[np.int64] | None = None
    up: str = "z"
    metres_per_unit: float | None = None


def check_count(n: int, what: str, limit: int = MAX_POINTS) -> None:
    """Refuse a number that a header announces, before anything is allocated for it.

    Raises:
        InvalidInputError: It is negative or above the limit.
    """
    if n < 0:
        raise InvalidInputError(f"the header announces {n:,} {what}; the file is damaged")
    if n > limit:
        raise InvalidInputError(
            f"the file announces {n:,} {what}, at most {limit:,} are read; thin it out first"
        )


def check_length(found: int, needed: int, what: str) -> None:
    """Refuse a file that is shorter than its header says.

    Args:
        found: Bytes that are there.
        needed: Bytes that the header announces.
        what: What they hold.

    Raises:
        InvalidInputError: There are too few.
    """
    if found < needed:
        raise InvalidInputError(
            f"the file is truncated: {found:,} bytes are there for {what}, its header needs "
            f"{needed:,}; save or copy it again"
        )


def some_rows(n: int, n_wanted: int) -> npt.NDArray[np.int64]:
    """Return which of n rows are kept, ascending: all, or n_wanted by chance with a fixed seed."""
    if n <= n_wanted:
        return np.arange(n)
    return np.sort(np.random.default_rng(_SEED).choice(n, n_wanted, replace=False))


def numbers(lines: Iterable[str | bytes], what: str) -> npt.NDArray[np.float64]:
    """Return the numbers of lines that all have as many, shape (lines, columns).

    Raises:
        InvalidInputError: A line has a word in it, or fewer or more numbers than the first.
    """
    rows = [line if isinstance(line, str) else line.decode("latin-1") for line in lines]
    if not any(row.strip() for row in rows):
        raise InvalidInputError(f"the file has no {what}")
    n_columns = len(rows[0].split())
    if n_columns > _MOST_COLUMNS:
        raise InvalidInputError(
            f"the {what} have {n_columns:,} numbers in a line; at most {_MOST_COLUMNS} are read"
        )
    try:
        return np.loadtxt(rows, dtype=np.float64, comments=None, ndmin=2)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"the {what} are not a table of numbers: {error}; each line needs the same columns, "
            "numbers only, with a decimal point"
        ) from None


def fan(corners: npt.NDArray[np.int64], n_corners: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return polygons cut into triangles around their first corner, shape (M, 3).

    Args:
        corners: Rows of vertices of all polygons, one after the other, shape (sum of n_corners,).
        n_corners: How many each polygon has, shape (P,); one with fewer than 3 has no triangle.

    Raises:
        InvalidInputError: There are more than `MAX_TRIANGLES`.
    """
    n_each = np.maximum(n_corners - 2, 0)
    n_triangles = int(n_each.sum())
    check_count(n_triangles, "triangles", MAX_TRIANGLES)
    first = np.cumsum(n_corners) - n_corners
    start = np.repeat(first, n_each)
    place = np.arange(n_triangles) - np.repeat(np.cumsum(n_each) - n_each, n_each)
    return np.stack(
        [corners[start], corners[start + place + 1], corners[start + place + 2]], axis=1
    )


def to_colours(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return colours as uint8, shape (V, 3), of 8 bits, of 16 bits or of [0, 1]."""
    if samples.dtype == np.uint8:
        return np.ascontiguousarray(samples)
    highest = float(samples.max(initial=0.0))
    if np.issubdtype(samples.dtype, np.floating) and highest <= 1.0:
        scale = 255.0
    else:
        scale = 1.0 if highest <= 255 else 1.0 / 257.0
    scaled = np.nan_to_num(samples.astype(np.float64) * scale)
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)
