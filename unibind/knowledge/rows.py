"""The lines of a base's files: what stands in them, and how it is read and written."""

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import IO

from unibind.errors import ArtifactError, InvalidInputError
from unibind.knowledge.values import HAND, AttributeRanges, Line, Source
from unibind.types import Json

__all__ = [
    "attributes_from_json",
    "attributes_to_json",
    "json_line",
    "line_from_json",
    "line_to_json",
    "read_classes",
    "read_jsonl",
    "read_sources",
    "write_classes",
    "write_jsonl",
    "write_sources",
]

_STATUSES = ("unreviewed", "accepted", "edited")
_LINE_FIELDS = tuple(item.name for item in fields(Line) if item.name != "group")


def json_line(value: Json) -> str:
    """Return a value as one line of JSON in which nothing is invisible.

    Text stays readable in any script, but control, format and separator characters are escaped:
    they could hide from the reviewer of a diff, or end a line.
    """
    text = json.dumps(value, ensure_ascii=False)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if _is_visible(character) else json.dumps(character)[1:-1] for character in text
    )


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Json]]]:
    """Yield (1-based line number, object) of a JSONL file; blank lines are passed over.

    Raises:
        InvalidInputError: A line is not a JSON object.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                value = json.loads(text)
                if not isinstance(value, dict):
                    raise InvalidInputError(
                        f"{path}, line {number}: a JSON object was needed, found {text.strip()!r}"
                    )
                yield number, value
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            f"{path}, line {number}: not valid JSON ({error.msg} at column {error.colno}); "
            "each line must be one JSON object"
        ) from error


def write_jsonl(path: Path, rows: Iterable[Json]) -> None:
    """Write values to a file, one a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{json_line(row)}\n" for row in rows)


def line_to_json(line: Line) -> dict[str, Json]:
    """Return a line as it is stored: what has its default value is left out."""
    row = {
        item.name: getattr(line, item.name)
        for item in fields(Line)
        if item.name != "group" and getattr(line, item.name) != item.default
    }
    return row


def line_from_json(row: Mapping[str, Json], *, groups: Mapping[str, str], where: str) -> Line:
    """Return the line of a stored row.

    Args:
        row: The JSON object.
        groups: Class name to group.
        where: File and line, for the message.

    Raises:
        ArtifactError: A field is missing, unknown or of another type.
    """
    kinds = {"index": int, "attempt": int, "seed": int}
    for name, value in row.items():
        if name not in _LINE_FIELDS or not isinstance(value, kinds.get(name, str)):
            raise ArtifactError(
                f"{where}: {name!r} is {value!r}; known fields are {', '.join(_LINE_FIELDS)}, "
                "correct the line"
            )
    for name in ("class_name", "view", "text"):
        if name not in row:
            raise ArtifactError(f"{where}: the line has no {name!r}; add it")
    line = Line(group=groups.get(row["class_name"], ""), **row)
    if line.status not in _STATUSES:
        raise ArtifactError(f"{where}: status is {line.status!r}; use {', '.join(_STATUSES)}")
    return line


def attributes_from_json(
    row: Mapping[str, Json], *, where: str, source: str = HAND
) -> AttributeRanges:
    """Return the ranges of a row ``{"class_name", "sensor", "attributes": {name: [low, high]}}``.

    Raises:
        InvalidInputError: A field is missing or not of that shape.
    """
    try:
        ranges = {
            str(name): (float(low), float(high)) for name, (low, high) in row["attributes"].items()
        }
        return AttributeRanges(
            class_name=row["class_name"],
            sensor=row["sensor"],
            ranges=ranges,
            source=row.get("source", source),
            n_samples=int(row.get("n_samples", 0)),
            samples={
                str(name): tuple((float(low), float(high)) for low, high in bounds)
                for name, bounds in row.get("samples", {}).items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInputError(
            f"{where}: {error!r}; a line must be "
            '{"class_name", "sensor", "attributes": {name: [low, high]}}'
        ) from error


def attributes_to_json(entry: AttributeRanges) -> dict[str, Json]:
    """Return ranges as they are stored."""
    row: dict[str, Json] = {
        "class_name": entry.class_name,
        "sensor": entry.sensor,
        "attributes": {name: list(bounds) for name, bounds in entry.ranges.items()},
        "source": entry.source,
    }
    if entry.n_samples:
        row["n_samples"] = entry.n_samples
    if entry.samples:
        row["samples"] = {name: [list(b) for b in rows] for name, rows in entry.samples.items()}
    return row


def read_classes(file: IO[str] | Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the class names of a CSV, in order, and the group of each that has one.

    Args:
        file: CSV with a header that has ``class_name`` and perhaps ``group``; a file without
            such a header is read as one class a line.

    Raises:
        InvalidInputError: A class is empty or stands twice, or the text is not UTF-8.
    """
    text = file.read_text(encoding="utf-8-sig") if isinstance(file, Path) else file.read()
    rows = list(csv.reader(io.StringIO(text)))
    header = rows[0] if rows else []
    if "class_name" in header:
        name_at = header.index("class_name")
        group_at = header.index("group") if "group" in header else None
        rows = rows[1:]
    else:
        name_at, group_at = 0, None
    classes: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        name = row[name_at] if name_at < len(row) else ""
        if not name.strip() or name in classes:
            fault = f"{name!r} stands twice" if name.strip() else "the name is empty"
            raise InvalidInputError(f"class {number} of the list: {fault}; correct the list")
        classes[name] = row[group_at] if group_at is not None and group_at < len(row) else ""
    return tuple(classes), {name: group for name, group in classes.items() if group}


def write_classes(path: Path, classes: Sequence[str], groups: Mapping[str, str]) -> None:
    """Write classes.csv."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["group", "class_name"])
        writer.writerows([groups.get(name, ""), name] for name in classes)


def read_sources(path: Path) -> dict[str, Source]:
    """Return the provenance table of a base.

    Raises:
        ArtifactError: It is not readable.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {key: Source(**row) for key, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} is not a readable table of sources ({error})") from error


def write_sources(path: Path, sources: Mapping[str, Source]) -> None:
    """Write sources.json."""
    rows = {
        key: {
            item.name: getattr(source, item.name)
            for item in fields(Source)
            if getattr(source, item.name)
        }
        for key, source in sources.items()
    }
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" or character == " "
