"""PLY, clouds and meshes: plyfile reads the header, numpy the rows.

plyfile reads rows one at a time unless it can map a file into memory, a hundred times slower.
"""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.pointcloud_shape import (
    MAX_POINTS,
    MAX_TRIANGLES,
    Shape,
    check_count,
    check_length,
    fan,
    numbers,
    to_colours,
)

if TYPE_CHECKING:
    from plyfile import PlyData

__all__ = ["read_ply"]

_MAX_HEADER_BYTES = 65_536
_END = re.compile(rb"end_header[ \t]*(\r\n|\n|\r)")
_ELEMENT = re.compile(rb"^(element[ \t]+\S+[ \t]+)(\S+)", re.MULTILINE)
_CORNERS = ("vertex_indices", "vertex_index")


def read_ply(content: bytes) -> Shape:
    """Return the points of a PLY file, or its surface if it has faces.

    Raises:
        InvalidInputError: The header is damaged, or what it announces is not there,
            or plyfile is not installed.
    """
    header, counts, body = _header(content)
    elements = [(each.name, each.properties, n) for each, n in zip(header, counts, strict=True)]
    for name, properties, n in elements:
        check_count(n, f"rows of {name!r}", MAX_POINTS)
        if n and not properties:
            raise InvalidInputError(
                f"the PLY file announces {n:,} rows of {name!r} without a property; it is damaged"
            )
    if "vertex" not in [name for name, _, _ in elements]:
        raise InvalidInputError("the PLY file has no element 'vertex'")
    read = _Text(body).rows if header.text else _Binary(body, header.byte_order).rows
    tables: dict[str, dict[str, Any]] = {}
    for name, properties, n in elements:
        tables.setdefault(name, _by_name(read, name, properties, n))
    return _to_shape(tables)


_Rows = Callable[[str, Any, int], list[npt.NDArray[Any]]]


