"""PCD, the Point Cloud Library's format: ascii, binary, and binary compressed with LZF."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.pointcloud_shape import Shape, check_count, check_length, numbers

__all__ = ["read_pcd"]

_MAX_ROW_BYTES = 4096
_TYPES = {"F": {4: "<f4", 8: "<f8"}, "I": {1: "<i1", 2: "<i2", 4: "<i4", 8: "<i8"}}
_TYPES["U"] = {size: code.replace("i", "u") for size, code in _TYPES["I"].items()}


@dataclass(frozen=True, slots=True)
class _Header:
    names: tuple[str, ...]
    types: tuple[str, ...]
    counts: tuple[int, ...]
    n_points: int
    encoding: str
    n_bytes: int
    """Of the header itself."""

    @property
    def row(self) -> np.dtype[Any]:
        # Padding is a field called "_", as often as needed; numpy wants each name once.
        parts = [
            (f"{i}", kind, (n,))
            for i, (kind, n) in enumerate(zip(self.types, self.counts, strict=True))
        ]
        return np.dtype(parts)


def read_pcd(content: bytes) -> Shape:
    """Return the points of a PCD file; rows whose x, y and z are all NaN saw nothing: left out.

    Raises:
        InvalidInputError: The header is damaged, or what it announces is not there.
    """
    header = _header(content)
    columns = _columns(header, content[header.n_bytes :])
    points = np.stack([_column(columns, header, name) for name in "xyz"], axis=1)
    is_seen = ~np.isnan(points).all(axis=1)
    colours = _colours(columns, header)
    return Shape(points[is_seen], None if colours is None else colours[is_seen])


def _header(content: bytes) -> _Header:
    facts: dict[str, list[str]] = {}
    place = 0
    while "DATA" not in facts:
        end = content.find(b"\n", place)
        if end < 0 or end - place > 10_000 or len(facts) > 20:
            raise InvalidInputError(
                "the header of the PCD file has no line DATA; the file is truncated or damaged"
            )
        words = content[place:end].decode("latin-1").split()
        if words and not words[0].startswith("#"):
            facts[words[0].upper()] = words[1:]
        place = end + 1
    try:
        return _to_header(facts, place)
    except (KeyError, ValueError, IndexError) as error:
        raise InvalidInputError(
            f"the header of the PCD file is damaged ({type(error).__name__}: {error}); it needs "
            "FIELDS, SIZE, TYPE, WIDTH, HEIGHT and DATA, each field with a size and a type"
        ) from None


def _to_header(facts: dict[str, list[str]], n_bytes: int) -> _Header:
    names = tuple(facts["FIELDS"] if "FIELDS" in facts else facts["COLUMNS"])
    counts = tuple(int(n) for n in facts.get("COUNT", ["1"] * len(names)))
    types = tuple(
        _TYPES[kind][int(size)] for kind, size in zip(facts["TYPE"], facts["SIZE"], strict=True)
    )
    if not len(names) == len(counts) == len(types) or min(counts, default=0) < 1:
        raise ValueError(f"{len(names)} fields, {len(types)} types, counts {counts}")
    if missing := set("xyz") - set(names):
        raise ValueError(f"no field {sorted(missing)[0]}")
    if any(counts[names.index(axis)] != 1 for axis in "xyz"):
        raise ValueError("x, y and z must have the count 1")
    n_row = sum(int(kind[2:]) * n for kind, n in zip(types, counts, strict=True))
    if n_row > _MAX_ROW_BYTES:
        raise ValueError(f"a row of {n_row:,} bytes, at most {_MAX_ROW_BYTES:,} are read")
    n_points = int(facts["WIDTH"][0]) * int(facts["HEIGHT"][0])
    if "POINTS" in facts and int(facts["POINTS"][0]) != n_points:
        raise ValueError(f"POINTS {facts['POINTS'][0]}, WIDTH x HEIGHT is {n_points}")
    check_count(n_points, "points")
    return _Header(names, types, counts, n_points, facts["DATA"][0].lower(), n_bytes)


def _columns(header: _Header, body: bytes) -> list[npt.NDArray[Any]]:
    """Return the fields in order, shape (N, count) each."""
    row, n = header.row, header.n_points
    if header.encoding == "ascii":
        return _ascii_columns(header, body)
    if header.encoding == "binary":
        check_length(len(body), n * row.itemsize, f"{n:,} points")
        rows = np.frombuffer(body, row, count=n)
        return [rows[name] for name in row.names or ()]
    if header.encoding != "binary_compressed":
        raise InvalidInputError(
            f"the PCD file says DATA {header.encoding!r}; "
            "needed: ascii, binary or binary_compressed"
        )
    check_length(len(body), 8, "the two sizes of the compressed block")
    n_packed, n_unpacked = struct.unpack("<II", body[:8])
    if n_unpacked != n * row.itemsize:
        raise InvalidInputError(
            f"the PCD file announces {n_unpacked:,} bytes unpacked, its {n:,} points take "
            f"{n * row.itemsize:,}; the file is damaged"
        )
    check_length(len(body) - 8, n_packed, "the compressed block")
    unpacked = _lzf(body[8 : 8 + n_packed], n_unpacked)
    columns, place = [], 0
    for kind, count in zip(header.types, header.counts, strict=True):  # field after field
        values = np.frombuffer(unpacked, kind, count=n * count, offset=place)
        columns.append(values.reshape(n, count))
        place += values.nbytes
    return columns


def _ascii_columns(header: _Header, body: bytes) -> list[npt.NDArray[Any]]:
    check_count(body.count(b"\n"), "lines")
    table = numbers((line for line in body.splitlines() if line.strip()), "points")
    if table.shape != (header.n_points, sum(header.counts)):
        raise InvalidInputError(
            f"the PCD file announces {header.n_points:,} points of {sum(header.counts)} numbers, "
            f"{table.shape[0]:,} lines of {table.shape[1]} follow; it is truncated or damaged"
        )
    ends = np.cumsum(header.counts)
    return [table[:, end - n : end] for end, n in zip(ends, header.counts, strict=True)]


def _column(columns: list[npt.NDArray[Any]], header: _Header, name: str) -> npt.NDArray[np.float64]:
    return columns[header.names.index(name)][:, 0].astype(np.float64)


def _colours(columns: list[npt.NDArray[Any]], header: _Header) -> npt.NDArray[np.uint8] | None:
    """Return red, green, blue of a field rgb, in which they are packed as three of four bytes."""
    place = next((i for i, name in enumerate(header.names) if name in ("rgb", "rgba")), None)
    if place is None or header.types[place][2:] != "4" or header.counts[place] != 1:
        return None
    packed = columns[place][:, 0]
    if packed.dtype.kind == "f" and packed.dtype.itemsize == 8:  # ascii: read as numbers
        if header.types[place] == "<f4":
            with np.errstate(over="ignore", invalid="ignore"):
                packed = packed.astype("<f4")
        else:
            packed = np.clip(np.nan_to_num(packed), 0, 2**32 - 1).astype("<u4")
    samples = np.ascontiguousarray(packed).view(np.uint8).reshape(-1, 4)
    return np.ascontiguousarray(samples[:, 2::-1])  # blue, green, red, alpha in memory


def _lzf(packed: bytes, n_unpacked: int) -> bytes:
    """Return what LZF packed; never more than n_unpacked bytes are made.

    Source:
        Marc Lehmann's LibLZF: a control byte below 32 is followed by so many literal bytes and
        one; else its upper three bits are a length and the rest, with a byte more, a distance.
    """
    unpacked = bytearray()
    place, n_packed = 0, len(packed)
    try:
        while place < n_packed:
            control = packed[place]
            place += 1
            if control < 32:
                literal = packed[place : place + control + 1]
                if len(literal) != control + 1:
                    raise IndexError
                unpacked += literal
                place += control + 1
            else:
                length = control >> 5
                if length == 7:
                    length += packed[place]
                    place += 1
                start = len(unpacked) - ((control & 31) << 8) - packed[place] - 1
                place += 1
                if start < 0:
                    raise IndexError
                _repeat(unpacked, start, length + 2)
            if len(unpacked) > n_unpacked:
                raise IndexError
    except IndexError:
        raise InvalidInputError(
            "the compressed block of the PCD file is damaged; save or copy it again"
        ) from None
    check_length(len(unpacked), n_unpacked, "the points")
    return bytes(unpacked)


def _repeat(unpacked: bytearray, start: int, length: int) -> None:
    distance = len(unpacked) - start
    if distance >= length:
        unpacked += unpacked[start : start + length]
        return
    run = unpacked[start:]  # it overlaps what it makes: the run repeats
    unpacked += (run * (length // distance + 1))[:length]
