"""Point clouds: scans, surveys and the surfaces of meshes, upright, with their real size if known.

A file is known by its content, not by its name. Meshes become points on their surface.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.pointcloud_drawing import depth_map, looking
from unibind.modalities.pointcloud_las import read_las
from unibind.modalities.pointcloud_mesh import (
    is_binary_stl,
    read_glb,
    read_obj,
    read_off,
    read_stl,
    sample,
)
from unibind.modalities.pointcloud_pcd import read_pcd
from unibind.modalities.pointcloud_ply import read_ply
from unibind.modalities.pointcloud_shape import MAX_POINTS, MAX_TRIANGLES, Shape, some_rows
from unibind.modalities.pointcloud_tables import read_npy, read_text, table_to_shape
from unibind.types import FloatArray, Modality

__all__ = ["MAX_KEPT", "N_POINTS", "POINTCLOUD", "READING", "PointCloud", "accept", "draw", "read"]

N_POINTS = 8192
"""Points that an item has at most, unless `n_points` says otherwise."""

MAX_KEPT = 1_000_000
"""The largest `n_points`."""

READING = 1
"""Version of how clouds are read; part of every encoder's fingerprint. Raise it when the same
bytes come to give other points."""

_SMALLEST, _LARGEST = 1e-30, 1e30
_PICTURE_SIDE = 480


@dataclass(frozen=True, slots=True, eq=False)
class PointCloud:
    """The points of one thing, upright.

    Attributes:
        points: float32, finite, shape (N, 3), N >= 2, not all equal. The axis z points up; the
            middle of the bounding box is the origin.
        colours: sRGB of each point, uint8, shape (N, 3), if the source has any.
        metres_per_unit: The length of one unit of `points`; None where nobody said it.
    """

    points: FloatArray
    colours: npt.NDArray[np.uint8] | None = None
    metres_per_unit: float | None = None


def read(
    content: bytes,
    *,
    up: str | None = None,
    metres_per_unit: float | None = None,
    n_points: int = N_POINTS,
) -> PointCloud:
    """Return the points of a file.

    Of a cloud with more than n_points, as many are kept by chance with a fixed seed; on the
    surface of a mesh, n_points are placed evenly, with a fixed seed. Nothing that the file names
    (materials, textures, other files) is opened.

    Args:
        content: A whole file: PLY, PCD, LAS, LAZ, text (x y z a line), NPY, OBJ, OFF, STL or GLB.
        up: The axis that points up, "y" or "z"; else y for OBJ and GLB, z for the others.
        metres_per_unit: The length of the file's unit; else 1 for LAS, LAZ (what its keys say)
            and GLB, unknown for the others.
        n_points: From 2 to `MAX_KEPT`.

    Raises:
        InvalidInputError: The file is empty, damaged, truncated, too large, no point cloud; an
            option is wrong; or the library that reads the format is not installed.
    """
    _check_options(up, metres_per_unit, n_points)
    if not content:
        raise InvalidInputError("the point cloud file is empty (0 bytes); save or copy it again")
    try:
        # Damaged numbers overflow; what is not finite is refused in the end.
        with np.errstate(all="ignore"):
            shape = _reader(content, n_points)(content)
            return _to_item(shape, up, metres_per_unit, n_points)
    except MemoryError:
        raise InvalidInputError(
            "the point cloud does not fit into memory while it is read; thin it out first"
        ) from None


def accept(
    value: Any,
    *,
    up: str | None = None,
    metres_per_unit: float | None = None,
    n_points: int = N_POINTS,
) -> PointCloud:
    """Return points that are already decoded as an item.

    Args:
        value: A `PointCloud`, which is taken as it is, or real numbers of shape (N, 3), z up;
            further columns as in a text file.
        up: The axis that points up, "y" or "z"; else z.
        metres_per_unit: The length of a unit; else unknown.
        n_points: From 2 to `MAX_KEPT`.

    Raises:
        InvalidInputError: The value has another type, shape or content, or an option is wrong.
    """
    _check_options(up, metres_per_unit, n_points)
    if isinstance(value, PointCloud):
        _check_item(value)
        if up is not None or metres_per_unit is not None:
            raise InvalidInputError(
                "a PointCloud already has its upright axis and its unit; leave out the options"
            )
        return value
    if not isinstance(value, np.ndarray):
        raise InvalidInputError(
            f"a point cloud was needed as an array (N, 3) or a PointCloud, got "
            f"{type(value).__name__}; pass the path of a file as pathlib.Path, its content as bytes"
        )
    return _to_item(table_to_shape(value), up, metres_per_unit, n_points)


def draw(item: PointCloud) -> npt.NDArray[np.uint8]:
    """Return a picture of a cloud from the front right, uint8, shape (480, 480, 3).

    In its colours if it has some; else from blue at the bottom to yellow at the top. What is
    farther away is paler.
    """
    cloud = accept(item)
    reach = np.linalg.norm(cloud.points, axis=1).max()
    splat = 3 if len(cloud.points) > 20_000 else 5 if len(cloud.points) > 2_000 else 7
    depth, nearest = depth_map(
        cloud.points / reach, looking(35, 20), side=_PICTURE_SIDE, splat=splat
    )
    shown = nearest >= 0
    ink = (_by_height(cloud.points) if cloud.colours is None else cloud.colours)[nearest[shown]]
    paleness = 0.55 * (1 - depth[shown, None]) / 2
    picture = np.full((_PICTURE_SIDE, _PICTURE_SIDE, 3), 255, dtype=np.uint8)
    picture[shown] = np.round(ink * (1 - paleness) + 255 * paleness).astype(np.uint8)
    return picture


def _by_height(points: FloatArray) -> npt.NDArray[np.uint8]:
    low, high = points[:, 2].min(), points[:, 2].max()
    share = (points[:, 2:] - low) / max(high - low, np.finfo(np.float32).tiny)
    stops = np.array([[40, 60, 150], [30, 140, 130], [235, 190, 30]])
    channels = [np.interp(share[:, 0], [0, 0.5, 1], stops[:, i]) for i in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


_BY_START: tuple[tuple[re.Pattern[bytes], Callable[[bytes], Shape]], ...] = (
    (re.compile(rb"\x93NUMPY"), read_npy),
    (re.compile(rb"ply\s*[\r\n]"), read_ply),
    (re.compile(rb"glTF"), read_glb),
    (re.compile(rb"(#[^\n]*\n\s*)*#? ?(\.PCD|VERSION\s+\.?\d|FIELDS\s)"), read_pcd),
    (re.compile(rb"\s*(#[^\n]*\n\s*)*[A-Z4n]{0,6}OFF\b|\s*OFF\d"), read_off),
    (re.compile(rb"\s*solid\b"), read_stl),
)
_OBJ_LINE = re.compile(rb"^\s*(v|f)\s+[-+.\d]", re.MULTILINE)


def _reader(content: bytes, n_points: int) -> Callable[[bytes], Shape]:
    """Return what reads a file by its first bytes."""
    if content.startswith(b"LASF"):
        return lambda whole: read_las(whole, n_points)
    if is_binary_stl(content):
        return read_stl
    for start, reader in _BY_START:
        if start.match(content[:4096]):
            return reader
    head = content[:65536]
    return read_obj if b"\0" not in head and _OBJ_LINE.search(head) else read_text


def _to_item(
    shape: Shape, up: str | None, metres_per_unit: float | None, n_points: int
) -> PointCloud:
    vertices, colours = shape.vertices, shape.colours
    if not np.isfinite(vertices).all():
        n_bad = int((~np.isfinite(vertices).all(axis=1)).sum())
        raise InvalidInputError(
            f"{n_bad:,} of {len(vertices):,} points have NaN or infinite coordinates; "
            "remove them first"
        )
    if shape.triangles is not None:
        _check_extent(vertices)
        whole = vertices.astype(np.float64)
        points, colours = sample(whole, shape.triangles, colours, n_points)
    else:
        rows = some_rows(len(vertices), n_points)
        points = vertices[rows].astype(np.float64)
        colours = None if colours is None else colours[rows]
    _check_extent(points)
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    if (up or shape.up) == "y":
        points = points[:, [0, 2, 1]] * [1, -1, 1]
    unit = shape.metres_per_unit if metres_per_unit is None else float(metres_per_unit)
    return PointCloud(points.astype(np.float32), colours, unit)


def _check_extent(points: npt.NDArray[np.floating[Any]]) -> None:
    if len(points) < 2:
        raise InvalidInputError(
            f"the cloud has {len(points)} point{'' if len(points) == 1 else 's'}; a shape needs "
            "at least 2"
        )
    with np.errstate(over="ignore"):
        extent = float((points.max(axis=0) - points.min(axis=0)).max())
    if extent == 0:
        raise InvalidInputError(
            f"all {len(points):,} points of the cloud are the same; a shape needs an extent"
        )
    if not _SMALLEST < extent < _LARGEST:
        raise InvalidInputError(
            f"the cloud is {extent:.3g} units long; needed: {_SMALLEST:g} to {_LARGEST:g}"
        )


def _check_item(cloud: PointCloud) -> None:
    points, colours = cloud.points, cloud.colours
    if not (
        isinstance(points, np.ndarray)
        and points.dtype == np.float32
        and points.ndim == 2
        and points.shape[1] == 3
        and np.isfinite(points).all()
    ):
        raise InvalidInputError("the points of a PointCloud must be finite float32, shape (N, 3)")
    _check_extent(points)
    if colours is not None and not (
        isinstance(colours, np.ndarray)
        and colours.dtype == np.uint8
        and colours.shape == points.shape
    ):
        raise InvalidInputError("the colours of a PointCloud must be uint8, one row for each point")
    _check_options(None, cloud.metres_per_unit, N_POINTS)


def _check_options(up: Any, metres_per_unit: Any, n_points: Any) -> None:
    if up not in (None, "y", "z"):
        raise InvalidInputError(f'the option up is {up!r}; needed: "y" or "z"')
    if metres_per_unit is not None and not (
        isinstance(metres_per_unit, int | float)
        and not isinstance(metres_per_unit, bool)
        and _SMALLEST < metres_per_unit < _LARGEST
    ):
        raise InvalidInputError(
            f"the option metres_per_unit is {metres_per_unit!r}; needed: a number above 0, 0.01 "
            "for a file in centimetres"
        )
    is_whole = isinstance(n_points, int) and not isinstance(n_points, bool)
    if not (is_whole and 2 <= n_points <= MAX_KEPT):
        raise InvalidInputError(
            f"the option n_points is {n_points!r}; needed: a whole number from 2 to {MAX_KEPT:,}"
        )


POINTCLOUD = Modality(
    name="pointcloud",
    units=f"PointCloud: float32 points (N, 3), z up, at most {N_POINTS:,}; metres per unit",
    read=read,
    accept=accept,
    suffixes=(
        ".ply",
        ".pcd",
        ".las",
        ".laz",
        ".xyz",
        ".pts",
        ".asc",
        ".npy",
        ".obj",
        ".off",
        ".stl",
        ".glb",
    ),
    options={
        "up": 'the axis that points up, "y" or "z"; else y for OBJ and GLB, z for the others',
        "metres_per_unit": "length of the file's unit: 0.01 for centimetres; LAS and GLB say it",
        "n_points": f"points kept, or placed on a mesh's surface; else {N_POINTS}",
    },
    limits={"points": MAX_POINTS, "triangles": MAX_TRIANGLES},
    draw=draw,
)
