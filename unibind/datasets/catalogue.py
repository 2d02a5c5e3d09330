"""From a name or a path to a data set."""

import difflib
import os
from collections.abc import Collection
from pathlib import Path

from unibind.datasets.appliances import APPLIANCES
from unibind.datasets.basic_motions import BASIC_MOTIONS
from unibind.datasets.emoji import EMOJI
from unibind.datasets.emoji_motion import EMOJI_MOTION
from unibind.datasets.fashion_mnist import FASHION_MNIST
from unibind.datasets.folder import read_folder
from unibind.datasets.furniture import FURNITURE
from unibind.datasets.furniture_shapes import FURNITURE_SHAPES
from unibind.datasets.items import Dataset
from unibind.datasets.learning_sounds import LEARNING_SOUNDS
from unibind.datasets.manifest import read_manifest
from unibind.datasets.named import NamedSet, fetch_set, open_set
from unibind.datasets.prompts import PROMPTS_EN
from unibind.datasets.stamp_sounds import STAMP_SOUNDS
from unibind.datasets.stamps import STAMPS
from unibind.errors import InvalidInputError
from unibind.types import ProgressCallback

__all__ = ["SETS", "fetch", "named_set", "open_dataset"]

_SETS = (
    APPLIANCES,
    BASIC_MOTIONS,
    EMOJI,
    EMOJI_MOTION,
    FASHION_MNIST,
    FURNITURE,
    FURNITURE_SHAPES,
    LEARNING_SOUNDS,
    PROMPTS_EN,
    STAMP_SOUNDS,
    STAMPS,
)
SETS = {named.name: named for named in _SETS}


def open_dataset(name_or_path: str | Path, *, suffixes: Collection[str] | None = None) -> Dataset:
    """Return a named set that was fetched, or what a folder of classes or a manifest holds.

    A name wins over a folder of the same name; ``./stamps`` is always the folder.

    Args:
        name_or_path: One of `SETS`, a folder (see `read_folder`) or a manifest file (see
            `read_manifest`).
        suffixes: Which files of a folder are items; None keeps all.

    Raises:
        InvalidInputError: It is neither, or what lies there cannot be read.
        FetchError: It is a named set that was not fetched or is damaged.
    """
    path = Path(name_or_path).expanduser()
    if isinstance(name_or_path, str) and name_or_path in SETS:
        return open_set(SETS[name_or_path])
    if path.is_dir():
        return read_folder(path, suffixes=suffixes)
    if path.exists():
        return read_manifest(path)
    if isinstance(name_or_path, Path) or "/" in name_or_path or os.sep in name_or_path:
        raise InvalidInputError(f"there is nothing at {path}; correct the path")
    raise InvalidInputError(f"there is no file or folder {path}, and {_no_set(name_or_path)}")


def fetch(name: str, *, progress: ProgressCallback | None = None) -> Dataset:
    """Return a named set, bringing it to this machine first if need be.

    Args:
        name: One of `SETS`.
        progress: Called with bytes downloaded and bytes in all.

    Raises:
        InvalidInputError: There is no such set.
        FetchError: A package cannot be brought or is damaged.
        ArtifactError: The disk is full or the cache cannot be written.
    """
    return fetch_set(named_set(name), progress=progress)


def named_set(name: str) -> NamedSet:
    """Return what is known about a set of this name, fetched or not.

    Raises:
        InvalidInputError: There is no such set.
    """
    if name not in SETS:
        raise InvalidInputError(_no_set(name))
    return SETS[name]


def _no_set(name: str) -> str:
    near = difflib.get_close_matches(name, SETS, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SETS)}"
    return f"no data set is called {name!r}; {advice}"
