"""Text and image towers in Hugging Face's format, from the hub or from a folder.

Only safetensors are read and no code that comes with a model is run.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

from unibind.artifact import sha256_of
from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.torchvision_operators import make_torchvision_importable
from unibind.errors import FetchError, InvalidInputError
from unibind.modalities import image, text
from unibind.types import FloatArray, SpaceId
from unibind.weights.hub import download_folder

__all__ = ["AlignedHubImage", "HubImage", "HubText", "load_image", "load_text"]

_VERSION = 1
_BATCH = 32
_MOST_TOKENS = 512
_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
# Trained on texts padded to one length; shorter ones give other features.
_PADDED_TO_THE_END = {"siglip", "siglip2"}


class HubText:
    """A frozen text tower: pooled as its folder says, or projected where it was trained so.

    Args:
        model: A hub's id, ``"owner/name"`` or ``"owner/name@revision"``, or a folder.

    Raises:
        FetchError: It cannot be brought or loaded.
        InvalidInputError: It pools in a way that is not known here.
    """

    modality = text.TEXT

    def __init__(self, model: str) -> None:
        folder = _folder_of(model)
        self.fingerprint = _text_fingerprint(folder)
        self._pool = _pool_of(folder)
        self._network = _load(model, lambda: _network(folder))
        self._tokenizer = _load(model, lambda: _tokenizer(folder))
        self._tokenizer.padding_side = "right"
        kind = self._network.config.model_type
        self._padding = "max_length" if kind in _PADDED_TO_THE_END else "longest"
        self._max_tokens = _max_tokens(folder, self._network.config, self._tokenizer)
        self.dim = len(self._features(["a"])[0])

    def encode(self, items: Sequence[str]) -> FloatArray:
        """Return the features of texts, shape (N, F), not normalised.

        Raises:
            InvalidInputError: An item is not a text that the modality takes.
        """
        sentences = [text.accept(item) for item in items]
        features = np.empty((len(sentences), self.dim), dtype=np.float32)
        by_length = sorted(range(len(sentences)), key=lambda row: len(sentences[row]))
        for start in range(0, len(by_length), _BATCH):
            rows = by_length[start : start + _BATCH]
            features[rows] = self._features([sentences[row] for row in rows])
        return features

    def _features(self, sentences: list[str]) -> FloatArray:
        tokens = self._tokenizer(
            sentences,
            padding=self._padding,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        ).to(self._network.device)
        with torch.inference_mode():
            if hasattr(self._network, "get_text_features"):
                return _to_array(self._network.get_text_features(**tokens))
            hidden = self._network(**tokens).last_hidden_state
            return _to_array(self._pool(hidden, tokens["attention_mask"]))


class HubImage:
    """A frozen image tower: its projection, its pooler's output, or the mean of its last layer.

    Args:
        model: A hub's id, ``"owner/name"`` or ``"owner/name@revision"``, or a folder.

    Raises:
        FetchError: It cannot be brought or loaded.
    """

    modality = image.IMAGE

    def __init__(self, model: str) -> None:
        folder = _folder_of(model)
        self.fingerprint = fingerprint_of(
            architecture="hub-image", version=_VERSION, files=_hashes(folder), reading=image.READING
        )
        self._network = _load(model, lambda: _network(folder))
        self._processor = _load(model, lambda: _processor(folder))
        self.dim = len(self._features([Image.new("RGB", (8, 8))])[0])

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the features of pictures, shape (N, F), not normalised.

        Raises:
            InvalidInputError: An item is not a picture that the modality takes.
        """
        features = np.empty((len(items), self.dim), dtype=np.float32)
        for start in range(0, len(items), _BATCH):
            # As Pillow images: of a tiny array the library would guess which axis is the colours.
            pictures = [
                Image.fromarray(image.accept(each)) for each in items[start : start + _BATCH]
            ]
            features[start : start + len(pictures)] = self._features(pictures)
        return features

    def _features(self, pictures: list[Image.Image]) -> FloatArray:
        pixels = self._processor(images=pictures, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self._network.device)
        with torch.inference_mode():
            if hasattr(self._network, "get_image_features"):
                return _to_array(self._network.get_image_features(pixel_values=pixels))
            return _to_array(self._network(pixel_values=pixels))


