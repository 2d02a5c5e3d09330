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
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from unibind.errors import ArtifactError
from unibind.types import Json, SpaceId

__all__ = ["FileEntry", "Manifest", "exists", "sha256_of", "verify", "write_file", "writing"]

MANIFEST = "manifest.json"
_WRITING = ".writing-"
_REPLACED = ".replaced"


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

    An artefact that was at path is replaced. If the block raises, or the process dies, what was
    at path before is still there.

    Args:
        path: Where the artefact shall be; its parents are made.
        kind: What it is.
        format_version: Version of its layout.
        space: The space its vectors live in.
        parents: Name to content id of what it was made from.
        params: How it was made; JSON values.
        metrics: Measured values; JSON values.

    Raises:
        ArtifactError: The disk is full or the place cannot be written.
    """
    staging = path.with_name(f".{path.name}{_WRITING}{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        _sweep(path)
        staging.mkdir(parents=True)
        yield staging
        files = {
            file.relative_to(staging).as_posix(): FileEntry(sha256_of(file), file.stat().st_size)
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
        for file in staging.rglob("*"):
            _sync(file)
        _sync(staging)
        _swap_in(staging, path)
    except OSError as error:
        raise ArtifactError(_cannot_write(path, error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def verify(path: Path, *, kind: str, format_version: int) -> Manifest:
    """Return the manifest of the artefact at path once its version and every hash are checked.

    Args:
        path: The artefact's folder.
        kind: What it must be.
        format_version: The layout that the caller reads.

    Raises:
        ArtifactError: It is missing, of another kind or version, or a file is missing, changed
            or not listed.
    """
    _restore(path)
    remedy = "delete the folder and make it again"
    try:
        raw = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        files = {name: FileEntry(**entry) for name, entry in raw.pop("files").items()}
        manifest = Manifest(files=files, **raw)
    except FileNotFoundError:
        raise ArtifactError(
            f"no {kind} at {path}: it has no {MANIFEST}; make it first, or correct the path"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise ArtifactError(
            f"{path / MANIFEST} is not a readable manifest ({error}); {remedy}"
        ) from error
    if manifest.kind != kind:
        raise ArtifactError(f"{path} holds a {manifest.kind!r}, a {kind!r} was needed")
    if manifest.format_version != format_version:
        raise ArtifactError(
            f"{path} has format version {manifest.format_version}, this unibind reads "
            f"{format_version}; {remedy}, or install what made it ({manifest.made_with})"
        )
    for name, entry in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise ArtifactError(f"{path} lacks its file {name!r}; {remedy}")
        if file.stat().st_size != entry.n_bytes or sha256_of(file) != entry.sha256:
            raise ArtifactError(f"{file} is not the file that was written (hash differs); {remedy}")
    expected = _content_id(
        manifest.kind, manifest.space, manifest.parents, manifest.params, manifest.files
    )
    if manifest.content_id != expected:
        raise ArtifactError(f"{path / MANIFEST} was edited (its content id is wrong); {remedy}")
    return manifest


def exists(path: Path) -> bool:
    """Return whether a whole artefact, of any kind, lies at path. Hashes are not checked."""
    _restore(path)
    return (path / MANIFEST).is_file()


def write_file(path: Path, content: bytes) -> None:
    """Write one file so that a reader sees the old bytes or the new ones, never a part.

    Raises:
        ArtifactError: The disk is full or the place cannot be written.
    """
    staging = path.with_name(f".{path.name}{_WRITING}{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging.write_bytes(content)
        _sync(staging)
        staging.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise ArtifactError(_cannot_write(path, error)) from error
    finally:
        staging.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _swap_in(staging: Path, path: Path) -> None:
    # A full folder cannot be renamed over another one. Between the two renames the old one
    # waits under a name that `_restore` knows, so a crash there loses nothing.
    old = _replaced(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    staging.rename(path)
    _sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _restore(path: Path) -> None:
    old = _replaced(path)
    if old.is_dir() and not path.exists():
        with contextlib.suppress(OSError):  # another process was quicker
            old.rename(path)


def _sweep(path: Path) -> None:
    """Remove what dead processes left half-written beside path."""
    _restore(path)
    for leftover in path.parent.glob(f".{path.name}{_WRITING}*"):
        pid = leftover.name.rpartition(_WRITING)[2].partition("-")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _replaced(path: Path) -> Path:
    return path.with_name(f".{path.name}{_REPLACED}")


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    # Windows wants a writable handle to flush a file; POSIX takes a folder only for reading.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk of {path}; free some and run again (nothing was changed)"
    return f"cannot write {path}: {error}; choose a place that can be written (nothing was changed)"
