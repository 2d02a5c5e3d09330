"""Fashion-MNIST: small grey pictures of clothes, from which event recordings are simulated.

Of the 70,000 pictures 20,000 are kept, a thousand of each class of either split, the first ones:
one file each, they are enough for what is shown here, and quick to check at each opening.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.errors import FetchError
from unibind.sources import Package, extract

__all__ = ["FASHION_MNIST"]

_ROOT = "usr/share/datasets/fashion-mnist"
_SPLITS = {"train": "train", "t10k": "test"}
_PER_CLASS = 1000
_CLASSES = (
    "t-shirt", "trousers", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
"""Names of the classes 0 to 9, as one would say them."""


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    from PIL import Image  # only to unpack

    (archive,) = archives

    def select(member: str) -> str | None:
        path = PurePosixPath(member.removeprefix("./"))
        return path.name if path.is_relative_to(_ROOT) and path.suffix == ".gz" else None

    extract(archive, scratch, select=select)
    for prefix, split in _SPLITS.items():
        pictures = _read_idx(scratch / f"{prefix}-images-idx3-ubyte.gz")
        labels = _read_idx(scratch / f"{prefix}-labels-idx1-ubyte.gz")
        n_kept: Counter[str] = Counter()
        (folder / split).mkdir(parents=True, exist_ok=True)
        for n, (picture, number) in enumerate(zip(pictures, labels.tolist(), strict=True)):
            label = _CLASSES[number]
            if n_kept[label] == _PER_CLASS:
                continue
            n_kept[label] += 1
            path = folder / split / f"{n:05}.png"
            Image.fromarray(picture).save(path)
            yield LabelledItem(path, label=label, split=split)


def _read_idx(file: Path) -> npt.NDArray[np.uint8]:
    """Return the bytes of an IDX file as an array of the shape that its header says."""
    try:
        content = gzip.decompress(file.read_bytes())
        n_axes = content[3]
        shape = np.frombuffer(content, ">u4", count=n_axes, offset=4).tolist()
        return np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes).reshape(shape)
    except (OSError, EOFError, zlib.error, IndexError, ValueError) as error:
        raise FetchError(
            f"{file.name} of the package is missing or damaged ({error}); fetch the set again"
        ) from error


FASHION_MNIST = NamedSet(
    name="fashion-mnist",
    what="28 x 28 grey pictures of clothes in ten classes, 1,000 of each in train and in test",
    packages=(
        Package(
            "apt",
            "dataset-fashion-mnist",
            "0.0~git20200523.55506a9-1",
            "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
            30_900_652,
        ),
    ),
    n_items=20_000,
    licence="MIT",
    attribution="Fashion-MNIST, Zalando SE",
    unpack=_unpack,
)
