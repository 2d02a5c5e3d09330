"""The knowledge base: sentences and attribute ranges per class, each with its provenance.

On disk it is a folder that people read, edit and review under version control:

    manifest.json        hashes of the files below, content id
    classes.csv          group,class_name: the classes, in order
    descriptions.jsonl   one sentence a line; what most lines share stands once, in sources.json
    sources.json         id -> who wrote: model, prompt and version, sampling
    attributes.jsonl     ranges in physical units per class and kind of sensor (if there are any)
    quarantine.jsonl     lines taken out by lint, a reviewer or a newer prompt, with the reason

A file that was edited by hand no longer matches the manifest: `open_base` refuses it, naming
``unibind knowledge seal``, which checks the folder and signs it anew.
"""

import json
import sysconfig
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from unibind import artifact
from unibind.errors import ArtifactError, InvalidInputError
from unibind.knowledge.journal import journal_path
from unibind.knowledge.rows import (
    attributes_from_json,
    attributes_to_json,
    line_from_json,
    line_to_json,
    read_classes,
    read_jsonl,
    read_sources,
    write_classes,
    write_jsonl,
    write_sources,
)
from unibind.knowledge.values import HAND, AttributeRanges, KnowledgeBase, Line, Source
from unibind.types import Json

__all__ = [
    "ATTRIBUTES",
    "CLASSES",
    "DESCRIPTIONS",
    "FORMAT_VERSION",
    "KIND",
    "QUARANTINE",
    "SOURCES",
    "AttributeRanges",
    "KnowledgeBase",
    "Line",
    "Source",
    "base_names",
    "find_base",
    "is_signed_off",
    "open_base",
    "own_folder",
    "read_plan",
    "save_base",
    "seal_base",
    "target_folder",
    "verify_base",
]

KIND: Final = "knowledge-base"
FORMAT_VERSION: Final = 1

CLASSES: Final = "classes.csv"
DESCRIPTIONS: Final = "descriptions.jsonl"
SOURCES: Final = "sources.json"
ATTRIBUTES: Final = "attributes.jsonl"
QUARANTINE: Final = "quarantine.jsonl"


def find_base(name: str | Path) -> Path:
    """Return the folder of a knowledge base: a path, or a name looked up where bases live.

    Looked up in this order: ``./knowledge_base/NAME``, the checkout's ``knowledge_base/``, what
    the installed package brought along.

    Raises:
        ArtifactError: There is none.
    """
    places = [Path(name), *(folder / name for folder in _homes())]
    for place in places:
        if artifact.exists(place):
            return place
    for place in places:
        if journal_path(place).exists():
            raise ArtifactError(
                f"the knowledge base {str(name)!r} is not finished: its build was stopped, and "
                f"what was answered is kept in {journal_path(place)}; run the same `unibind "
                "knowledge build` again, and it goes on from there"
            )
    known = ", ".join(base_names()) or "none"
    raise ArtifactError(
        f"no knowledge base {str(name)!r}; there are: {known}. Give a name "
        "of these or a folder, or make one with `unibind knowledge build` or `import`"
    )


def base_names() -> list[str]:
    """Return the names of the knowledge bases that lie where bases live, sorted."""
    return sorted({path.parent.name for home in _homes() for path in home.glob("*/manifest.json")})


def target_folder(name: str | Path) -> Path:
    """Return where a base called name is written: a path as it is, a name under knowledge_base/.

    Raises:
        InvalidInputError: The name cannot be a folder's name.
    """
    path = Path(name)
    if len(path.parts) > 1 or path.is_absolute():
        return path
    text = str(name)
    if not text or text.startswith(".") or not all(c.isalnum() or c in "-_." for c in text):
        raise InvalidInputError(
            f"{text!r} cannot name a knowledge base; use letters, digits, '-', '_' and '.', or "
            "give a path"
        )
    return Path("knowledge_base") / text


def own_folder(name: str | Path) -> Path:
    """Return where changes of a base are written: where it lies, unless the package brought it.

    Such a one is left as it is, for an upgrade would undo the changes; they go into a copy under
    ``./knowledge_base``, which is found first from then on.

    Raises:
        ArtifactError: There is no such base.
    """
    folder = find_base(name)
    is_brought = folder != Path(name) and folder.parent in _homes()[1:]
    return target_folder(folder.name) if is_brought else folder


def open_base(name: str | Path, *, sealed: bool = True) -> KnowledgeBase:
    """Return the knowledge base of a name or folder.

    Args:
        name: A folder, or a name that `find_base` looks up.
        sealed: Whether a folder that was edited since it was signed is refused.

    Raises:
        ArtifactError: It is missing or damaged, or was edited by hand and not sealed since.
    """
    folder = find_base(name)
    content_id = verify_base(folder) if sealed else ""
    return replace(_read_folder(folder), content_id=content_id)


def verify_base(folder: Path) -> str:
    """Return the content id of a base's folder once every hash is checked.

    Raises:
        ArtifactError: It is damaged, or was edited by hand and not sealed since.
    """
    try:
        manifest = artifact.verify(folder, kind=KIND, format_version=FORMAT_VERSION)
    except ArtifactError as error:
        raise ArtifactError(
            f"{error}. If you edited the knowledge base by hand and mean it, run "
            f"`unibind knowledge seal {folder}` instead"
        ) from error
    return manifest.content_id


