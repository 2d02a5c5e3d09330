"""Every stored item, page by page in the order of the keys."""

from unibind.retrieval.filters import Filter
from unibind.retrieval.fulltext import parsed
from unibind.retrieval.reading import Tables
from unibind.retrieval.records import StoredItem
from unibind.retrieval.schema import MADE_BY, SLOT_BITS, slot_of
from unibind.retrieval.view import View

__all__ = ["scanned"]


def scanned(
    tables: Tables, view: View, condition: Filter, *, after: str, limit: int
) -> list[StoredItem]:
    """Return the next items that fulfil a condition, in the order of the keys."""
    shards = {shard.modality: shard for shard in view.shards.values()}
    rows = tables.execute(
        "SELECT id, key, metadata, source, content_hash, created_at, updated_at, "
        f"{MADE_BY} FROM items "
        f"WHERE key > ? AND ({condition.sql}) ORDER BY key LIMIT ?",
        (after, *condition.values, limit),
    )
    return [
        StoredItem(
            key=key,
            modality=shards[item >> SLOT_BITS].name,
            vector=shards[item >> SLOT_BITS].vectors[slot_of(item)].copy(),
            metadata=parsed(key, metadata),
            source=source,
            content_hash=content_hash,
            created_at=created_at,
            updated_at=updated_at,
            made_by=made_by,
        )
        for item, key, metadata, source, content_hash, created_at, updated_at, made_by in rows
    ]
