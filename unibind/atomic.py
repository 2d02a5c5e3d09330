"""Files and folders that change at once: what lies at a place is the old one or the new one.

What is new is written beside its place, under a name with the writer's process id, and renamed
when it is whole. So a reader never sees a part, and what a dead writer left can be told apart.
"""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

__all__ = ["read_steadily", "replacing_file", "replacing_folder", "true_place"]

_WRITING = ".writing-"
_REPLACED = ".replaced-"
_TRIES = 100

T = TypeVar("T")


def true_place(path: Path) -> Path:
    """Return where a path leads: a link's target is replaced, not the link, and "." has a name.

    Raises:
        OSError: The path has a NUL character.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise OSError(errno.EINVAL, f"not a path ({error})") from error


@contextlib.contextmanager
def replacing_folder(place: Path) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well, it is synced and stands at place.

    If the block raises, or the process dies, what was at place is still there. Of several writers
    at once the last one wins.

    Raises:
        OSError: The disk is full or the place cannot be written.
    """
    staging = _beside(place, _WRITING)
    try:
        _sweep(place)
        staging.mkdir(parents=True)
        yield staging
        for path in staging.rglob("*"):
            _sync(path)
        _sync(staging)
        _swap_in(staging, place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def replacing_file(place: Path) -> Iterator[Path]:
    """Yield the path of a file to write; when the block ends well, it stands at place, synced.

    Raises:
        OSError: The disk is full or the place cannot be written.
    """
    staging = _beside(place, _WRITING)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield staging
        _sync(staging)
        staging.replace(place)
        _sync(place.parent)
    finally:
        with contextlib.suppress(OSError):  # or it would hide the error that brought us here
            staging.unlink(missing_ok=True)


def read_steadily(place: Path, read: Callable[[], T], *, failure: type[Exception]) -> T:
    """Return what `read` returns of a folder that was not replaced meanwhile.

    Args:
        place: The folder. If a writer died between its two renames, the old one is brought back.
        read: Reads it.
        failure: What `read` raises if what it finds does not fit together.
    """
    for n_left in reversed(range(_TRIES)):
        _restore(place)
        found = _identity(place)
        try:
            return read()
        except failure:
            is_steady = _identity(place) == found
            is_away = found is None and _leftovers(place, _REPLACED)
            if not n_left or (is_steady and not is_away):
                raise
    raise AssertionError("the last try returns or raises")


def _swap_in(staging: Path, place: Path) -> None:
    # A full folder cannot be renamed over another one: what is there steps aside first, under a
    # name from which `_restore` brings it back. So a crash between the two renames loses nothing.
    # If another writer or a restoring reader is quicker, its folder steps aside as well.
    aside: list[Path] = []
    for n_left in reversed(range(_TRIES)):
        if place.exists():
            aside.append(_beside(place, _REPLACED))
            with contextlib.suppress(FileNotFoundError):
                place.rename(aside[-1])
        try:
            staging.rename(place)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not n_left:
                _restore(place)
                raise
    _sync(place.parent)
    for old in aside:
        shutil.rmtree(old, ignore_errors=True)


def _restore(place: Path) -> None:
    """Bring back a folder that stepped aside for a new one that never came."""
    if _identity(place) is not None:
        return
    for old in sorted(_leftovers(place, _REPLACED), key=_changed_at, reverse=True):
        with contextlib.suppress(OSError):  # another process was quicker
            old.rename(place)
            return


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = place.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def _sweep(place: Path) -> None:
    """Remove what dead processes left half-written, or replaced, beside place."""
    _restore(place)
    for suffix in (_WRITING, _REPLACED):
        for leftover in _leftovers(place, suffix):
            pid = leftover.name.rpartition(suffix)[2].partition("-")[0]
            if pid.isdigit() and not _is_running(int(pid)):
                shutil.rmtree(leftover, ignore_errors=True)


def _leftovers(place: Path, suffix: str) -> list[Path]:
    prefix = f".{place.name}{suffix}"
    try:
        return [path for path in place.parent.iterdir() if path.name.startswith(prefix)]
    except OSError:  # there is no parent yet
        return []


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_ctime_ns
    except OSError:
        return 0


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


def _beside(place: Path, suffix: str) -> Path:
    return place.with_name(f".{place.name}{suffix}{os.getpid()}-{uuid.uuid4().hex[:8]}")


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    # Windows wants a writable handle to flush a file; POSIX takes a folder only for reading.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