def save_base(base: KnowledgeBase, folder: Path) -> KnowledgeBase:
    """Write a base as a folder, whole or not at all, and return it with its content id.

    Raises:
        InvalidInputError: A line's class is not among the classes, or its source is not known.
        ArtifactError: The place cannot be written.
    """
    _check(base)
    params: dict[str, Json] = {"plan": base.plan} if base.plan else {}
    if base.signed_off_by:
        params["signed_off_by"] = base.signed_off_by
    with artifact.writing(
        folder, kind=KIND, format_version=FORMAT_VERSION, params=params
    ) as staging:
        write_classes(staging / CLASSES, base.classes, base.groups)
        write_jsonl(staging / DESCRIPTIONS, map(line_to_json, base.lines))
        write_sources(staging / SOURCES, base.sources)
        if base.attributes:
            write_jsonl(staging / ATTRIBUTES, map(attributes_to_json, base.attributes))
        if base.quarantine:
            write_jsonl(staging / QUARANTINE, map(line_to_json, base.quarantine))
    manifest = artifact.verify(folder, kind=KIND, format_version=FORMAT_VERSION)
    return replace(base, name=folder.name, content_id=manifest.content_id)


def seal_base(name: str | Path) -> KnowledgeBase:
    """Check a folder that was edited by hand and sign it anew.

    Classes that stand only in descriptions.jsonl are added to classes.csv.

    Raises:
        ArtifactError: A file is not readable; the message has its line.
    """
    folder = find_base(name)
    base = _read_folder(folder)
    classes = tuple(dict.fromkeys([*base.classes, *(line.class_name for line in base.lines)]))
    return save_base(replace(base, classes=classes), folder)


def read_plan(folder: Path) -> Mapping[str, Json]:
    """Return what the last build of the base in a folder was asked for; empty if unknown."""
    return dict(_read_params(folder).get("plan", {}))


def is_signed_off(folder: Path) -> bool:
    """Return whether a person vouches for all lines of the base in a folder."""
    return bool(_read_params(folder).get("signed_off_by"))


def _read_params(folder: Path) -> dict[str, Json]:
    try:
        manifest = json.loads((folder / artifact.MANIFEST).read_text(encoding="utf-8"))
        return dict(manifest["params"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # a manifest that cannot be read is for `verify_base` to report


def _homes() -> list[Path]:
    return [
        Path("knowledge_base"),
        Path(__file__).resolve().parents[2] / "knowledge_base",
        Path(sysconfig.get_path("data")) / "share" / "unibind" / "knowledge_base",
    ]


def _read_folder(folder: Path) -> KnowledgeBase:
    try:
        classes, groups = read_classes(folder / CLASSES)
        lines = _read_lines(folder / DESCRIPTIONS, groups)
        quarantine = _read_lines(folder / QUARANTINE, groups, optional=True)
        attributes = _read_attributes(folder / ATTRIBUTES)
    except (InvalidInputError, OSError) as error:
        raise ArtifactError(f"the knowledge base {folder} is damaged: {error}") from error
    sources = read_sources(folder / SOURCES)
    params = _read_params(folder)
    return KnowledgeBase(
        name=folder.name,
        classes=classes,
        lines=lines,
        groups=groups,
        sources=sources,
        attributes=attributes,
        quarantine=quarantine,
        plan=params.get("plan", {}),
        signed_off_by=params.get("signed_off_by", ""),
    )


def _read_lines(
    path: Path, groups: Mapping[str, str], *, optional: bool = False
) -> tuple[Line, ...]:
    if optional and not path.is_file():
        return ()
    return tuple(
        line_from_json(row, groups=groups, where=f"{path}, line {number}")
        for number, row in read_jsonl(path)
    )


def _read_attributes(path: Path) -> tuple[AttributeRanges, ...]:
    if not path.is_file():
        return ()
    return tuple(
        attributes_from_json(row, where=f"{path}, line {number}")
        for number, row in read_jsonl(path)
    )


def _check(base: KnowledgeBase) -> None:
    classes = set(base.classes)
    for line in (*base.lines, *base.quarantine):
        if line.class_name not in classes:
            raise InvalidInputError(
                f"a line belongs to the class {line.class_name!r}, which is not among the "
                f"{len(classes)} classes of {base.name!r}; add the class or correct the line"
            )
        if line.source not in base.sources and line.source != HAND:
            raise InvalidInputError(
                f"a line of {line.class_name!r} names the source {line.source!r}, which "
                f"{base.name!r} does not know; add it to {SOURCES}"
            )
    unreviewed = [row for row, line in enumerate(base.lines, start=1) if not line.is_reviewed]
    if base.signed_off_by and unreviewed:
        raise InvalidInputError(
            f"{base.name!r} was signed off by {base.signed_off_by!r} and takes no unreviewed line, "
            f"but line {unreviewed[0]} is one (of {len(unreviewed)}); accept or reject them, or "
            f"withdraw the signature: `unibind knowledge sign-off {base.name} --withdraw`"
        )
