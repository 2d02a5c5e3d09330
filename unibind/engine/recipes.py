"""Spaces that can be opened by name without having been built."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from unibind.knowledge.class_texts import LLM, ClassTexts

__all__ = ["CLASS_TEXTS", "RECIPES", "Recipe", "class_texts_of"]

CLASS_TEXTS: Mapping[str, ClassTexts] = MappingProxyType(
    {
        "image": ClassTexts(LLM, "picture", "thing"),
        "audio": ClassTexts(LLM, "recording", "sound"),
        "pointcloud": ClassTexts(LLM, "3D model", "object"),
        "timeseries": ClassTexts(LLM, "sensor recording", "activity"),
        "video": ClassTexts(LLM, "video", "thing"),
        "event": ClassTexts(LLM, "event recording", "thing"),
        "thermal": ClassTexts(LLM, "thermal picture", "thing"),
    }
)


def class_texts_of(modality: str) -> ClassTexts:
    """Return what stands for a class where items of a modality are asked about."""
    return CLASS_TEXTS.get(modality, ClassTexts())


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
