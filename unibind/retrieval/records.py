"""What a store says of an item and of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from unibind.types import FloatArray, Json

__all__ = ["StoredItem"]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """All that a store keeps of one item.

    Attributes:
        key: The user's id.
        modality: Name of its modality.
        vector: Its embedding, unit length, shape (D,), with the very bits that were stored.
        metadata: What was stored beside it.
        source: Where it came from, a path or an address; None if not told.
        content_hash: Hash of its content as the caller computed it; None if not told.
        created_at: When its key was first stored, seconds since 1970 UTC.
        updated_at: When it was last stored, likewise.
    """

    key: str
    modality: str
    vector: FloatArray
    metadata: Mapping[str, Json] = field(default_factory=dict)
    source: str | None = None
    content_hash: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
