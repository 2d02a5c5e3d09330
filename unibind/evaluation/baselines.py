"""What a space must beat: pictures as raw pixels, and a probe trained on the labels."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from unibind.modalities.image import IMAGE, accept
from unibind.types import FloatArray, IntArray

__all__ = ["RawPixels", "linear_probe", "picture_hashes"]


class RawPixels:
    """The encoder that knows nothing: a picture as 16 x 16 pixels, three channels in [0, 1]."""

    modality = IMAGE
    side = 16
    dim = 3 * side * side
    fingerprint = hashlib.sha256(b"raw pixels, 16 x 16 x 3, box filter, version 1").hexdigest()

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the pixels of pictures, shape (N, 768).

        Raises:
            InvalidInputError: An item is no picture.
        """
        features = np.zeros((len(items), self.dim), dtype=np.float32)
        for row, item in enumerate(items):
            picture = Image.fromarray(accept(item))
            small = picture.resize((self.side, self.side), Image.Resampling.BOX)
            features[row] = np.asarray(small, dtype=np.float32).ravel() / 255
        return features


def picture_hashes(pixels: FloatArray) -> npt.NDArray[np.bool_]:
    """Return a difference hash per picture, 240 bits, from what `RawPixels` made, shape (N, 240).

    Bit (y, x) tells whether the picture grows brighter from x to x + 1. Two files of one drawing
    differ in few bits, whatever their size.
    """
    side = RawPixels.side
    grey = pixels.reshape(-1, side, side, 3).mean(axis=3)
    # Flat ground has no direction: rounding makes it 0 there, and not noise.
    brighter = np.round(np.diff(grey, axis=2), 2) > 0
    hashes: npt.NDArray[np.bool_] = brighter.reshape(len(pixels), -1)
    return hashes


def linear_probe(
    features: FloatArray, labels: IntArray, *, n_classes: int, decay: float = 1e-2
) -> tuple[FloatArray, FloatArray]:
    """Return the weight (F, C) and bias (C,) of multinomial logistic regression on features.

    Args:
        features: Standardised, shape (N, F).
        labels: In [0, C), shape (N,).
        n_classes: C.
        decay: Strength of the L2 penalty on the weight, per item.
    """
    import torch

    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    weight = torch.zeros(features.shape[1], n_classes, requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight + bias, y)
        loss = loss + decay * (weight**2).sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach().numpy(), bias.detach().numpy()
