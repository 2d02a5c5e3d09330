"""Takes chosen files out of a wheel, zip, npm tarball or Debian package, and trusts none."""

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from unibind.errors import FetchError, UnibindError

__all__ = ["extract"]

_CHUNK = 1 << 20
# Weights and pictures hardly shrink, text shrinks tenfold; a bomb shrinks a thousandfold.
_MAX_RATIO = 100
_SMALL = 64 << 20


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    is_file: bool
    open: Callable[[], Any]  # a stream of its bytes


class _Budget:
    """Counts bytes that came out of an archive and stops at the limit."""

    def __init__(self, archive: Path, limit: int) -> None:
        self._archive = archive
        self._limit = limit
        self._left = limit

    def spend(self, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise FetchError(
                f"{self._archive} unpacks to more than {self._limit:,} bytes, which no honest "
                "archive of its size does; nothing was unpacked"
            )


def extract(
    archive: Path,
    into: Path,
    *,
    select: Callable[[str], str | None],
    max_bytes: int = 4 << 30,
) -> list[Path]:
    """Unpack the chosen files of an archive and return their paths, in the archive's order.

    The kind (zip or wheel, .tgz, .deb) is read from the first bytes, not from the name. If
    anything is wrong, no file of this call stays.

    Args:
        archive: The archive.
        into: The folder that the files go into; made if need be.
        select: Called with each file's path inside the archive, with "/" and without a leading
            "./"; returns the path below `into` to write it to, or None to leave it out.
        max_bytes: At most this much is unpacked; a small archive's limit is lower still.

    Raises:
        FetchError: The archive is damaged or of no known kind, a path leads out of it, a chosen
            file is a link, two chosen files want one place, it unpacks to far too much, or the
            disk is full.
    """
    written: dict[str, Path] = {}
    try:
        limit = min(max_bytes, _SMALL + _MAX_RATIO * archive.stat().st_size)
        budget = _Budget(archive, limit)
        with (
            archive.open("rb") as file,
            contextlib.closing(_members(file, budget)) as members,
        ):
            for member in members:
                target = _chosen(member, archive, select)
                if target is None:
                    continue
                if target in written:
                    raise FetchError(f"{archive} has two files for {target!r}; do not trust it")
                with member.open() as content:
                    _write(content, into / target)
                written[target] = into / target
    except BaseException as error:
        for path in written.values():
            path.unlink(missing_ok=True)
        if isinstance(error, UnibindError) or not isinstance(error, (OSError, *_DAMAGE)):
            raise
        raise FetchError(_explain(error, archive, into)) from error
    return list(written.values())


# RuntimeError and NotImplementedError: how zipfile says "encrypted" and "unknown compression".
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
)


def _explain(error: Exception, archive: Path, into: Path) -> str:
    # Without a number the system did not say it: gzip and pyarrow found bad bytes.
    if not isinstance(error, OSError) or error.errno is None:
        return (
            f"{archive} is damaged or not an archive ({error or type(error).__name__}); "
            "delete it and fetch again"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space left on the disk of {into}; free some and run again"
    return f"cannot unpack {archive} into {into}: {error}"


def _members(file: IO[bytes], budget: _Budget) -> Generator[_Member, None, None]:
    start = file.read(8)
    file.seek(0)
    if start.startswith(b"PK"):
        yield from _zip_members(file, budget)
    elif start.startswith(b"\x1f\x8b"):
        yield from _tar_members(_DECOMPRESSORS[".gz"](file), budget)
    elif start == _AR_MAGIC:
        yield from _tar_members(_open_data_of_deb(file), budget)
    else:
        raise EOFError(f"it starts with {start!r}; a zip, .tgz or .deb was needed")


def _chosen(member: _Member, archive: Path, select: Callable[[str], str | None]) -> str | None:
    """Return the path below the target folder, or None; refuse what would leave it."""
    name = member.name.removeprefix("./")
    target = None if _leads_out(name) else select(name)
    if _leads_out(name) or (target is not None and _leads_out(target)):
        raise FetchError(
            f"{archive} holds the path {name!r}, which leads out of it; do not trust it"
        )
    if target is not None and not member.is_file:
        raise FetchError(f"{name!r} in {archive} is a link or a device; a file was needed")
    return target


def _leads_out(name: str) -> bool:
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return "\0" in name or any(path.anchor or ".." in path.parts for path in paths)


def _write(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _zip_members(file: IO[bytes], budget: _Budget) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(file) as opened:
        for entry in opened.infolist():
            mode = entry.external_attr >> 16  # zero where the zip was not made on Unix
            is_file = not stat.S_IFMT(mode) or stat.S_ISREG(mode)
            if not entry.is_dir():
                yield _Member(entry.filename, is_file, partial(_open_entry, opened, entry, budget))


def _open_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: _Budget) -> Any:
    return _Metered(opened.open(entry), budget)


def _tar_members(stream: IO[bytes], budget: _Budget) -> Generator[_Member, None, None]:
    # The whole stream is metered, also the files that nobody chose: a bomb hides there.
    metered: Any = _Metered(stream, budget)
    with tarfile.open(fileobj=metered, mode="r|") as opened:
        for entry in opened:
            is_file = entry.isreg() and not entry.issparse()
            if not entry.isdir():
                yield _Member(entry.name, is_file, partial(opened.extractfile, entry))


class _Metered(io.RawIOBase):
    """A stream whose every byte is counted."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream = stream
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        self._budget.spend(len(content))
        buffer[: len(content)] = content
        return len(content)


_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60


def _open_data_of_deb(file: IO[bytes]) -> Any:
    """Return the tar stream of a Debian package: the ar member data.tar.*, decompressed."""
    file.seek(len(_AR_MAGIC))
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("ascii").rstrip(" /")
        n_bytes = int(header[48:58])
        stem, _, compression = name.partition("data.tar")
        if not stem and compression in _DECOMPRESSORS:
            return _DECOMPRESSORS[compression](io.BufferedReader(_Slice(file, n_bytes)))
        file.seek(n_bytes + n_bytes % 2, io.SEEK_CUR)  # members start at even offsets
    raise EOFError("it has no data.tar in a known compression")


class _Slice(io.RawIOBase):
    """The next n_bytes of a file."""

    def __init__(self, file: IO[bytes], n_bytes: int) -> None:
        self._file = file
        self._left = n_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(min(len(buffer), self._left))
        self._left -= len(content)
        buffer[: len(content)] = content
        return len(content)


def _open_zstd(stream: IO[bytes]) -> Any:
    import pyarrow  # Python has no zstd of its own before 3.14

    return pyarrow.input_stream(stream, compression="zstd")


_DECOMPRESSORS: dict[str, Callable[[Any], Any]] = {
    "": lambda stream: stream,
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstd,
}