def _header(content: bytes) -> "tuple[PlyData, list[int], bytes]":
    """Return what the header declares, its counts, and what follows it."""
    try:
        from plyfile import PlyData, PlyParseError
    except ImportError as error:
        raise InvalidInputError("PLY files need plyfile: pip install 'unibind[points]'") from error
    end = _END.search(content, 0, _MAX_HEADER_BYTES)
    if end is None:
        raise InvalidInputError("the header of the PLY file has no end; the file is truncated")
    text = content[: end.end()]
    try:
        counts = [int(found[2]) for found in _ELEMENT.finditer(text)]
        # Counted as empty, so that only the header is read.
        emptied = _ELEMENT.sub(rb"\g<1>0", text)
        header = PlyData.read(io.BytesIO(emptied))
    except (PlyParseError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidInputError(f"the header of the PLY file is damaged: {error}") from None
    if len(counts) != len(header.elements):
        raise InvalidInputError("the header of the PLY file is damaged: lines of elements differ")
    return header, counts, content[end.end() :]


def _by_name(read: _Rows, name: str, properties: Any, n: int) -> dict[str, npt.NDArray[Any]]:
    names = [each.name for each in properties]
    return dict(zip(names, read(name, properties, n), strict=True))


def _to_shape(tables: dict[str, dict[str, Any]]) -> Shape:
    vertex = tables["vertex"]
    if missing := [axis for axis in "xyz" if axis not in vertex]:
        raise InvalidInputError(f"the vertices of the PLY file have no property {missing[0]!r}")
    if any(isinstance(vertex[axis], _Lists) for axis in "xyz"):
        raise InvalidInputError("the coordinates of the PLY file are lists, numbers were needed")
    vertices = np.stack([vertex[axis].astype(np.float64) for axis in "xyz"], axis=1)
    colours = None
    for names in (("red", "green", "blue"), ("r", "g", "b")):
        if all(isinstance(vertex.get(name), np.ndarray) for name in names):
            colours = to_colours(np.stack([vertex[name] for name in names], axis=1))
            break
    face = tables.get("face", {})
    corners = next((face[name] for name in _CORNERS if isinstance(face.get(name), _Lists)), None)
    triangles = None
    if corners is not None and len(corners.lengths):
        triangles = fan(corners.values.astype(np.int64), corners.lengths)
    return Shape(vertices, colours, triangles)


class _Lists:
    """The lists of one property: their lengths, and their values one after the other."""

    def __init__(self, values: npt.NDArray[Any], lengths: npt.NDArray[np.int64]) -> None:
        self.values = values
        self.lengths = lengths


class _Text:
    def __init__(self, body: bytes) -> None:
        check_count(body.count(b"\n"), "lines", MAX_POINTS + MAX_TRIANGLES)
        self._lines = [line for line in body.decode("latin-1").splitlines() if line.strip()]

    def rows(self, name: str, properties: Any, n: int) -> list[Any]:
        lines, self._lines = self._lines[:n], self._lines[n:]
        if len(lines) < n:
            raise InvalidInputError(
                f"the PLY file announces {n:,} rows of {name!r}, {len(lines):,} are there; "
                "it is truncated"
            )
        if not n:
            return [_empty(each) for each in properties]
        if not any(_is_list(each) for each in properties):
            table = numbers(lines, f"rows of {name!r}")
            if table.shape[1] != len(properties):
                raise InvalidInputError(
                    f"the rows of {name!r} in the PLY file have {table.shape[1]} numbers, "
                    f"its header declares {len(properties)}"
                )
            return [_as_declared(table[:, i], each) for i, each in enumerate(properties)]
        return _gather(properties, [self._row(line, properties) for line in lines])

    @staticmethod
    def _row(line: str, properties: Any) -> list[Any]:
        words = iter(line.split())
        row: list[Any] = []
        try:
            for each in properties:
                if _is_list(each):
                    row.append([float(next(words)) for _ in range(int(next(words)))])
                else:
                    row.append(float(next(words)))
        except (ValueError, StopIteration, RuntimeError):
            raise InvalidInputError(
                f"a row of the PLY file is damaged: {line[:60]!r} does not fit its header"
            ) from None
        return row


class _Binary:
    def __init__(self, body: bytes, byte_order: str) -> None:
        self._body = body
        self._order = byte_order
        self._place = 0

    def rows(self, name: str, properties: Any, n: int) -> list[Any]:
        if not n:
            return [_empty(each) for each in properties]
        if not any(_is_list(each) for each in properties):
            table = self._table([(each, None) for each in properties], n, name)
            return [table[f"{i}"] for i in range(len(properties))]
        return self._even_lists(properties, n) or self._lists(properties, n, name)

    def _table(self, columns: list[tuple[Any, int | None]], n: int, name: str) -> Any:
        dtype = self._dtype(columns)
        check_length(len(self._body) - self._place, n * dtype.itemsize, f"{n:,} rows of {name!r}")
        table = np.frombuffer(self._body, dtype, count=n, offset=self._place)
        self._place += n * dtype.itemsize
        return table

    def _dtype(self, columns: list[tuple[Any, int | None]]) -> np.dtype[Any]:
        parts: list[Any] = []
        for i, (each, length) in enumerate(columns):
            if length is None:
                parts.append((f"{i}", each.dtype(self._order)))
            else:
                len_type, value_type = each.list_dtype(self._order)
                parts += [(f"{i} length", len_type), (f"{i}", value_type, (length,))]
        return np.dtype(parts)

    def _even_lists(self, properties: Any, n: int) -> list[Any] | None:
        """Return the rows if each list is as long as in the first row: most meshes, at once."""
        start = self._place
        first = self._one_row(properties)
        lengths = [
            len(value) if _is_list(each) else None
            for each, value in zip(properties, first, strict=True)
        ]
        self._place = start
        dtype = self._dtype(list(zip(properties, lengths, strict=True)))
        if len(self._body) - start < n * dtype.itemsize:
            return None
        table = np.frombuffer(self._body, dtype, count=n, offset=start)
        columns: list[Any] = []
        for i, length in enumerate(lengths):
            if length is None:
                columns.append(table[f"{i}"])
                continue
            if (table[f"{i} length"] != length).any():
                return None
            values = np.ascontiguousarray(table[f"{i}"]).reshape(-1)
            columns.append(_Lists(values, np.full(n, length, dtype=np.int64)))
        self._place = start + n * dtype.itemsize
        return columns

    def _lists(self, properties: Any, n: int, name: str) -> list[Any]:
        check_count(n, f"rows of {name!r}", MAX_TRIANGLES)
        least = sum(
            np.dtype(each.list_dtype()[0] if _is_list(each) else each.dtype()).itemsize
            for each in properties
        )
        check_length(len(self._body) - self._place, n * least, f"{n:,} rows of {name!r}")
        return _gather(properties, [self._one_row(properties) for _ in range(n)])

    def _one_row(self, properties: Any) -> list[Any]:
        row: list[Any] = []
        for each in properties:
            if _is_list(each):
                len_type, value_type = each.list_dtype(self._order)
                length = int(self._take(len_type, 1)[0])
                row.append(self._take(value_type, length))
            else:
                row.append(self._take(each.dtype(self._order), 1)[0])
        return row

    def _take(self, kind: str, n: int) -> npt.NDArray[Any]:
        dtype = np.dtype(kind)
        check_count(n, "corners of a face", MAX_TRIANGLES)
        check_length(len(self._body) - self._place, n * dtype.itemsize, "a row")
        values = np.frombuffer(self._body, dtype, count=n, offset=self._place)
        self._place += values.nbytes
        return values


def _gather(properties: Any, rows: list[list[Any]]) -> list[Any]:
    columns: list[Any] = []
    for i, each in enumerate(properties):
        if _is_list(each):
            lengths = np.array([len(row[i]) for row in rows], dtype=np.int64)
            flat = np.concatenate([np.asarray(row[i], dtype=np.float64) for row in rows])
            columns.append(_Lists(flat, lengths))
        else:
            columns.append(_as_declared(np.array([row[i] for row in rows], np.float64), each))
    return columns


def _as_declared(values: npt.NDArray[np.float64], each: Any) -> npt.NDArray[Any]:
    """Return text's numbers so that whole ones stay told from others: colours need it."""
    if np.dtype(each.dtype()).kind == "f" or not np.isfinite(values).all():
        return values
    return np.clip(values, -(2.0**53), 2.0**53).astype(np.int64)


def _empty(each: Any) -> Any:
    nothing = np.empty(0)
    return _Lists(nothing, np.empty(0, dtype=np.int64)) if _is_list(each) else nothing


def _is_list(each: Any) -> bool:
    return hasattr(each, "list_dtype")
