"""What a LAZ file announces, checked before its decoder believes it.

The decoder ends the process, or fills memory with zeros, at a forged number of chunks or length of
a layer.
"""

import struct
from typing import Any

from unibind.errors import InvalidInputError
from unibind.modalities.pointcloud_shape import check_count, check_length

__all__ = ["check_laz"]

_RECORD = ("laszip encoded", 22204)
_POINT14, _RGB14, _RGB_NIR14, _WAVE14, _BYTE14 = 10, 11, 12, 13, 14
_N_LAYERS = {_POINT14: 9, _RGB14: 1, _RGB_NIR14: 2, _WAVE14: 1}


def check_laz(content: bytes, header: Any) -> None:
    """Check the table of chunks, the items of a point, and the lengths of all layers.

    Args:
        content: The file.
        header: As laspy read it.

    Raises:
        InvalidInputError: They do not fit each other or the file.

    Source:
        The LAZ format as M. Isenburg's LASzip writes it: a chunk of a layered format is a whole
        point, the number of points, the length of each layer, and the layers.
    """
    start = header.offset_to_point_data
    table = _place_of_table(content, start)
    (n_chunks,) = struct.unpack_from("<I", content, table + 4)
    check_count(n_chunks, "chunks", header.point_count + 1)
    items = _items(header)
    if any(kind >= _POINT14 for kind, _ in items):
        n_layers = sum(_N_LAYERS.get(kind, size) for kind, size in items)
        _check_layers(content, start + 8, table, header.point_format.size, n_layers)


def _place_of_table(content: bytes, start: int) -> int:
    check_length(len(content), start + 8, "the place of the table of chunks")
    (table,) = struct.unpack_from("<q", content, start)
    if table == -1:  # written to a stream: the place stands at the end
        (table,) = struct.unpack_from("<q", content, len(content) - 8)
    if not start + 8 <= table <= len(content) - 8:
        raise InvalidInputError(
            f"the LAZ file is truncated: its table of chunks is at byte {table:,} of "
            f"{len(content):,}; save or copy it again"
        )
    return int(table)


def _items(header: Any) -> list[tuple[int, int]]:
    """Return the kinds and bytes of the parts of a point."""
    record = next(
        (each.record_data for each in header.vlrs if (each.user_id, each.record_id) == _RECORD),
        b"",
    )
    n_items = struct.unpack_from("<H", record, 32)[0] if len(record) >= 34 else 0
    items = [
        struct.unpack_from("<HH", record, 34 + 6 * i)
        for i in range(min(n_items, (len(record) - 34) // 6))
    ]
    if (
        not items
        or len(items) < n_items
        or sum(size for _, size in items) != (header.point_format.size)
    ):
        raise InvalidInputError(
            f"the LAZ file is damaged: the parts of its points do not make up their "
            f"{header.point_format.size} bytes; save or copy it again"
        )
    return items


def _check_layers(content: bytes, start: int, end: int, n_point: int, n_layers: int) -> None:
    n_head = n_point + 4 + 4 * n_layers
    while start < end:
        check_length(end - start, n_head, "a chunk of points")
        lengths = struct.unpack_from(f"<{n_layers}I", content, start + n_point + 4)
        check_length(end - start, n_head + sum(lengths), "a chunk of points")
        start += n_head + sum(lengths)
