"""A base's files, class by class, so that a table of a million lines needs little memory."""

import json
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path

from unibind import artifact
from unibind.errors import ArtifactError
from unibind.knowledge.base import (
    ATTRIBUTES,
    CLASSES,
    DESCRIPTIONS,
    FORMAT_VERSION,
    KIND,
    QUARANTINE,
    SOURCES,
    verify_base,
)
from unibind.knowledge.rows import (
    json_line,
    line_from_json,
    line_to_json,
    read_classes,
    read_sources,
    write_classes,
    write_sources,
)
from unibind.knowledge.values import Line, Source
from unibind.types import Json

__all__ = ["StoredTable", "write_table"]


class StoredTable:
    """What is on disk before a build; lines are read when a class is asked for.

    Args:
        folder: The base's folder, or one where none is yet.

    Raises:
        ArtifactError: A base is there and damaged, or edited by hand and not sealed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classes: tuple[str, ...] = ()
        self.groups: dict[str, str] = {}
        self.sources: dict[str, Source] = {}
        self._lines: dict[str, array[int]] = {}
        self._aside: dict[str, array[int]] = {}
        if artifact.exists(folder):
            verify_base(folder)
            self.classes, self.groups = read_classes(folder / CLASSES)
            self.sources = read_sources(folder / SOURCES)
            self._lines = _offsets(folder / DESCRIPTIONS)
            self._aside = _offsets(folder / QUARANTINE)

    def lines(self, class_name: str) -> list[Line]:
        """Return the lines of a class, in stored order."""
        return self._read(DESCRIPTIONS, self._lines.get(class_name))

    def aside(self, class_name: str) -> list[Line]:
        """Return the lines of a class that are in quarantine."""
        return self._read(QUARANTINE, self._aside.get(class_name))

    def _read(self, name: str, offsets: "array[int] | None") -> list[Line]:
        if not offsets:
            return []
        lines = []
        with (self.folder / name).open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                row = json.loads(file.readline())
                where = f"{self.folder / name}, byte {offset}"
                lines.append(line_from_json(row, groups=self.groups, where=where))
        return lines


def write_table(
    folder: Path,
    *,
    classes: Iterable[str],
    groups: Mapping[str, str],
    sources: Mapping[str, Source],
    rows: Iterable[tuple[Iterable[Line], Iterable[Line]]],
    plan: Mapping[str, Json],
) -> None:
    """Write a base from a stream of (lines, lines in quarantine), whole or not at all.

    The attribute ranges of a base that is replaced are kept.

    Raises:
        ArtifactError: The place cannot be written.
    """
    params = {"plan": dict(plan)} if plan else {}
    with artifact.writing(
        folder, kind=KIND, format_version=FORMAT_VERSION, params=params
    ) as staging:
        write_classes(staging / CLASSES, tuple(classes), groups)
        write_sources(staging / SOURCES, sources)
        if (folder / ATTRIBUTES).is_file():
            (staging / ATTRIBUTES).write_bytes((folder / ATTRIBUTES).read_bytes())
        with (
            (staging / DESCRIPTIONS).open("w", encoding="utf-8", newline="\n") as lines_file,
            (staging / QUARANTINE).open("w", encoding="utf-8", newline="\n") as aside_file,
        ):
            for lines, aside in rows:
                lines_file.writelines(f"{json_line(line_to_json(line))}\n" for line in lines)
                aside_file.writelines(f"{json_line(line_to_json(line))}\n" for line in aside)
            is_clean = aside_file.tell() == 0
        if is_clean:
            (staging / QUARANTINE).unlink()


def _offsets(path: Path) -> dict[str, "array[int]"]:
    """Return where in a JSONL file the lines of each class begin."""
    offsets: dict[str, array[int]] = {}
    if not path.is_file():
        return offsets
    offset = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if raw.strip():
                try:
                    name = json.loads(raw)["class_name"]
                except (ValueError, KeyError, TypeError) as error:
                    raise ArtifactError(f"{path}, line {number}: {error!r}; correct it") from error
                offsets.setdefault(name, array("Q")).append(offset)
            offset += len(raw)
    return offsets