class AlignedHubImage(HubImage):
    """The image tower of a pair that was trained together: its features lie in the text's space."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.space = SpaceId(_text_fingerprint(_folder_of(model)))


def load_text(model: str) -> HubText:
    """Return the text tower of a hub's id or a folder; see `HubText`."""
    return HubText(model)


def load_image(model: str) -> HubImage:
    """Return the image tower of a hub's id or a folder; with a space if it has a text tower."""
    config = json.loads((_folder_of(model) / "config.json").read_text(encoding="utf-8"))
    return AlignedHubImage(model) if "text_config" in config else HubImage(model)


def _folder_of(model: str) -> Path:
    folder = Path(model).expanduser()
    if not folder.is_dir():
        repository, _, revision = model.partition("@")
        folder = download_folder(repository, revision or None, _FILES)
    if not (folder / "config.json").is_file():
        raise FetchError(f"{model} has no config.json; a model in Hugging Face's format was needed")
    return folder


def _hashes(folder: Path) -> dict[str, str]:
    files = {file for pattern in _FILES for file in folder.rglob(pattern)}
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in sorted(files)}


def _text_fingerprint(folder: Path) -> str:
    return fingerprint_of(architecture="hub-text", version=_VERSION, files=_hashes(folder))


def _load(model: str, load: Callable[[], Any]) -> Any:
    make_torchvision_importable()  # transformers imports it wherever it is installed
    try:
        with _quiet():
            return load()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise FetchError(
            f"{model} does not load ({error}); a model with safetensors, whose code is part of "
            "transformers, was needed"
        ) from error


def _network(folder: Path) -> Any:
    network = transformers.AutoModel.from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False
    )
    return network.eval().float().to("cuda" if torch.cuda.is_available() else "cpu")


def _tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _processor(folder: Path) -> Any:
    # The pictures go through Pillow wherever it runs: torchvision resizes to other pixels.
    is_old = int(version("transformers").split(".")[0]) < 5
    chosen = {"use_fast": False} if is_old else {"backend": "pil"}
    return transformers.AutoImageProcessor.from_pretrained(
        folder, trust_remote_code=False, **chosen
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars of its own."""
    logging = transformers.utils.logging
    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _max_tokens(folder: Path, config: Any, tokenizer: Any) -> int:
    positions = getattr(getattr(config, "text_config", config), "max_position_embeddings", None)
    stated = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    limits = (tokenizer.model_max_length, positions, stated, _MOST_TOKENS)
    return int(min(limit for limit in limits if limit))


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weight = mask[:, :, None].to(hidden.dtype)
    return (hidden * weight).sum(dim=1) / weight.sum(dim=1)


def _first(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[:, 0]


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden)), mask.sum(dim=1) - 1]


_POOLS = {"mean": _mean, "cls": _first, "lasttoken": _last}
_STEPS = {"Transformer", "Pooling", "Normalize"}  # of sentence-transformers; we never normalise


def _pool_of(folder: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the pooling that a sentence-transformers folder asks for; of others, the mean."""
    for step in _read_json(folder / "modules.json"):
        if step["type"].rpartition(".")[2] not in _STEPS:
            raise InvalidInputError(
                f"{folder} has a step of type {step['type']}, which is not known here; use a "
                f"model of only {', '.join(sorted(_STEPS))}"
            )
    config = _read_json(folder / "1_Pooling" / "config.json")
    switched_on = [
        name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for name, is_used in config.items()
        if name.startswith("pooling_mode_") and is_used
    ]
    chosen = config.get("pooling_mode") or " and ".join(switched_on) or "mean"
    if chosen not in _POOLS:
        raise InvalidInputError(
            f"{folder} pools by {chosen}; one of {', '.join(_POOLS)} was needed"
        )
    return _POOLS[chosen]


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _to_array(output: Any) -> FloatArray:
    """Return the features of a tensor, or of a structured output."""
    if not isinstance(output, Tensor):
        pooled = getattr(output, "pooler_output", None)
        output = output.last_hidden_state.mean(dim=1) if pooled is None else pooled
    features: FloatArray = output.float().cpu().numpy()
    return features
