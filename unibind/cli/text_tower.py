"""The text tower that knowledge commands measure with, through the plug-in door."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unibind.protocols import Encoder

__all__ = ["TextTower", "load_tower"]


@dataclass(frozen=True, slots=True)
class TextTower:
    """A text encoder and how much it reads.

    Attributes:
        encoder: Sentences to features.
        count_tokens: Tokens of each sentence; None if the encoder does not tell.
        max_tokens: What it reads of a sentence; None if the encoder does not tell.
    """

    encoder: Encoder
    count_tokens: Callable[[Sequence[str]], list[int]] | None
    max_tokens: int | None


def load_tower(name: str = "minilm-l6") -> TextTower:
    """Return a text tower by its plug-in's name, with its weights fetched if they are missing.

    Raises:
        PluginError: There is no such encoder.
        FetchError: Its weights cannot be brought here.
    """
    from unibind import plugins

    encoder = plugins.load("unibind.encoders", name)()
    return TextTower(
        encoder,
        getattr(encoder, "count_tokens", None),
        getattr(encoder, "max_tokens", None),
    )
