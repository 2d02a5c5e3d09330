"""unibind: one space for pictures, sounds, scans, traces and words.

    import unibind

    engine = unibind.open("mini")
    engine.classify("image", ["my.jpg"], classes=["a cat", "a dog"])

Names are imported when they are first used, so that ``import unibind`` costs almost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unibind.client import AsyncClient, Client
    from unibind.engine import Engine, open
    from unibind.errors import (
        ArtifactError,
        FetchError,
        InvalidInputError,
        PluginError,
        SpaceMismatchError,
        StoreError,
        UnibindError,
        WriterError,
    )
    from unibind.types import Hit, Modality, Prediction

__all__ = [
    "open",
    "Engine",
    "Client",
    "AsyncClient",
    "Hit",
    "Modality",
    "Prediction",
    "UnibindError",
    "ArtifactError",
    "FetchError",
    "InvalidInputError",
    "PluginError",
    "SpaceMismatchError",
    "StoreError",
    "WriterError",
]

_HOMES = {
    "unibind.engine": ("open", "Engine"),
    "unibind.client": ("Client", "AsyncClient"),
    "unibind.types": ("Hit", "Modality", "Prediction"),
    "unibind.errors": (
        "UnibindError",
        "ArtifactError",
        "FetchError",
        "InvalidInputError",
        "PluginError",
        "SpaceMismatchError",
        "StoreError",
        "WriterError",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'unibind' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
