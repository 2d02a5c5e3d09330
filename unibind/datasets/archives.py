"""Where a set's archive is taken from: a mirror folder, an earlier download, or the registry.

Debian keeps one version of a package in a release, and point releases move it. So another version
than the pinned one is taken, but never silently: it is logged, and recorded with the set.
"""

import logging
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from unibind.artifact import sha256_of
from unibind.errors import FetchError
from unibind.sources import Package, cache_dir, download, find_archive
from unibind.types import ProgressCallback

__all__ = ["Archive", "bring"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Archive:
    """A package's archive on this machine.

    Attributes:
        path: The file.
        package: What it is, with the version that it really has.
        sha256: Hex hash of its bytes.
        is_ours: Whether we downloaded it and may remove it again.
    """

    path: Path
    package: Package
    sha256: str
    is_ours: bool

    def discard(self) -> None:
        """Remove it if it is only our copy; a mirror keeps its files."""
        if self.is_ours:
            self.path.unlink(missing_ok=True)


def bring(package: Package, *, progress: ProgressCallback | None = None) -> Archive:
    """Return a package's archive: from the mirror, from an earlier run, or downloaded now.

    The mirror is the folder that UNIBIND_DATA_DIR names; nothing in it is changed.

    Raises:
        FetchError: It is nowhere to be had. The message tells how to bring it by hand.
    """
    downloads = cache_dir() / "downloads"
    mirror = os.environ.get("UNIBIND_DATA_DIR")
    folders = [Path(mirror).expanduser(), downloads] if mirror else [downloads]
    for folder in folders:
        if path := find_archive(package, folder):
            return _archive(path, package, is_ours=folder == downloads)
        if wrong := find_archive(replace(package, sha256=None), folder):
            _log.warning("%s is not used: its sha256 is not %s", wrong, package.sha256)
    for folder in folders:
        if found := _other_version(package, folder):
            return _archive(*found, is_ours=folder == downloads)
    try:
        path = download(package, downloads, progress=progress)
    except FetchError:
        offered = _offered(package)
        if offered is None or offered.version == package.version:
            raise
        path, package = download(offered, downloads, progress=progress), offered
        _tell(package)
    return _archive(path, package, is_ours=True)


def _archive(path: Path, package: Package, *, is_ours: bool) -> Archive:
    return Archive(path, package, package.sha256 or sha256_of(path), is_ours)


def _other_version(package: Package, folder: Path) -> tuple[Path, Package] | None:
    """Return a Debian package of any other version that lies in folder."""
    if package.manager != "apt":
        return None
    for path in sorted(folder.glob(f"{package.name}_*.deb"), reverse=True):
        version = path.stem.split("_")[1].replace("%3a", ":")
        if version != package.version:
            other = replace(package, version=version, sha256=None, n_bytes=None)
            _tell(other)
            return path, other
    return None


def _offered(package: Package) -> Package | None:
    """Return the version of a Debian package that this machine's apt would install."""
    program = shutil.which("apt-cache")
    if package.manager != "apt" or program is None:
        return None
    finished = subprocess.run(
        [program, "show", "--no-all-versions", package.name],
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    fields = dict(re.findall(r"^(Version|SHA256|Size): (\S+)$", finished.stdout, re.MULTILINE))
    if "Version" not in fields:
        return None
    return replace(
        package,
        version=fields["Version"],
        sha256=fields.get("SHA256"),
        n_bytes=int(fields["Size"]) if "Size" in fields else None,
    )


def _tell(package: Package) -> None:
    _log.warning(
        "taking %s, another version than the one this set was checked with; "
        "its items may differ, so name the version beside any result",
        package,
    )
