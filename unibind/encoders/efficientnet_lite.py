"""EfficientNet-lite0: pictures to 1280 numbers and ImageNet's names; the image tower of mini."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from unibind import weights
from unibind.encoders.compiled import Forward, Input, compile_network, side_by_side
from unibind.encoders.fingerprints import fingerprint_of, weight_hashes
from unibind.encoders.imagenet_labels import ImagenetLabel, read_labels
from unibind.modalities.image import IMAGE, READING, accept
from unibind.types import FloatArray

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CROP", "SIDE", "EfficientNetLite0", "load", "plain_ground", "preprocess"]

SIDE = 224
"""Pixels of the square that the network sees."""

CROP = 0.875
"""Share of a photograph's shorter side that the square covers, in the middle."""

PLAIN_SHARE = 0.5
PLAIN_TOLERANCE = 12
"""A ground is plain if this share of a picture's outermost pixels is within this many levels of
one colour. Of 538 cut-outs 95 % have a share above 0.75; of 17 photographs 14 have one below 0.5,
and a brick wall, the moon and a starry sky one above."""

_NAME = "efficientnet-lite0"
_FILE = "efficientnet-lite0.pth"
_BATCH = 1  # on two cores 16 ms a picture; of four at once 20 ms each
_PIXELS = Input("pixels", np.uint8, ("B", SIDE, SIDE, 3))
_FEATURES = Input("features", np.float32, ("B", 1280))


class EfficientNetLite0:
    """A frozen image tower that was trained to name ImageNet's classes.

    Args:
        trunk: Pixels, uint8, shape (B, 224, 224, 3), to features (B, 1280).
        classifier: Features (B, 1280) to logits (B, 1000).
        labels: The classes in the order of the logits.
        fingerprint: Of weights and preprocessing.
    """

    modality = IMAGE
    dim = 1280

    def __init__(
        self,
        trunk: Forward,
        classifier: Forward,
        *,
        labels: Sequence[ImagenetLabel],
        fingerprint: str,
    ) -> None:
        self.labels = tuple(label.name for label in labels)
        self.label_texts = tuple(
            (label.name, f"{label.name}: {label.definition}") for label in labels
        )
        self.fingerprint = fingerprint
        self._trunk = trunk
        self._classifier = classifier

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the pooled features of pictures, shape (N, 1280), >= 0, not normalised.

        Raises:
            InvalidInputError: An item is not a picture that the modality takes.
        """
        return side_by_side(self._encode_batch, items, batch_size=_BATCH, dim=self.dim)

    def _encode_batch(self, items: Sequence[Any]) -> FloatArray:
        return self._trunk(np.stack([preprocess(accept(item)) for item in items]))

    def logits(self, features: FloatArray) -> FloatArray:
        """Return ImageNet's logits, shape (N, 1000), of features, shape (N, 1280)."""
        return self._classifier(np.ascontiguousarray(features, dtype=np.float32))


def preprocess(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the 224 x 224 pixels of a picture that the network sees (bicubic).

    Of a photograph that is the middle, 0.875 of its shorter side, as in training. A thing on a
    plain ground (a cut-out, an icon, a product) often fills its picture, and a cut through it
    costs its head or tail: it is shown whole, on a square of its ground.

    Args:
        pixels: uint8, shape (H, W, 3).
    """
    ground = plain_ground(pixels)
    picture = Image.fromarray(pixels)
    square = _middle(picture) if ground is None else _whole(picture, ground)
    return np.asarray(square)


def plain_ground(pixels: npt.NDArray[np.uint8]) -> tuple[int, int, int] | None:
    """Return the colour that most of a picture's outermost pixels have nearly, if there is one.

    Args:
        pixels: uint8, shape (H, W, 3).
    """
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(int)
    ground = np.median(border, axis=0)
    is_near = np.abs(border - ground).max(axis=1) <= PLAIN_TOLERANCE
    if is_near.mean() < PLAIN_SHARE:
        return None
    red, green, blue = ground.astype(int).tolist()
    return red, green, blue


def _middle(picture: Image.Image) -> Image.Image:
    side = CROP * min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)


def _whole(picture: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    scale = SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    square = Image.new("RGB", (SIDE, SIDE), ground)
    small = picture.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2))
    return square


def load() -> EfficientNetLite0:
    """Return the tower with its pinned weights and ImageNet's names.

    Raises:
        FetchError: Weights or names are not here; the message names the command that brings them.
    """
    file = weights.path(_NAME) / _FILE
    fingerprint = fingerprint_of(
        architecture="efficientnet-lite0",
        version=1,
        weights=weight_hashes(_NAME, _FILE),
        side=SIDE,
        crop=CROP,
        plain=[PLAIN_SHARE, PLAIN_TOLERANCE],
        filter="bicubic",
        reading=READING,
    )
    trunk = compile_network(
        _builder(file, "trunk"), name=_NAME, fingerprint=fingerprint, inputs=[_PIXELS]
    )
    classifier = compile_network(
        _builder(file, "classifier"),
        name=f"{_NAME}-classifier",
        fingerprint=fingerprint,
        inputs=[_FEATURES],
    )
    return EfficientNetLite0(trunk, classifier, labels=read_labels(), fingerprint=fingerprint)


def _builder(file: Path, part: str) -> Callable[[], "nn.Module"]:
    def build() -> "nn.Module":
        import torch

        from unibind.encoders.networks.efficientnet_lite import EfficientNetLite0 as Network

        state = torch.load(file, map_location="cpu", weights_only=True)
        return Network(state).get_submodule(part)

    return build
