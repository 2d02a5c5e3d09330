"""Words: what full-text search reads of an item, and how a query becomes safe FTS5 text."""

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from unibind.errors import StoreError
from unibind.retrieval.filters import Filter
from unibind.retrieval.reading import Tables
from unibind.retrieval.schema import CAPTIONS
from unibind.types import Json

__all__ = [
    "caption",
    "match_expression",
    "parsed",
    "ranked_by_words",
    "rebuild_captions",
    "words_differ",
]

_WORD = re.compile(r"\w+")


def caption(metadata: Mapping[str, Json]) -> str:
    """Return every text in an item's metadata, one a line: what its words are searched in."""
    return "\n".join(_texts(metadata))


def parsed(key: str, metadata: str) -> dict[str, Json]:
    """Return the metadata of an item from its JSON text.

    Raises:
        StoreError: The text is damaged.
    """
    if metadata == "{}":
        return {}
    try:
        return cast(dict[str, Json], json.loads(metadata))
    except ValueError as error:
        raise StoreError(
            f"the metadata of {key[:80]!r} is damaged ({error}); `unibind index verify` lists what "
            "is, store the item again"
        ) from error


def _captions(connection: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    for item, metadata in connection.execute(
        "SELECT id, metadata FROM items WHERE metadata <> '{}' ORDER BY id"
    ):
        with contextlib.suppress(ValueError):  # Damage, which `verify` names.
            if text := caption(json.loads(metadata)):
                yield item, text


def match_expression(text: str) -> str | None:
    """Return an FTS5 expression for any of a text's words, or None if it has none.

    Each word is quoted, so nothing in it is an operator of FTS5.
    """
    words = dict.fromkeys(_WORD.findall(text))
    return " OR ".join(f'"{word}"' for word in words) or None


def ranked_by_words(
    tables: Tables,
    text: str,
    *,
    modalities: Sequence[int],
    condition: Filter | None,
    depth: int,
) -> list[int]:
    """Return the ids of the best items for a text's words by BM25, best first.

    What was deleted since the last compaction still counts in the frequency of a word, though it
    is never returned.

    Args:
        tables: Whose words are searched.
        text: What was asked, any characters.
        modalities: Numbers of the modalities to search.
        condition: What the items must fulfil, or None.
        depth: How many at most.
    """
    expression = match_expression(text)
    if expression is None:
        return []
    rows = tables.execute(
        "SELECT items.id FROM captions CROSS JOIN items ON items.id = captions.rowid "
        "WHERE captions MATCH ? AND items.modality IN (SELECT value FROM json_each(?)) "
        f"AND ({condition.sql if condition else '1'}) "
        "ORDER BY bm25(captions), items.id LIMIT ?",
        (
            expression,
            json.dumps(list(modalities)),
            *(condition.values if condition else ()),
            depth,
        ),
    )
    return [row[0] for row in rows]


def rebuild_captions(connection: sqlite3.Connection) -> None:
    """Write the words of every item again, inside a write transaction."""
    connection.execute("DROP TABLE IF EXISTS captions")
    connection.execute(CAPTIONS)
    connection.executemany(
        "INSERT INTO captions (rowid, text) VALUES (?, ?)", _captions(connection)
    )


def words_differ(connection: sqlite3.Connection) -> bool:
    """Return whether the index of words is not what the items' metadata says."""
    connection.execute("DROP TABLE IF EXISTS temp.fresh_words")
    connection.execute("DROP TABLE IF EXISTS temp.fresh")
    connection.execute("DROP TABLE IF EXISTS temp.kept_words")
    connection.execute(CAPTIONS.replace("captions", "temp.fresh"))
    connection.execute(
        "CREATE VIRTUAL TABLE temp.fresh_words USING fts5vocab(temp, fresh, instance)"
    )
    connection.execute(
        "CREATE VIRTUAL TABLE temp.kept_words USING fts5vocab(main, captions, instance)"
    )
    connection.executemany(
        "INSERT INTO temp.fresh (rowid, text) VALUES (?, ?)", _captions(connection)
    )
    kept = "SELECT term, doc, offset FROM temp.kept_words WHERE doc IN (SELECT id FROM items)"
    fresh = "SELECT term, doc, offset FROM temp.fresh_words"
    found = connection.execute(
        f"SELECT EXISTS (SELECT * FROM ({kept} EXCEPT {fresh})) "
        f"OR EXISTS (SELECT * FROM ({fresh} EXCEPT {kept}))"
    ).fetchone()
    for table in ("fresh_words", "fresh", "kept_words"):
        connection.execute(f"DROP TABLE temp.{table}")
    return bool(found[0])


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
