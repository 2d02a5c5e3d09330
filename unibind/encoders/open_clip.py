"""CLIP and SigLIP towers of open_clip (extra ``clip``): text and pictures in one space.

A model is named ``ARCHITECTURE/WEIGHTS``: ``ViT-B-32/laion2b_s34b_b79k``, or with a checkpoint of
one's own ``ViT-B-32//models/clip.safetensors``; or as open_clip names whole models:
``hf-hub:OWNER/NAME``, ``local-dir:FOLDER``.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.torchvision_operators import make_torchvision_importable
from unibind.errors import FetchError, InvalidInputError, PluginError
from unibind.modalities import image, text
from unibind.types import FloatArray, SpaceId

__all__ = ["ClipImage", "ClipText", "load_image", "load_text"]

_VERSION = 1
_BATCH = 32
_WHOLE_MODEL = ("hf-hub:", "local-dir:")


class ClipText:
    """The text tower of a pair: its fingerprint names their space.

    Args:
        model: As the module says.

    Raises:
        PluginError: open_clip is not installed.
        InvalidInputError: The name has no weights in it, or open_clip knows no such model.
        FetchError: The weights cannot be brought or loaded.
    """

    modality = text.TEXT

    def __init__(self, model: str) -> None:
        pair = _open_pair(model)
        self.fingerprint = pair.text_fingerprint
        self._pair = pair
        self.dim = len(self._features(["a"])[0])

    def encode(self, items: Sequence[str]) -> FloatArray:
        """Return the features of texts, shape (N, F), not normalised; CLIP reads 77 tokens.

        Raises:
            InvalidInputError: An item is not a text that the modality takes.
        """
        features = np.empty((len(items), self.dim), dtype=np.float32)
        for start in range(0, len(items), _BATCH):
            batch = [text.accept(item) for item in items[start : start + _BATCH]]
            features[start : start + len(batch)] = self._features(batch)
        return features

    def _features(self, sentences: list[str]) -> FloatArray:
        with torch.inference_mode():
            tokens = self._pair.tokenizer(sentences).to(self._pair.device)
            return _to_array(self._pair.network.encode_text(tokens))


class ClipImage:
    """The image tower of a pair: its features lie in the space of the text tower.

    Args:
        model: As the module says.

    Raises:
        PluginError: open_clip is not installed.
        InvalidInputError: The name has no weights in it, or open_clip knows no such model.
        FetchError: The weights cannot be brought or loaded.
    """

    modality = image.IMAGE

    def __init__(self, model: str) -> None:
        pair = _open_pair(model)
        self.space = SpaceId(pair.text_fingerprint)
        self.fingerprint = pair.image_fingerprint
        self._pair = pair
        self.dim = len(self._features([np.zeros((8, 8, 3), np.uint8)])[0])

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the features of pictures, shape (N, F), not normalised.

        Raises:
            InvalidInputError: An item is not a picture that the modality takes.
        """
        features = np.empty((len(items), self.dim), dtype=np.float32)
        for start in range(0, len(items), _BATCH):
            batch = [image.accept(item) for item in items[start : start + _BATCH]]
            features[start : start + len(batch)] = self._features(batch)
        return features

    def _features(self, pictures: list[Any]) -> FloatArray:
        pixels = torch.stack([self._pair.preprocess(Image.fromarray(each)) for each in pictures])
        with torch.inference_mode():
            return _to_array(self._pair.network.encode_image(pixels.to(self._pair.device)))


def load_text(model: str) -> ClipText:
    """Return the text tower of a pair; see `ClipText`."""
    return ClipText(model)


def load_image(model: str) -> ClipImage:
    """Return the image tower of a pair; see `ClipImage`."""
    return ClipImage(model)


@dataclass(frozen=True, slots=True)
class _Pair:
    network: Any
    tokenizer: Any
    preprocess: Any
    device: str
    text_fingerprint: str
    image_fingerprint: str


@cache  # the two towers of a pair are loaded one after the other
def _open_pair(model: str) -> _Pair:
    name, weights = _parse(model)
    open_clip = _import_open_clip()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        network, preprocess = open_clip.create_model_from_pretrained(
            name, pretrained=weights, device=device, weights_only=True
        )
        tokenizer = open_clip.get_tokenizer(name)
    except (OSError, RuntimeError, ValueError, KeyError, ImportError) as error:
        raise FetchError(
            f"the model {model!r} does not load ({error}); `open_clip.list_pretrained()` has the "
            "names that are known"
        ) from error
    common = {"version": _VERSION, "model": name, "weights": _hash_of(network)}
    return _Pair(
        network.eval(),
        tokenizer,
        preprocess,
        device,
        fingerprint_of(architecture="open-clip-text", **common),
        fingerprint_of(
            architecture="open-clip-image",
            preprocess=repr(preprocess),
            reading=image.READING,
            **common,
        ),
    )


def _parse(model: str) -> tuple[str, str | None]:
    if model.startswith(_WHOLE_MODEL):
        return model, None
    name, _, weights = model.partition("/")
    if not name or not weights:
        raise InvalidInputError(
            f"{model!r} names no weights; write ARCHITECTURE/WEIGHTS, as in "
            "ViT-B-32/laion2b_s34b_b79k, or hf-hub:OWNER/NAME"
        )
    return name, weights


@cache
def _import_open_clip() -> Any:
    make_torchvision_importable()
    try:
        import open_clip
    except ImportError as error:
        raise PluginError(
            f"open_clip does not import ({error}); pip install 'unibind[clip]'"
        ) from error
    return open_clip


def _hash_of(network: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _to_array(features: torch.Tensor) -> FloatArray:
    array: FloatArray = features.float().cpu().numpy()
    return array
