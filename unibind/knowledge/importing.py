"""From files that were written elsewhere (JSONL, CSV, plain text) to a knowledge base."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from unibind.errors import InvalidInputError
from unibind.knowledge.rows import attributes_from_json, read_classes, read_jsonl
from unibind.knowledge.values import AttributeRanges, KnowledgeBase, Line, Source
from unibind.types import Json

__all__ = ["import_base", "read_descriptions"]

_GENERAL = "general"  # the view of a line that names none
_ALIASES = {
    "class_name": ("class_name", "class", "label"),
    "text": ("text", "description", "caption", "sentence"),
}


def import_base(
    name: str,
    path: Path,
    *,
    source_id: str,
    source: Source,
    classes: Path | None = None,
    attributes: Path | None = None,
    view: str = _GENERAL,
) -> KnowledgeBase:
    """Return a base made of a file's lines, in their order, all of one provenance.

    Every line comes in as it is, faults included: finding them is the work of lint.

    Args:
        name: Name of the base.
        path: JSONL or CSV with ``class_name``, ``text`` and perhaps ``view`` and ``group``; a text
            file with one sentence a line, called like its class; or a folder of these.
        source_id: Short id of the provenance, repeated in each line.
        source: The provenance.
        classes: CSV with the classes in order; without it, order of first use.
        attributes: JSONL with attribute ranges of the same provenance.
        view: View of the lines that name none.

    Raises:
        InvalidInputError: A file is missing or not of its format, there is no line, or a line's
            class is not among the classes.
    """
    rows = list(read_descriptions(path, view=view))
    if not rows:
        raise InvalidInputError(f"{path} has no line; nothing to import")
    groups = {row["class_name"]: row["group"] for row in rows if row["group"]}
    names = tuple(dict.fromkeys(row["class_name"] for row in rows))
    if classes is not None:
        _need_file(classes)
        names, listed_groups = read_classes(classes)
        groups |= listed_groups
    if strangers := sorted({row["class_name"] for row in rows} - set(names)):
        raise InvalidInputError(
            f"{path} has lines of {len(strangers)} classes that {classes} does not list, "
            f"{strangers[0]!r} first; add them to the list or leave it out"
        )
    lines = tuple(
        Line(
            row["class_name"],
            row["view"],
            row["text"],
            source=source_id,
            group=groups.get(row["class_name"], ""),
        )
        for row in rows
    )
    ranges = () if attributes is None else _read_ranges(attributes, source_id)
    return KnowledgeBase(name, names, lines, groups, {source_id: source}, ranges)


def read_descriptions(path: Path, *, view: str = _GENERAL) -> Iterator[dict[str, str]]:
    """Yield ``{"class_name", "view", "text", "group"}`` of a file's or a folder's lines, in order.

    Raises:
        InvalidInputError: The file is missing, not of its format, or a line lacks class or text.
    """
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.suffix.lower() in _READERS:
                yield from read_descriptions(file, view=view)
        return
    _need_file(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(
            f"{path} ends in {path.suffix!r}; descriptions are read from {', '.join(_READERS)}"
        )
    for number, row in reader(path):
        yield _description(row, where=f"{path}, line {number}", view=view)


def _description(row: Mapping[str, Json], *, where: str, view: str) -> dict[str, str]:
    found = {
        name: next((row[alias] for alias in aliases if row.get(alias) is not None), None)
        for name, aliases in _ALIASES.items()
    }
    found |= {"view": row.get("view") or view, "group": row.get("group") or ""}
    for name, value in found.items():
        if not isinstance(value, str) or (name == "class_name" and not value.strip()):
            raise InvalidInputError(
                f"{where}: {name!r} is {value!r}, a text was needed; the columns are "
                "class_name, text and perhaps view and group"
            )
    return {name: str(value) for name, value in found.items()}


def _read_csv(path: Path) -> Iterator[tuple[int, Mapping[str, Json]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{path} is not a readable UTF-8 CSV file ({error})") from error


def _read_text(path: Path) -> Iterator[tuple[int, Mapping[str, Json]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, {"class_name": path.stem, "text": text.rstrip("\r\n")}
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error


_READERS = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": _read_csv,
    ".txt": _read_text,
}


def _read_ranges(path: Path, source_id: str) -> tuple[AttributeRanges, ...]:
    _need_file(path)
    return tuple(
        attributes_from_json(row, where=f"{path}, line {number}", source=source_id)
        for number, row in read_jsonl(path)
    )


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}; correct the path")
