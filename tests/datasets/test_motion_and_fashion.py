"""The sets that video and event recordings are shown with, fetched for real."""

import gzip
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from unibind.datasets import SETS, fetch
from unibind.datasets.fashion_mnist import FASHION_MNIST
from unibind.errors import FetchError


def test_emoji_motion_are_animations_named_like_the_emoji_pictures(emoji):
    motion = fetch("emoji-motion")
    assert len(motion) == SETS["emoji-motion"].n_items
    labels = [item.label for item in motion.items]
    assert len(set(labels)) == len(labels)
    assert set(labels) <= {item.label for item in emoji.items}
    for item in motion.items[::40]:
        with Image.open(item.path) as picture:
            assert picture.n_frames == item.extra["n_frames"] > 1
    rat = next(item for item in motion.items if item.key == "1f400.webp")
    assert (rat.label, rat.group, rat.extra["emoji"]) == ("rat", "animal-mammal", "🐀")


def test_fashion_mnist_has_a_thousand_pictures_of_each_class_in_each_split():
    fashion = fetch("fashion-mnist")
    assert len(fashion) == SETS["fashion-mnist"].n_items
    counts = Counter((item.split, item.label) for item in fashion.items)
    assert len(counts) == 20
    assert set(counts.values()) == {1000}
    first = next(item for item in fashion.items if item.key == "train/00000.png")
    assert first.label == "ankle boot"
    with Image.open(first.path) as picture:
        assert np.asarray(picture).shape == (28, 28)
        assert np.asarray(picture).sum() == 76247


def test_a_damaged_idx_file_is_told_with_its_name(tmp_path):
    header = bytes([0, 0, 8, 3]) + np.array([1000, 28, 28], ">u4").tobytes()
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr(
            "usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
            gzip.compress(header + b"\0" * 9),
        )
    with pytest.raises(FetchError, match=r"train-images-idx3-ubyte\.gz .* missing or damaged"):
        list(FASHION_MNIST.unpack([archive], tmp_path / "new", tmp_path / "scratch"))
