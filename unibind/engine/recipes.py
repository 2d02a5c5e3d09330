"""Spaces that can be opened by name without having been built."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from unibind.knowledge.class_texts import LLM, NAME, ClassTexts

__all__ = ["CLASS_TEXTS", "RECIPES", "Recipe", "class_texts_of"]

CLASS_TEXTS: Mapping[str, ClassTexts] = MappingProxyType(
    {
        "image": ClassTexts(LLM, "picture", "thing"),
        "audio": ClassTexts(NAME, "recording", "sound"),
        "pointcloud": ClassTexts(NAME, "3D model", "object"),
        "timeseries": ClassTexts(NAME, "sensor recording", "activity"),
        "video": ClassTexts(NAME, "video", "thing"),
        "event": ClassTexts(LLM, "event recording", "thing"),
        "thermal": ClassTexts(LLM, "thermal picture", "thing"),
    }
)
"""What stands for a class of a knowledge base, by the modality that is asked about.

Not a matter of taste: `scripts/bench ablate` measured each, the cards lie in
``benchmarks/results/cards``, and a test compares them with this table. Nobody has labelled thermal
pictures that we know of; they go through the image tower, and are asked as pictures are."""

UNMEASURED = ClassTexts(NAME)
"""Of any other modality, a plug-in's say: sentences count once an ablation has kept them."""


def class_texts_of(modality: str, kind: str | None = None) -> ClassTexts:
    """Return what stands for a class of a knowledge base where items of a modality are asked about.

    Args:
        modality: Name of the modality.
        kind: Another text than the one that its ablation chose, of `class_texts.KINDS`.

    Raises:
        InvalidInputError: There is no such text.
    """
    chosen = CLASS_TEXTS.get(modality, UNMEASURED)
    return chosen if kind is None else replace(chosen, kind=kind)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a space is made of, before anything was trained.

    Attributes:
        text_encoder: Name of the text tower.
        encoders: Modality name to encoder name.
    """

    text_encoder: str
    encoders: Mapping[str, str]


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "mini": Recipe(
            "minilm-l6",
            MappingProxyType(
                {
                    "image": "efficientnet-lite0",
                    "audio": "aisfx",
                    "pointcloud": "depth-views",
                    "timeseries": "minirocket",
                    "video": "video-frames",
                    "event": "event-pictures",
                    "thermal": "thermal-pictures",
                }
            ),
        )
    }
)
"""Recipe by the name of its space."""
