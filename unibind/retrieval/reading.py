"""Small questions to the tables, inside a read transaction."""

import sqlite3

from unibind.retrieval.filters import Filter
from unibind.retrieval.fulltext import parsed
from unibind.retrieval.records import StoredItem
from unibind.retrieval.schema import SLOT_BITS, slot_of
from unibind.retrieval.view import View

__all__ = ["calibration_of", "fields", "generation_of", "scanned"]


def generation_of(connection: sqlite3.Connection) -> int:
    """Return how many write transactions there were."""
    return int(connection.execute("SELECT generation FROM store").fetchone()[0])


def fields(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the fields that metadata has."""
    return [row[0] for row in connection.execute("SELECT name FROM fields")]


def calibration_of(connection: sqlite3.Connection) -> str:
    """Return how searches into several modalities are calibrated when they do not say."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'calibration'").fetchone()
    return str(row[0]) if row else "centre"


def scanned(
    connection: sqlite3.Connection, view: View, condition: Filter, *, after: str, limit: int
) -> list[StoredItem]:
    """Return the next items that fulfil a condition, in the order of the keys."""
    shards = {shard.modality: shard for shard in view.shards.values()}
    rows = connection.execute(
        "SELECT id, key, metadata, source, content_hash, created_at, updated_at FROM items "
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
        )
        for item, key, metadata, source, content_hash, created_at, updated_at in rows
    ]
