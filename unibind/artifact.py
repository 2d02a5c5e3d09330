"""Folders that are whole or absent: written beside, synced, then renamed; verified when opened.

An artefact is a folder with a ``manifest.json`` that names its kind, its format version, what it
was made from and the hash of every file in it. What lies on disk is either all of that or nothing:

    with artifact.writing(path, kind="head", format_version=1, space=space) as folder:
        (folder / "head.safetensors").write_bytes(...)
    manifest = artifact.verify(path, kind="head", format_version=1)
"""

import contextlib
import errno
import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from unibind.atomic import read_steadily, replacing_file, replacing_folder, true_place
from unibind.errors import ArtifactError
from unibind.types import Json, SpaceId

__all__ = ["FileEntry", "Manifest", "exists", "sha256_of", "verify", "write_file", "writing"]

MANIFEST = "manifest.json"
_REMEDY = "delete the folder and make it again"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an artefact.

    Attributes:
        sha256: Hex hash of its bytes.
        n_bytes: Its size.
    """

    sha256: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artefact is and was made from.

    Attributes:
        kind: ``"head"``, ``"centers"``, ``"knowledge-base"``, ...
        format_version: Version of the folder's layout; a reader knows which ones it reads.
        content_id: Hash of kind, space, parents, params and file hashes: equal ids, equal content.
        space: The space its vectors live in, if it has any.
        parents: Name to content id of what it was made from.
        params: How it was made.
        files: Path inside the folder to hash and size.
        made_with: Version of the program; not part of the content id.
        metrics: Measured when it was made; not part of the content id.
    """

    kind: str
    format_version: int
    content_id: str
    space: SpaceId | None = None
    parents: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Json] = field(default_factory=dict)
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    made_with: str = ""
    metrics: Mapping[str, Json] = field(default_factory=dict)


@contextlib.contextmanager
def writing(
    path: Path,
    *,
    kind: str,
    format_version: int,
    space: SpaceId | None = None,
    parents: Mapping[str, str] | None = None,
    params: Mapping[str, Json] | None = None,
    metrics: Mapping[str, Json] | None = None,
) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well, it becomes the artefact at path.

    An artefact that was at path is replaced; a folder with other files is not. If the block
    raises, or the process dies, what was at path before is still there. Of several writers at
    once the last one wins.

    Args:
        path: Where the artefact shall be; its parents are made.
        kind: What it is.
        format_version: Version of its layout.
        space: The space its vectors live in.
        parents: Name to content id of what it was made from.
        params: How it was made; JSON values.
        metrics: Measured values; JSON values.

    Raises:
        ArtifactError: The disk is full, the place cannot be written, or something else is there.
    """
    try:
        place = true_place(path)
        _check_replaceable(place)
        with replacing_folder(place) as staging:
            yield staging
            files = {
                file.relative_to(staging).as_posix(): FileEntry(
                    sha256_of(file), file.stat().st_size
                )
                for file in sorted(staging.rglob("*"))
                if file.is_file()
            }
            manifest = Manifest(
                kind=kind,
                format_version=format_version,
                content_id=_content_id(kind, space, parents or {}, params or {}, files),
                space=space,
                parents=dict(parents or {}),
                params=dict(params or {}),
                files=files,
                made_with=f"unibind {version('unibind')}",
                metrics=dict(metrics or {}),
            )
            text = json.dumps(asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False)
            (staging / MANIFEST).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ArtifactError(_cannot_write(path, error)) from error


def verify(path: Path, *, kind: str, format_version: int) -> Manifest:
    """Return the manifest of the artefact at path once its version and every hash are checked.

    Args:
        path: The artefact's folder.
        kind: What it must be.
        format_version: The layout that the caller reads.

    Raises:
        ArtifactError: It is missing, of another kind or version, or a file is missing or changed.
    """
    try:
        place = true_place(path)
        return read_steadily(
            place, lambda: _verify(path, place, kind, format_version), failure=ArtifactError
        )
    except OSError as error:
        raise ArtifactError(f"no {kind} can be at {path}: {error}; correct the path") from error


def exists(path: Path) -> bool:
    """Return whether a whole artefact, of any kind, lies at path. Hashes are not checked."""
    try:
        place = true_place(path)
        status = read_steadily(place, (place / MANIFEST).stat, failure=OSError)
    except OSError:  # it is not there, its name is too long, its folder is closed to us
        return False
    return stat.S_ISREG(status.st_mode)


def write_file(path: Path, content: bytes) -> None:
    """Write one file so that a reader sees the old bytes or the new ones, never a part.

    Raises:
        ArtifactError: The disk is full or the place cannot be written.
    """
    try:
        with replacing_file(true_place(path)) as staging:
            staging.write_bytes(content)
    except OSError as error:
        raise ArtifactError(_cannot_write(path, error)) from error


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, place: Path, kind: str, format_version: int) -> Manifest:
    try:
        raw = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        # A later version may have other fields, so this comes before they are looked at.
        _check_kind(path, raw["kind"], kind)
        _check_version(path, raw["format_version"], format_version, raw.get("made_with"))
        files = {name: FileEntry(**entry) for name, entry in raw.pop("files").items()}
        manifest = Manifest(files=files, **raw)
        expected = _content_id(
            manifest.kind, manifest.space, manifest.parents, manifest.params, manifest.files
        )
    except FileNotFoundError:
        raise ArtifactError(
            f"no {kind} at {path}: it has no {MANIFEST}; make it first, or correct the path"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        raise ArtifactError(
            f"{path / MANIFEST} is not a readable manifest ({error!r}); {_REMEDY}"
        ) from error
    for name, entry in files.items():
        _check_file(path, place / name, entry)
    if manifest.content_id != expected:
        raise ArtifactError(f"{path / MANIFEST} was edited (its content id is wrong); {_REMEDY}")
    return manifest


def _check_kind(path: Path, found: Json, needed: str) -> None:
    if found != needed:
        raise ArtifactError(f"{path} holds a {found!r}, a {needed!r} was needed")


def _check_version(path: Path, found: Json, needed: int, made_with: Json) -> None:
    if found != needed:
        raise ArtifactError(
            f"{path} has format version {found}, this unibind reads {needed}; {_REMEDY}, or "
            f"install what made it ({made_with})"
        )


def _check_file(path: Path, file: Path, entry: FileEntry) -> None:
    try:
        if not file.is_file():
            raise ArtifactError(f"{path} lacks its file {file.name!r}; {_REMEDY}")
        is_same = file.stat().st_size == entry.n_bytes and sha256_of(file) == entry.sha256
    except OSError as error:
        raise ArtifactError(f"cannot read {file}: {error}; {_REMEDY}") from error
    if not is_same:
        raise ArtifactError(f"{file} is not the file that was written (hash differs); {_REMEDY}")


def _content_id(
    kind: str,
    space: SpaceId | None,
    parents: Mapping[str, str],
    params: Mapping[str, Json],
    files: Mapping[str, FileEntry],
) -> str:
    content = {
        "kind": kind,
        "space": space,
        "parents": dict(parents),
        "params": dict(params),
        "files": {name: entry.sha256 for name, entry in files.items()},
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check_replaceable(place: Path) -> None:
    try:
        names = {path.name for path in place.iterdir()}
    except FileNotFoundError:
        return
    # Looked at again, because another writer may be replacing it just now.
    if names and MANIFEST not in names and not exists(place):
        raise ArtifactError(
            f"{place} holds other files, which would be lost; choose another place, or move them"
        )


def _cannot_write(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk of {path}; free some and run again (nothing was changed)"
    return f"cannot write {path}: {error}; choose a place that can be written (nothing was changed)"
