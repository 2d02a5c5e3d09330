"""One thing to embed, as a request brought it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from unibind.types import Json

__all__ = ["AUTO", "Source"]

AUTO = "auto"
"""In the place of a modality: whatever the file turns out to be."""


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to embed, as it came.

    Attributes:
        modality: What it is.
        content: A file's content, or an item that is a str itself.
        options: What it does not say of itself.
    """

    modality: str
    content: bytes | str
    options: Mapping[str, Json] = field(default_factory=dict)

    def key(self) -> bytes:
        """Return the hash of all that decides its embedding."""
        told = json.dumps([self.modality, self.options], sort_keys=True).encode()
        digest = hashlib.sha256(told + b"\0")
        content = self.content
        digest.update(b"s" + content.encode() if isinstance(content, str) else b"b" + content)
        return digest.digest()
