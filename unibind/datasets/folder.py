"""A folder of classes: each file's class is the name of the folder that it lies in."""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from unibind.datasets.items import Dataset, LabelledItem
from unibind.errors import InvalidInputError

__all__ = ["read_folder"]


def read_folder(folder: Path, *, suffixes: Collection[str] | None = None) -> Dataset:
    """Return the files below a folder, with the name of their own folder as label.

    ``animals/cats/tom.png`` has the label ``cats`` and the group ``animals``; a file that lies
    in `folder` itself has neither. Hidden files, files of other suffixes and what is no file (a
    pipe, say) are left out and counted. A file that cannot be read is still listed: whoever reads
    the files says so. Links to files are followed, links to folders are not.

    Args:
        folder: The folder.
        suffixes: File name endings to keep, with the dot, in any case; None keeps every file.

    Raises:
        InvalidInputError: There is no such folder, it cannot be listed, or no file is left.
    """
    wanted = None if suffixes is None else {suffix.lower() for suffix in suffixes}
    skipped: Counter[str] = Counter()
    items = []
    for path in _files(folder, skipped):
        if wanted is not None and path.suffix.lower() not in wanted:
            skipped[f"suffix {_legible(path.suffix.lower()) or '(none)'}"] += 1
            continue
        inside = path.relative_to(folder)
        above = [_legible(name) for name in inside.parts[:-1]]
        items.append(
            LabelledItem(
                path,
                label=above[-1] if above else None,
                group="/".join(above[:-1]) or None,
                key=_legible(inside.as_posix()),
            )
        )
    if not items:
        seen = ", ".join(f"{reason}: {n}" for reason, n in sorted(skipped.items())) or "it is empty"
        needed = "files" if wanted is None else f"files ending in {', '.join(sorted(wanted))}"
        raise InvalidInputError(f"no {needed} in {folder} ({seen})")
    return Dataset(
        _legible(folder.resolve().name), tuple(items), source=str(folder), skipped=dict(skipped)
    )


def _files(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    def cannot_list(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise InvalidInputError(
                f"cannot list the folder {folder}: {error.strerror}; correct the path"
            ) from error
        skipped["folder that cannot be listed"] += 1

    for parent, folders, names in os.walk(folder, onerror=cannot_list):
        skipped["hidden"] += sum(name.startswith(".") for name in (*folders, *names))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if _could_block(path):
                skipped["not a file"] += 1
            else:
                yield path
    if not skipped["hidden"]:
        del skipped["hidden"]


def _could_block(path: Path) -> bool:
    """Return whether to open path might wait for ever: a pipe, a socket, a device."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a dangling link, no permission: reading it fails at once
        return False


def _legible(name: str) -> str:
    """Return a file's name as text that can be printed and stored, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
