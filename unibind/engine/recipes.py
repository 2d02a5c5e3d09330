"""Spaces that can be opened by name without having been built."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["RECIPES", "Recipe"]


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
