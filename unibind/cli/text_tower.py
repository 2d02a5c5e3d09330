"""The text tower that knowledge commands measure with, through the plug-in door and the cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unibind.errors import InvalidInputError
from unibind.protocols import Encoder
from unibind.types import FloatArray

__all__ = ["TextTower", "load_tower"]


@dataclass(frozen=True, slots=True)
class TextTower:
    """A text encoder and how much it reads.

    Attributes:
        encoder: Sentences to features, each computed once ever; None to do without it.
        count_tokens: Tokens of each sentence; None if the encoder does not tell.
        max_tokens: What it reads of a sentence; None if the encoder does not tell.
    """

    encoder: Encoder | None
    count_tokens: Callable[[Sequence[str]], list[int]] | None
    max_tokens: int | None


class _Cached:
    """An encoder that looks its features up first."""

    def __init__(self, encoder: Encoder) -> None:
        self.modality = encoder.modality
        self.dim = encoder.dim
        self.fingerprint = encoder.fingerprint
        self._encoder = encoder

    def encode(self, items: Sequence[Any]) -> FloatArray:
        from unibind.cli.output import progress
        from unibind.encoders.cache import FeatureCache
        from unibind.encoders.pipeline import encode_sources

        with FeatureCache.of(self._encoder) as cache, progress("reading lines") as update:
            encoded = encode_sources(self._encoder, items, cache=cache, progress=update)
        if encoded.failures:
            first = encoded.failures[0]
            raise InvalidInputError(f"line {first.row + 1} cannot be encoded: {first.error}")
        return encoded.features


def load_tower(name: str = "minilm-l6") -> TextTower:
    """Return a text tower by its plug-in's name.

    Raises:
        PluginError: There is no such encoder.
        FetchError: Its weights are not here; the message names the command that brings them.
    """
    from unibind import plugins

    encoder = plugins.load("unibind.encoders", name)()
    return TextTower(
        _Cached(encoder),
        getattr(encoder, "count_tokens", None),
        getattr(encoder, "max_tokens", None),
    )
