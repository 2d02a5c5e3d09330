"""Knowledge bases behind the service: which there are, their lines, and what a reviewer changes."""

import re
import threading
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from unibind import artifact
from unibind.errors import InvalidInputError
from unibind.knowledge import review
from unibind.knowledge.base import base_names, find_base, open_base, own_folder, save_base
from unibind.knowledge.lint import lint
from unibind.knowledge.values import KnowledgeBase, Line
from unibind.protocols import Encoder
from unibind.service.refusals import Refusal
from unibind.service.schemas import Change
from unibind.types import Json

__all__ = ["changed", "difference", "entries", "findings", "lines", "read_base"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_writing = threading.Lock()


def read_base(name: str) -> KnowledgeBase:
    """Return a base by name, never by path; what was read once and not changed is not read again.

    Raises:
        Refusal: There is none of that name.
        ArtifactError: It is damaged.
    """
    folder = _folder(name)
    status = (folder / artifact.MANIFEST).stat()
    return _read(folder, status.st_mtime_ns, status.st_ino)


def entries() -> list[Json]:
    """Return what there is of each base, by name."""
    return [_entry(read_base(name)) for name in base_names()]


def lines(
    name: str,
    *,
    class_name: str | None,
    view: str | None,
    words: str | None,
    offset: int,
    limit: int,
) -> Json:
    """Return a page of a base's lines, those of a class, of a view or with some words in them.

    Raises:
        Refusal: There is no such base.
    """
    base = read_base(name)
    wanted = (words or "").casefold()
    found = [
        (row, line)
        for row, line in enumerate(base.lines, start=1)
        if (class_name is None or line.class_name == class_name)
        and (view is None or line.view == view)
        and wanted in line.text.casefold()
    ]
    return {
        "name": base.name,
        "content_id": base.content_id,
        "total": len(found),
        "offset": offset,
        "classes": list(base.classes),
        "views": list(base.views),
        "data": [_numbered(base, row, line) for row, line in found[offset : offset + limit]],
    }


def findings(name: str, encoder: Encoder) -> Json:
    """Return what lint finds in a base.

    Raises:
        Refusal: There is no such base.
    """
    base = read_base(name)
    return {
        "name": base.name,
        "content_id": base.content_id,
        "data": list(_linted(base.name, base.content_id, cast(Any, encoder))),
    }


def changed(name: str, change: Change, encoder: Encoder) -> Json:
    """Do what a reviewer wants, and return what is different then.

    Raises:
        Refusal: There is no such base, or it was changed since it was read.
        InvalidInputError: There is no such line.
    """
    with _writing:
        before = read_base(name)
        if change.content_id is not None and change.content_id != before.content_id:
            raise Refusal(
                409,
                "knowledge_changed",
                f"{name!r} was changed since it was read; read it again",
                "content_id",
            )
        after = _after(before, change)
        if not change.dry_run:
            after = save_base(after, own_folder(name))
    return _difference(before, after, encoder) | {
        "name": after.name,
        "content_id": after.content_id,
        "saved": not change.dry_run,
    }


def difference(name: str, other: str, encoder: Encoder) -> Json:
    """Return what is different in a second base.

    Raises:
        Refusal: There is no such base.
    """
    before, after = read_base(name), read_base(other)
    return _difference(before, after, encoder) | {
        "name": after.name,
        "content_id": after.content_id,
        "saved": False,
    }


def _folder(name: str) -> Path:
    if not _NAME.fullmatch(name) or name not in base_names():
        raise Refusal(
            404,
            "unknown_knowledge_base",
            f"no knowledge base {name!r:.80}; there are {', '.join(base_names()) or 'none'}",
            "knowledge",
        )
    return find_base(name)


@lru_cache(maxsize=8)
def _read(folder: Path, modified_ns: int, inode: int) -> KnowledgeBase:
    return open_base(folder)


@lru_cache(maxsize=8)
def _linted(name: str, content_id: str, encoder: Any) -> tuple[Json, ...]:
    base = read_base(name)
    return tuple(asdict(finding) for finding in lint(base, encoder=encoder))


def _entry(base: KnowledgeBase) -> Json:
    return {
        "name": base.name,
        "classes": len(base.classes),
        "lines": len(base.lines),
        "reviewed": sum(line.is_reviewed for line in base.lines),
        "quarantine": len(base.quarantine),
        "views": list(base.views),
        "signed_off_by": base.signed_off_by,
        "content_id": base.content_id,
    }


def _numbered(base: KnowledgeBase, row: int, line: Line) -> Json:
    source = base.sources.get(line.source)
    return {
        "row": row,
        "class_name": line.class_name,
        "view": line.view,
        "text": line.text,
        "status": line.status,
        "reviewer": line.reviewer,
        "generator": line.source if source is None else source.generator,
    }


def _after(base: KnowledgeBase, change: Change) -> KnowledgeBase:
    if change.action == "accept":
        return review.accept(base, change.rows, reviewer=change.reviewer)
    if change.action == "reject":
        return review.reject(base, change.rows, reviewer=change.reviewer, reason=change.reason)
    if change.text is None or len(change.rows) != 1:
        raise InvalidInputError("an edit needs one row and its new text")
    return review.edit(base, change.rows[0], change.text, reviewer=change.reviewer)


def _difference(before: KnowledgeBase, after: KnowledgeBase, encoder: Encoder) -> dict[str, Json]:
    found = review.difference(before, after, encoder=encoder)
    return {
        "added": _bare(found.added),
        "removed": _bare(found.removed),
        "moved": [
            {"before": _bare([was])[0], "after": _bare([line])[0]} for was, line in found.moved
        ],
        "classes_added": list(found.classes_added),
        "classes_removed": list(found.classes_removed),
        "center_shifts": dict(found.shifts),
    }


def _bare(listed: Sequence[Line]) -> list[Json]:
    return [
        {"class_name": line.class_name, "view": line.view, "text": line.text} for line in listed
    ]
