"""Meshes: OBJ and OFF as text, STL and GLB through trimesh; and points on their surface.

A file is read alone: material libraries, textures, buffers and whatever else it names in other
files or on the net are never opened. OBJ and OFF are read here, because trimesh passes over
damaged lines of them in silence.
"""

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.pointcloud_gltf import alone
from unibind.modalities.pointcloud_shape import (
    MAX_POINTS,
    MAX_TRIANGLES,
    Shape,
    check_count,
    fan,
    numbers,
    to_colours,
)

__all__ = ["is_binary_stl", "read_glb", "read_obj", "read_off", "read_stl", "sample"]

_STL_HEADER = 84
_STL_ROW = 50
_SEED = 0
_MANY = 100

# What trimesh raises on broken files.
_BROKEN = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    AssertionError,
    EOFError,
    OSError,
)


def read_obj(content: bytes) -> Shape:
    """Return the surface of a Wavefront OBJ file, or its vertices if it has no faces; y is up.

    Raises:
        InvalidInputError: A line of a vertex or a face is damaged.
    """
    vertices: list[bytes] = []
    corners: list[int] = []
    n_corners: list[int] = []
    for line in io.BytesIO(content.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")):
        kind, _, rest = line.strip().partition(b" ")
        if kind == b"v":
            vertices.append(rest.partition(b"#")[0])
            check_count(len(vertices), "vertices")
        elif kind == b"f":
            face = _face(rest.partition(b"#")[0], len(vertices))
            corners += face
            n_corners.append(len(face))
            check_count(len(corners), "corners of faces", 4 * MAX_TRIANGLES)
    table = numbers(vertices, "vertices")
    if table.shape[1] not in (3, 4, 6, 7):
        raise InvalidInputError(
            f"the vertices of the OBJ file have {table.shape[1]} numbers; needed: x y z, perhaps "
            "with a weight, perhaps with red, green, blue"
        )
    colours = to_colours(table[:, -3:]) if table.shape[1] > 4 else None
    triangles = _triangles(corners, n_corners)
    return Shape(table[:, :3], colours, triangles, up="y")


def _face(words: bytes, n_before: int) -> list[int]:
    """Return the vertices of a face, counted from 0; negative ones count back from its line."""
    try:
        numbered = [int(word.split(b"/", 1)[0]) for word in words.split()]
    except ValueError:
        numbered = [0]
    if 0 in numbered:
        raise InvalidInputError(
            f"a face of the OBJ file is damaged: {words[:60].decode('latin-1').strip()!r}"
        )
    return [n - 1 if n > 0 else n_before + n for n in numbered]


def _triangles(corners: list[int], n_corners: list[int]) -> npt.NDArray[np.int64] | None:
    if not n_corners:
        return None
    try:
        flat = np.array(corners, dtype=np.int64)
    except OverflowError:
        raise InvalidInputError("a face names a vertex that is not there") from None
    return fan(flat, np.array(n_corners, dtype=np.int64))


def read_off(content: bytes) -> Shape:
    """Return the surface of an OFF file, with or without colours of its vertices; z is up.

    Raises:
        InvalidInputError: It announces what is not there, or a line is damaged.
    """
    lines = _off_lines(content)
    first = next(lines, "")
    kind, counts = first[: first.find("OFF") + 3], first[first.find("OFF") + 3 :]
    if kind.upper() not in ("OFF", "COFF"):
        raise InvalidInputError(f"an OFF file of kind {kind!r}; needed: OFF or COFF")
    counts = counts if counts.strip() else next(lines, "")
    try:
        n_vertices, n_faces = (int(word) for word in counts.split()[:2])
    except ValueError:
        raise InvalidInputError(
            f"the OFF file's numbers of vertices and faces are damaged: {counts[:60]!r}"
        ) from None
    check_count(n_vertices, "vertices")
    check_count(n_faces, "faces", MAX_TRIANGLES)
    rows = list(islice(lines, n_vertices))
    faces = list(islice(lines, n_faces))
    if n_vertices != len(rows) or n_faces != len(faces):
        raise InvalidInputError(
            f"the OFF file announces {n_vertices:,} vertices and {n_faces:,} faces; it is truncated"
        )
    table = numbers(rows, "vertices")
    if table.shape[1] < 3:
        raise InvalidInputError("the vertices of the OFF file have fewer than three numbers")
    is_coloured = kind.upper() == "COFF" and table.shape[1] >= 6
    colours = to_colours(table[:, 3:6]) if is_coloured else None
    polygons = [_off_face(row) for row in faces]
    corners = [corner for polygon in polygons for corner in polygon]
    return Shape(table[:, :3], colours, _triangles(corners, [len(each) for each in polygons]))


def _off_lines(content: bytes) -> Iterator[str]:
    for line in io.BytesIO(content):
        text = line.partition(b"#")[0].strip()
        if text:
            yield text.decode("latin-1")


def _off_face(row: str) -> list[int]:
    words = row.split()
    try:
        n_corners = int(words[0])
        face = [int(word) for word in words[1 : n_corners + 1]]
    except ValueError:
        n_corners, face = -1, []
    if len(face) != n_corners:
        raise InvalidInputError(f"a face of the OFF file is damaged: {row[:60]!r}")
    return face


def is_binary_stl(content: bytes) -> bool:
    """Return whether a file is exactly as long as a binary STL of the number it announces."""
    if len(content) < _STL_HEADER:
        return False
    n_triangles = int.from_bytes(content[80:84], "little")
    return len(content) == _STL_HEADER + _STL_ROW * n_triangles


def read_stl(content: bytes) -> Shape:
    """Return the surface of an STL file, binary or text; z is up.

    Raises:
        InvalidInputError: It is truncated or damaged,
            or trimesh is not installed.
    """
    if is_binary_stl(content):
        check_count(int.from_bytes(content[80:84], "little"), "triangles", MAX_TRIANGLES)
    else:
        _check_text_stl(content)
    loaded = _load(content, "stl")
    return _to_shape(loaded, "z", None)


def _check_text_stl(content: bytes) -> None:
    facets = len(re.findall(rb"\bendfacet\b", content))
    check_count(facets, "triangles", MAX_TRIANGLES)
    if content.find(b"endsolid") < 0 or len(re.findall(rb"\bvertex\b", content)) != 3 * facets:
        raise InvalidInputError("the STL file is truncated or damaged; save or copy it again")
    lines = [line for line in content.splitlines() if line.lstrip().startswith(b"vertex")]
    if lines and numbers((line.split(b"vertex", 1)[1] for line in lines), "corners").shape[1] != 3:
        raise InvalidInputError("the corners of the STL file do not have three numbers each")


def read_glb(content: bytes) -> Shape:
    """Return the surface of a binary glTF file, its scene put together; y is up, in metres.

    Raises:
        InvalidInputError: It is damaged, too large, compressed, or lies in several files,
            or trimesh is not installed.
    """
    return _to_shape(_load(alone(content), "glb"), "y", 1.0)


def _load(content: bytes, kind: str) -> Any:
    try:
        import trimesh
    except ImportError as error:
        raise InvalidInputError("meshes need trimesh: pip install 'unibind[points]'") from error
    try:
        scene = trimesh.load_scene(
            io.BytesIO(content),
            file_type=kind,
            resolver=None,
            process=False,
            skip_materials=True,
        )
        return scene.to_geometry() if scene.geometry else None
    except MemoryError:
        raise InvalidInputError("the mesh does not fit into memory; simplify it first") from None
    except _BROKEN as error:
        raise InvalidInputError(
            f"the {kind.upper()} file is truncated or damaged ({error or type(error).__name__}); "
            "save or copy it again"
        ) from error


def _to_shape(loaded: Any, up: str, metres_per_unit: float | None) -> Shape:
    if loaded is None or not len(loaded.vertices):
        raise InvalidInputError("the mesh has no triangles in it")
    vertices = np.asarray(loaded.vertices, dtype=np.float64)
    check_count(len(vertices), "vertices", MAX_POINTS)
    colours = None
    visual = getattr(loaded, "visual", None)
    if visual is not None and visual.kind == "vertex":
        samples = np.asarray(visual.vertex_colors)
        if samples.shape[:1] == vertices.shape[:1] and samples.ndim == 2:
            colours = to_colours(samples[:, :3])
    faces = getattr(loaded, "faces", None)
    triangles = None if faces is None else np.asarray(faces, dtype=np.int64)
    return Shape(vertices, colours, triangles, up=up, metres_per_unit=metres_per_unit)


def sample(
    vertices: npt.NDArray[np.float64],
    triangles: npt.NDArray[np.int64],
    colours: npt.NDArray[np.uint8] | None,
    n_points: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8] | None]:
    """Return points on a surface, each area alike, and their colours; the seed is fixed.

    The area is cut into n_points equal parts and each gets a point: more even than pure chance.
    Six of many points are moved to the corners that touch the bounding box, so that it is the
    mesh's own: chance misses the tip of a thin leaf.

    Raises:
        InvalidInputError: A triangle names a vertex that is not there, or none has an area.
    """
    if not len(triangles):
        raise InvalidInputError("the mesh has no triangles in it")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise InvalidInputError(
            f"the mesh names vertex {int(triangles.max()):,}, it has {len(vertices):,}"
        )
    corners = vertices[triangles]  # (M, 3, 3)
    sides = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    reach = np.cumsum(area)
    if not (np.isfinite(reach[-1]) and reach[-1] > 0):
        raise InvalidInputError("the surface of the mesh has no area")
    chance = np.random.default_rng(_SEED)
    places = (np.arange(n_points) + chance.random(n_points)) / n_points * reach[-1]
    chosen = np.minimum(np.searchsorted(reach, places), len(reach) - 1)
    first, second = np.sqrt(chance.random(n_points)), chance.random(n_points)
    weights = np.stack([1 - first, first * (1 - second), first * second], axis=1)
    if n_points >= _MANY:
        outer = corners.reshape(-1, 3)
        tips = np.concatenate([outer.argmin(axis=0), outer.argmax(axis=0)])
        chosen[:6], weights[:6] = tips // 3, np.eye(3)[tips % 3]
    points = np.einsum("nc,ncd->nd", weights, corners[chosen])
    if colours is None:
        return points, None
    blended = np.einsum("nc,ncd->nd", weights, colours[triangles[chosen]].astype(np.float64))
    return points, np.round(blended).astype(np.uint8)
