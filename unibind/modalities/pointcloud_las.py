"""LAS and LAZ, the formats of surveys from the air, through laspy."""

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.pointcloud_laz import check_laz
from unibind.modalities.pointcloud_shape import (
    Shape,
    check_count,
    check_length,
    some_rows,
    to_colours,
)

__all__ = ["read_las"]

# What struct, numpy and the decoder of LAZ raise under laspy on broken files.
_BROKEN = (
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    AssertionError,
    OSError,
    EOFError,
)

_CHUNK_BYTES = 2**24
_MAX_RECORDS = 10_000
_LINEAR_UNITS = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}
"""GeoTIFF codes of the metre, the foot and the US survey foot."""


def read_las(content: bytes, n_points: int) -> Shape:
    """Return n_points of a LAS or LAZ file, by chance with a fixed seed; chunk by chunk.

    Args:
        content: The file.
        n_points: How many are kept.

    Raises:
        InvalidInputError: The file is damaged, truncated or too large,
            or laspy is not installed.
    """
    try:
        import laspy
    except ImportError as error:
        raise InvalidInputError("LAS files need laspy: pip install 'unibind[points]'") from error
    _check_header(content)
    try:
        # The backend of one thread: the other reads chunks ahead, and the table of them first.
        with laspy.open(io.BytesIO(content), laz_backend=laspy.LazBackend.Lazrs) as reader:
            check_count(reader.header.point_count, "points")
            if reader.header.are_points_compressed:
                check_laz(content, reader.header)
            else:
                check_length(
                    len(content) - reader.header.offset_to_point_data,
                    reader.header.point_count * reader.header.point_format.size,
                    f"{reader.header.point_count:,} points",
                )
            vertices, colours = _some_points(reader, n_points)
            return Shape(vertices, colours, metres_per_unit=_metres_per_unit(reader.header))
    except InvalidInputError:
        raise
    except (laspy.LaspyException, *_BROKEN) as error:
        raise InvalidInputError(
            f"the LAS file is truncated or damaged ({error or type(error).__name__}); "
            "save or copy it again"
        ) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, which is no Exception
            raise
        raise InvalidInputError(f"the LAZ file is damaged ({error})") from None


def _check_header(content: bytes) -> None:
    """Check the lengths that laspy would believe: of the header, of records beside the points."""
    check_length(len(content), 227, "the header")
    header_size = int.from_bytes(content[94:96], "little")
    offset = int.from_bytes(content[96:100], "little")
    n_records = int.from_bytes(content[100:104], "little")
    check_length(len(content), max(header_size, offset), "header and records")
    check_count(n_records, "records beside the points", _MAX_RECORDS)
    if header_size >= 375 and content[25] >= 4:
        n_extended = int.from_bytes(content[243:247], "little")
        check_count(n_extended, "extended records", _MAX_RECORDS)


def _some_points(
    reader: Any, n_points: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8] | None]:
    n = reader.header.point_count
    wanted = some_rows(n, n_points)
    n_chunk = max(1, _CHUNK_BYTES // max(1, reader.header.point_format.size))
    has_colours = "red" in set(reader.header.point_format.dimension_names)
    parts, samples, n_read = [], [], 0
    for chunk in reader.chunk_iterator(n_chunk):
        low, high = np.searchsorted(wanted, [n_read, n_read + len(chunk)])
        rows = wanted[low:high] - n_read
        n_read += len(chunk)
        axes = (chunk.x, chunk.y, chunk.z)
        parts.append(np.stack([np.asarray(axis)[rows] for axis in axes], axis=1))
        if has_colours:
            channels = (chunk.red, chunk.green, chunk.blue)
            samples.append(np.stack([np.asarray(each)[rows] for each in channels], axis=1))
    if n_read != n:
        raise InvalidInputError(
            f"the LAS file announces {n:,} points, {n_read:,} are there; it is truncated"
        )
    vertices = np.concatenate(parts) if parts else np.empty((0, 3))
    return vertices.astype(np.float64), to_colours(np.concatenate(samples)) if samples else None


def _metres_per_unit(header: Any) -> float | None:
    """Return the unit that the file's GeoTIFF keys say, 1 if none: LAS is in metres by custom.

    None if the keys say that x and y are degrees.
    """
    for record in header.vlrs:
        if type(record).__name__ != "GeoKeyDirectoryVlr":
            continue
        keys = {key.id: key.value_offset for key in record.geo_keys}
        if keys.get(1024) == 2:  # a geographic model: longitude and latitude
            return None
        if 3076 in keys:
            return _LINEAR_UNITS.get(keys[3076])
    return 1.0
