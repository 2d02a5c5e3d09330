"""all-MiniLM-L6-v2: English sentences to 384 numbers; the text tower of the space mini.

The tokenizer and the exported network are used directly: transformers gives the same features to
six digits and takes seconds more to import.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from unibind import weights
from unibind.encoders.compiled import Forward, Input, batch_by_batch, compile_network
from unibind.encoders.fingerprints import fingerprint_of, weight_hashes
from unibind.modalities.text import TEXT, accept
from unibind.types import FloatArray

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MAX_TOKENS", "MiniLM", "load"]

MAX_TOKENS = 256
"""Word pieces that are read, two markers included; the rest of a longer text is ignored."""

_NAME = "minilm-l6"
_BATCH = 8
_WORTH = 10  # tokens of padding that cost about as much as beginning another batch
_INPUTS = (Input("ids", np.int64, ("B", "T")), Input("mask", np.float32, ("B", "T")))


class MiniLM:
    """A frozen text tower: the mean of the last layer over a sentence's word pieces.

    Args:
        tokenizer: Cuts a text into word pieces.
        network: Token ids (B, T) and mask (B, T) to features (B, F).
        dim: Width F of the features.
        fingerprint: Of weights, tokenizer and pooling.
    """

    modality = TEXT
    max_tokens = MAX_TOKENS

    def __init__(
        self, tokenizer: Tokenizer, network: Forward, *, dim: int, fingerprint: str
    ) -> None:
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.no_padding()
        self.dim = dim
        self.fingerprint = fingerprint
        self._tokenizer = tokenizer
        self._network = network

    def encode(self, items: Sequence[str]) -> FloatArray:
        """Return the features of texts, shape (N, F), not normalised.

        Texts of similar length go through together, so that little is padding.

        Raises:
            InvalidInputError: An item is not a text that the modality takes.
        """
        pieces = self._tokenizer.encode_batch_fast([accept(item) for item in items])
        tokens = [encoding.ids for encoding in pieces]
        by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]), reverse=True)
        features = np.empty((len(tokens), self.dim), dtype=np.float32)
        features[by_length] = batch_by_batch(
            lambda batch: self._network(*_padded(batch)),
            _alike([tokens[row] for row in by_length]),
            dim=self.dim,
        )
        return features

    def count_tokens(self, items: Sequence[str]) -> list[int]:
        """Return how many word pieces each text has, markers included; `MAX_TOKENS` are read.

        Raises:
            InvalidInputError: An item is not a text that the modality takes.
        """
        pieces = self._tokenizer.encode_batch([accept(item) for item in items])
        n_markers = self._tokenizer.num_special_tokens_to_add(False)
        return [
            len(first.ids) + sum(len(rest.ids) - n_markers for rest in first.overflowing)
            for first in pieces
        ]


def load() -> MiniLM:
    """Return the tower with its pinned weights.

    Raises:
        FetchError: The weights are not here; the message names the command that brings them.
    """
    folder = weights.path(_NAME)
    fingerprint = fingerprint_of(
        architecture="bert-mean",
        version=1,
        max_tokens=MAX_TOKENS,
        weights=weight_hashes(_NAME, "model.safetensors", "config.json", "tokenizer.json"),
    )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = compile_network(
        _builder(folder / "model.safetensors", n_heads=config["num_attention_heads"]),
        name=_NAME,
        fingerprint=fingerprint,
        inputs=_INPUTS,
    )
    return MiniLM(
        Tokenizer.from_file(str(folder / "tokenizer.json")),
        network,
        dim=config["hidden_size"],
        fingerprint=fingerprint,
    )


def _builder(file: Path, *, n_heads: int) -> Callable[[], "nn.Module"]:
    def build() -> "nn.Module":
        from safetensors.torch import load_file

        from unibind.encoders.networks.bert import from_hugging_face

        return from_hugging_face(load_file(file), n_heads=n_heads)

    return build


def _alike(tokens: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Return sentences, the longest first, in batches that are padded less than they save.

    Args:
        tokens: Ids of each sentence, sorted by length, the longest first.
    """
    batches: list[list[Sequence[int]]] = []
    n_padded = 0
    for sentence in tokens:
        n_padded += len(batches[-1][0]) - len(sentence) if batches else 0
        if not batches or len(batches[-1]) == _BATCH or n_padded > _WORTH:
            batches.append([])
            n_padded = 0
        batches[-1].append(sentence)
    return batches


def _padded(tokens: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    longest = max(map(len, tokens))
    ids = np.zeros((len(tokens), longest), dtype=np.int64)
    mask = np.zeros((len(tokens), longest), dtype=np.float32)
    for row, sentence in enumerate(tokens):
        ids[row, : len(sentence)] = sentence
        mask[row, : len(sentence)] = 1
    return ids, mask
