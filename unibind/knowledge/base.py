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

import csv
import io
import json
import sysconfig
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Final

from unibind import artifact
from unibind.errors import ArtifactError, InvalidInputError
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
    "attributes_from_json",
    "find_base",
    "is_signed_off",
    "json_line",
    "line_from_json",
    "line_to_json",
    "open_base",
    "read_classes",
    "read_jsonl",
    "read_plan",
    "read_sources",
    "save_base",
    "seal_base",
    "target_folder",
    "verify_base",
    "write_classes",
    "write_jsonl",
    "write_sources",
]

KIND: Final = "knowledge-base"
FORMAT_VERSION: Final = 1

CLASSES: Final = "classes.csv"
DESCRIPTIONS: Final = "descriptions.jsonl"
SOURCES: Final = "sources.json"
ATTRIBUTES: Final = "attributes.jsonl"
QUARANTINE: Final = "quarantine.jsonl"

_STATUSES = ("unreviewed", "accepted", "edited")
_HAND = "hand"  # the source of a line that a person typed into the file


@dataclass(frozen=True, slots=True)
class Source:
    """What many lines share about how they came to be.

    Attributes:
        writer: ``"openai"``, ``"local"``, ``"batch"``, ``"import"`` or ``"hand"``.
        generator: The model's name, or words about it.
        prompt: Id of the prompt file, "" if none of ours was used.
        prompt_version: Version of the prompt file.
        sampling: Temperature, top_p, ... as they were sent; empty if unknown.
        note: Anything else a reader should know.
    """

    writer: str
    generator: str
    prompt: str = ""
    prompt_version: int = 0
    sampling: Mapping[str, Json] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence about a class.

    Attributes:
        class_name: The class, as it stands in classes.csv.
        view: From which side: ``"looks"``, ``"sound"``, ``"shape"``, ...
        text: The sentence.
        source: Key of the base's `KnowledgeBase.sources`.
        group: The class's group, "" if it has none; stored in classes.csv only.
        against: The other class of a contrastive line, else "".
        index: Place among the lines asked for this class and prompt; None if nobody asked.
        attempt: How many times this place had been asked for before.
        seed: Seed that was sent with the call; None if none was.
        status: ``"unreviewed"``, ``"accepted"`` or ``"edited"``.
        reviewer: Who accepted or edited it.
        reason: Why it was taken out; only lines of the quarantine have one.
    """

    class_name: str
    view: str
    text: str
    source: str = _HAND
    group: str = ""
    against: str = ""
    index: int | None = None
    attempt: int = 0
    seed: int | None = None
    status: str = "unreviewed"
    reviewer: str = ""
    reason: str = ""

    @property
    def is_reviewed(self) -> bool:
        """Whether a person accepted or edited it."""
        return self.status != "unreviewed"


@dataclass(frozen=True, slots=True)
class AttributeRanges:
    """What a sensor would measure on about 80 % of a class's typical instances.

    Attributes:
        class_name: The class.
        sensor: Kind of sensor: ``"scan"``, ``"sound"``, ``"wrist imu"``, ``"power meter"``.
        ranges: Attribute name, with its unit in the name, to (low, high).
        source: Key of the base's `KnowledgeBase.sources`.
        n_samples: How many answers were aggregated; 0 if unknown.
        samples: Attribute name to the ranges that were aggregated, if they are known.
    """

    class_name: str
    sensor: str
    ranges: Mapping[str, tuple[float, float]]
    source: str = _HAND
    n_samples: int = 0
    samples: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class KnowledgeBase:
    """Classes with the sentences and attribute ranges that stand for them.

    Attributes:
        name: How it is called; the folder's name.
        classes: Names in order.
        lines: All sentences, in the order of descriptions.jsonl.
        groups: Class name to group, for classes that have one.
        sources: Id to provenance.
        attributes: Ranges per class and sensor.
        quarantine: Lines that were taken out.
        plan: What the last build was asked for; empty if nothing was built.
        signed_off_by: Who vouches for all of it, "" if nobody; it then takes no unreviewed line.
        content_id: Hash of the stored content; "" if it was never stored.
    """

    name: str
    classes: tuple[str, ...]
    lines: tuple[Line, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    attributes: tuple[AttributeRanges, ...] = ()
    quarantine: tuple[Line, ...] = ()
    plan: Mapping[str, Json] = field(default_factory=dict)
    signed_off_by: str = ""
    content_id: str = ""

    @property
    def views(self) -> tuple[str, ...]:
        """The views that occur, in order of first use."""
        return tuple(dict.fromkeys(line.view for line in self.lines))

    @cached_property
    def lines_by_class(self) -> Mapping[str, tuple[Line, ...]]:
        """Class name to its lines, in stored order; every class is a key."""
        grouped: dict[str, list[Line]] = {name: [] for name in self.classes}
        for line in self.lines:
            grouped[line.class_name].append(line)
        return {name: tuple(lines) for name, lines in grouped.items()}

    def texts(self, class_name: str, *, views: Sequence[str] | None = None) -> list[str]:
        """Return the sentences of a class, of all views or of some.

        Raises:
            InvalidInputError: The base has no such class, or no line has one of the views.
        """
        if class_name not in self.lines_by_class:
            raise InvalidInputError(
                f"the knowledge base {self.name!r} has no class {class_name!r}; "
                f"`unibind knowledge show {self.name}` lists its {len(self.classes)} classes"
            )
        if unknown := set(views or ()) - set(self.views):
            raise InvalidInputError(
                f"the knowledge base {self.name!r} has no view {', '.join(sorted(unknown))}; "
                f"it has {', '.join(self.views)}"
            )
        return [
            line.text
            for line in self.lines_by_class[class_name]
            if views is None or line.view in views
        ]


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
    known = sorted({path.parent.name for home in _homes() for path in home.glob("*/manifest.json")})
    raise ArtifactError(
        f"no knowledge base {str(name)!r}; there are: {', '.join(known) or 'none'}. Give a name "
        "of these or a folder, or make one with `unibind knowledge build` or `import`"
    )


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
            write_jsonl(staging / ATTRIBUTES, map(_attributes_to_json, base.attributes))
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


_LINE_FIELDS = tuple(item.name for item in fields(Line) if item.name != "group")


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


def attributes_from_json(
    row: Mapping[str, Json], *, where: str, source: str = _HAND
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


def _attributes_to_json(entry: AttributeRanges) -> dict[str, Json]:
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


def _check(base: KnowledgeBase) -> None:
    classes = set(base.classes)
    for line in (*base.lines, *base.quarantine):
        if line.class_name not in classes:
            raise InvalidInputError(
                f"a line belongs to the class {line.class_name!r}, which is not among the "
                f"{len(classes)} classes of {base.name!r}; add the class or correct the line"
            )
        if line.source not in base.sources and line.source != _HAND:
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


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" or character == " "
