"""What makes two towers the same tower."""

import hashlib
import json

from unibind.types import Json
from unibind.weights import MODELS

__all__ = ["fingerprint_of", "weight_hashes"]


def fingerprint_of(**parts: Json) -> str:
    """Return the hex SHA-256 over what decides a tower's features.

    Architecture with its version, hashes of weights, parameters of the preprocessing belong in
    it; what runs it (ONNX Runtime or torch, batch size, threads) does not.

    Args:
        parts: JSON values by name; their order does not matter.
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def weight_hashes(model: str, *files: str) -> dict[str, str]:
    """Return the pinned hashes of a model's files by name.

    Args:
        model: One of `unibind.weights.MODELS`.
        files: Those of its files that decide the features.
    """
    pinned = {file.name: file.sha256 for file in MODELS[model].files}
    return {name: pinned[name] for name in files}
