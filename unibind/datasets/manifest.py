"""A manifest: one row for each item, in CSV, JSONL or Parquet.

The columns are ``path`` (needed; relative to the manifest's own folder), ``label``, ``caption``,
``group`` and ``split``; every other column is kept in the item's `extra`. An empty cell says
that nothing is known. Text is UTF-8.
"""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from unibind.artifact import write_file
from unibind.datasets.items import Dataset, LabelledItem
from unibind.errors import InvalidInputError
from unibind.types import Json

__all__ = ["SUFFIXES", "read_manifest", "write_manifest"]

_TEXTS = ("label", "caption", "group", "split")
_COLUMNS = {"path", *_TEXTS}

_Row = tuple[str, Mapping[str, Any]]
"""Where the row stands, for messages (the file and its line), and its cells by column."""


def read_manifest(path: Path) -> Dataset:
    """Return the items that a manifest lists; files that are missing are listed all the same.

    Spaces around a label, caption, group or split are dropped, and a whole number there is taken
    as its text. A key is the row's path, tidied: ``./a/../b.png`` is ``b.png``.

    Args:
        path: A file that ends in one of `SUFFIXES`.

    Raises:
        InvalidInputError: The file is missing, empty, not UTF-8 or malformed; it has no column
            ``path`` or no rows; a path is empty or there twice; a text cell is not text or is
            only spaces. The message names the file and the line or row.
    """
    read_rows = _READERS.get(path.suffix.lower())
    if read_rows is None:
        raise InvalidInputError(
            f"{path} is no manifest: its name must end in one of {', '.join(SUFFIXES)}"
        )
    items: dict[str, LabelledItem] = {}
    first: dict[str, str] = {}
    try:
        for where, cells in read_rows(path):
            item = _item(path.parent, cells, where)
            if item.key in items:
                raise InvalidInputError(
                    f"{where}: path {item.key!r} is there twice, first in {first[item.key]}; "
                    "keep one"
                )
            items[item.key], first[item.key] = item, where
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error
    if not items:
        raise InvalidInputError(f"{path} has no rows; a manifest needs one for each item")
    return Dataset(path.stem, tuple(items.values()), source=str(path))


def write_manifest(path: Path, items: Iterable[LabelledItem]) -> None:
    """Write items as a JSONL manifest that `read_manifest` reads back.

    Args:
        path: Where; the name must end in ``.jsonl`` to be read again. Paths below its folder are
            written relative to it, others as they are.
        items: The items; what `extra` holds must be JSON values, under other names than the
            columns have.

    Raises:
        ArtifactError: The disk is full or the place cannot be written.
    """
    lines = []
    for item in items:
        is_below = item.path.is_relative_to(path.parent)
        inside = item.path.relative_to(path.parent) if is_below else item.path
        texts = {name: getattr(item, name) for name in _TEXTS if getattr(item, name) is not None}
        extra = {name: value for name, value in item.extra.items() if name not in _COLUMNS}
        row = {"path": inside.as_posix(), **texts, **extra}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_file(path, "".join(lines).encode())


def _csv_rows(path: Path) -> Iterator[_Row]:
    # The csv module wants the line ends as they are: a quoted cell may hold some.
    lines = csv.reader(io.StringIO(_text_of(path), newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in lines:
            where = f"{path}, line {lines.line_num}"
            if not any(cells):
                continue
            if not header:
                header = _checked_header(cells, where)
            elif len(cells) != len(header):
                raise InvalidInputError(
                    f"{where}: {len(cells)} cells, the header has {len(header)}; "
                    'put a cell that holds a comma in quotes ("a, b")'
                )
            else:
                yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise InvalidInputError(f"{path}, line {lines.line_num}: not CSV ({error})") from error


def _checked_header(cells: list[str], where: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(set(header)) < len(header):
        raise InvalidInputError(f"{where}: a column's name is there twice in {header}; rename one")
    if "path" not in header:
        raise InvalidInputError(
            f"{where}: no column 'path', found {header}; the first line names the columns, "
            "with commas between them"
        )
    return header


def _jsonl_rows(path: Path) -> Iterator[_Row]:
    # Not splitlines: JSON leaves U+2028 and its like unescaped inside a string.
    for number, line in enumerate(_text_of(path).split("\n"), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{where}: not JSON ({error})") from error
        if not isinstance(cells, dict):
            raise InvalidInputError(
                f"{where}: an object with a 'path' was needed, got {type(cells).__name__}"
            )
        yield where, cells


def _parquet_rows(path: Path) -> Iterator[_Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for cells in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", cells
    except pyarrow.ArrowInvalid as error:
        raise InvalidInputError(f"{path} is not a readable Parquet file ({error})") from error


_READERS = {
    ".csv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".parquet": _parquet_rows,
}

SUFFIXES = tuple(_READERS)


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InvalidInputError(
            f"{path}, line {line}: not UTF-8 text ({error.reason}); save the file as UTF-8"
        ) from error


def _item(folder: Path, cells: Mapping[str, Any], where: str) -> LabelledItem:
    if "path" not in cells:
        raise InvalidInputError(f"{where}: no column 'path', found {sorted(cells)}")
    path = cells["path"]
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise InvalidInputError(f"{where}: 'path' must name a file, got {path!r}")
    texts = {name: _text(cells.get(name), name, where) for name in _TEXTS}
    extra = {
        name: _json(value, name, where) for name, value in cells.items() if name not in _COLUMNS
    }
    key = Path(os.path.normpath(path)).as_posix()
    return LabelledItem(folder / path, **texts, extra=extra, key=key)


def _text(value: Any, column: str, where: str) -> str | None:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InvalidInputError(f"{where}: {column!r} must be text, got {value!r}")
    if not value.strip():
        raise InvalidInputError(
            f"{where}: {column!r} is only spaces; write it, or leave the cell empty"
        )
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInputError(f"{where}: {column!r} is no Unicode text: {value!r}")
    return value.strip()


def _json(value: Any, column: str, where: str) -> Json:
    """Return a cell of a Parquet table, which knows more types than JSON, as a JSON value."""
    if isinstance(value, bytes):
        raise InvalidInputError(
            f"{where}: {column!r} holds bytes, which cannot be kept as metadata; drop the column"
        )
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_json(part, column, where) for part in value]
    if isinstance(value, dict):
        return {str(name): _json(part, column, where) for name, part in value.items()}
    return str(value)  # a date, a decimal
