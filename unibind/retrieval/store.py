"""LocalStore: a durable store of embeddings in one folder. SQLite is the truth, FAISS derived."""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from unibind.errors import InvalidInputError, SpaceMismatchError, StoreError
from unibind.retrieval import writing
from unibind.retrieval.calibration import calibrated, check_calibration
from unibind.retrieval.database import Database
from unibind.retrieval.faiss_index import exact
from unibind.retrieval.filters import compile_filter
from unibind.retrieval.guard import (
    check_k,
    check_keys,
    check_metadata,
    check_name,
    check_score,
    check_unique,
    check_vectors,
)
from unibind.retrieval.schema import DATABASE, SLOT_BITS, slot_of
from unibind.retrieval.view import BoolArray, Shard, View, refreshed
from unibind.types import FloatArray, Hit, Json, SpaceId

__all__ = ["LocalStore"]


class LocalStore:
    """Embeddings of one space under users' keys, in a folder of one machine.

    Once `upsert` returns, its items survive a power cut; once `delete` returns, they are never
    found again. One process writes at a time, any number read; every call sees all that was
    committed, by any process, before the call began. Threads may share a store.

    Attributes:
        path: The folder.
        space: The space of all its vectors.
        dim: Width D of the space.
    """

    def __init__(self, database: Database, space: SpaceId, dim: int) -> None:
        self.path = database.root
        self.space = space
        self.dim = dim
        self._database = database
        self._view: View | None = None
        self._view_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        space: SpaceId | None = None,
        dim: int | None = None,
        read_only: bool = False,
        timeout_s: float = 30.0,
    ) -> Self:
        """Open the store in a folder; make it if space and dim are given and it is not there.

        Args:
            path: The folder.
            space: The space that its vectors must be of; None to take what is there.
            dim: Width D, likewise.
            read_only: Refuse every write; works on a read-only medium.
            timeout_s: How long a write waits for another process to finish its own.

        Raises:
            StoreError: There is no store and too little was told to make one, or it is damaged,
                unreadable or of a newer version.
            SpaceMismatchError: The store is of another space or width.
        """
        root = Path(path)
        if not (root / DATABASE).exists() and (space is None or dim is None):
            raise StoreError(f"no store at {root}; correct the path, or add items first")
        database = Database(root, read_only=read_only, timeout_s=timeout_s)
        try:
            found = _identity(database) or _found(database, space, dim)
            _check_space(root, found, space, dim)
            _recover(database)
        except BaseException:
            database.close()
            raise
        return cls(database, *found)

    def upsert(
        self,
        keys: Sequence[str],
        vectors: FloatArray,
        *,
        modality: str,
        metadata: Sequence[Mapping[str, Json]] | None = None,
        sources: Sequence[str | None] | None = None,
        content_hashes: Sequence[str | None] | None = None,
    ) -> None:
        """Store vectors under keys; a key that is there is replaced, whatever it held.

        Returns when every row would survive a power cut. All rows are stored, or none.

        Args:
            keys: N different keys, each up to 16 KiB of UTF-8.
            vectors: Unit length, float32, shape (N, D).
            modality: Name of the modality of all rows.
            metadata: A mapping of JSON values for each row, up to 4 MiB as text.
            sources: Path or address of each row.
            content_hashes: Hash of each row's content, by which `stats` finds duplicates; the
                hash of the vector if None.

        Raises:
            InvalidInputError: A key, a vector, the metadata or their number is not as needed.
            StoreError: The disk is full, or another process kept writing; nothing was stored.
        """
        checked = check_keys(keys)
        check_unique(checked)
        rows = check_vectors(vectors, self.dim)
        if metadata is None:
            metadata = [{}] * len(checked)
        batch = writing.Batch(
            keys=checked,
            vectors=rows,
            modality=check_name(modality, "modality"),
            metadata=check_metadata(metadata),
            captions=[_caption(value) for value in metadata],
            fields={name for value in metadata for name in value},
            sources=list(sources) if sources is not None else [None] * len(checked),
            content_hashes=(
                list(content_hashes) if content_hashes is not None else [None] * len(checked)
            ),
        )
        lengths = {
            "keys": len(checked),
            "vectors": len(rows),
            "metadata": len(batch.metadata),
            "sources": len(batch.sources),
            "content_hashes": len(batch.content_hashes),
        }
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{n} {what}" for what, n in lengths.items())
            raise InvalidInputError(f"a batch has {told}; one of each per item was needed")
        with self._database.writing("upsert") as connection:
            writing.insert(connection, self.path, batch)

    def delete(
        self, keys: Sequence[str] | None = None, *, where: Mapping[str, Json] | None = None
    ) -> int:
        """Remove items and return how many there were; they are never found again.

        Args:
            keys: Which; keys that are not there are passed over.
            where: Which, as in `search`; with keys, those that are both.

        Raises:
            InvalidInputError: Neither was given, or one is not as needed.
            StoreError: The store cannot be written.
        """
        if keys is None and where is None:
            raise InvalidInputError("delete was told neither keys nor where; say what to remove")
        checked = None if keys is None else sorted(set(check_keys(keys)))
        with self._database.writing("delete") as connection:
            if where is not None:
                condition = compile_filter(where, _fields(connection))
                sql, values = condition.sql, list(condition.values)
                if checked is not None:
                    sql += " AND key IN (SELECT value FROM json_each(?))"
                    values.append(json.dumps(checked, ensure_ascii=False))
                found = connection.execute(f"SELECT key FROM items WHERE {sql}", values)
                checked = [row[0] for row in found]
            return len(writing.remove(connection, self.path, checked or [], self.dim))

    def search(
        self,
        queries: FloatArray,
        *,
        k: int = 10,
        modalities: Sequence[str] | None = None,
        where: Mapping[str, Json] | None = None,
        query_modality: str | None = None,
        calibration: str | None = None,
        min_score: float | None = None,
    ) -> list[list[Hit]]:
        """Return for each query its k nearest items, best first; fewer only if fewer exist.

        Args:
            queries: Unit length, float32, shape (B, D).
            k: How many.
            modalities: Among which; all if None. One that nothing is stored of has no hits.
            where: A condition on the items, see `unibind.retrieval.filters`.
            query_modality: What the queries are, for the calibration.
            calibration: ``"none"``, ``"centre"`` or ``"standardise"``, see
                `unibind.retrieval.calibration`; None centres a search into several modalities.
            min_score: Leave out hits below this score.

        Raises:
            InvalidInputError: An argument is not as needed.
            StoreError: The store is damaged.
        """
        k = check_k(k)
        queries = check_vectors(queries, self.dim, what="queries")
        if calibration is not None:
            check_calibration(calibration)
        lowest = -np.inf if min_score is None else check_score(min_score, what="min_score")
        with self._database.reading() as connection:
            view = self._refreshed(connection)
            shards = [
                shard
                for name, shard in view.shards.items()
                if shard.n_live and (modalities is None or name in modalities)
            ]
            way = calibration or ("centre" if len(shards) > 1 else "none")
            condition = None if where is None else compile_filter(where, _fields(connection))
            found: list[list[tuple[float, int]]] = [[] for _ in queries]
            for shard in shards:
                seen = calibrated(
                    queries, shard, view.shards, calibration=way, query_modality=query_modality
                )
                among = shard.alive
                if condition is not None:
                    among = _matching(connection, shard, condition.sql, condition.values)
                slots = exact(shard.vectors, seen.queries, min(k, shard.n_slots), among=among)
                rows = shard.vectors[slots]  # (B, k, D)
                products = np.einsum("bkd,bd->bk", rows, seen.queries, dtype=np.float64)
                scores = seen.scores(products)
                for line, (line_scores, line_slots) in enumerate(zip(scores, slots, strict=True)):
                    found[line].extend(
                        (float(score), int(item))
                        for score, item, slot in zip(
                            line_scores, shard.ids(line_slots), line_slots, strict=True
                        )
                        if slot >= 0 and score >= lowest
                    )
            return self._hits(connection, [sorted(line, reverse=True)[:k] for line in found])

    def get(self, key: str) -> Hit | None:
        """Return the item of a key with score 1, or None."""
        check_name(key, "key")
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT name, metadata FROM items JOIN modalities USING (modality) WHERE key = ?",
                (key,),
            ).fetchone()
        return None if row is None else Hit(key, row[0], 1.0, json.loads(row[1]))

    def vectors(self, keys: Sequence[str]) -> FloatArray:
        """Return the stored vectors of keys, shape (N, D), bit for bit as they came.

        Raises:
            InvalidInputError: A key is not there.
        """
        checked = check_keys(keys)
        result = np.empty((len(checked), self.dim), dtype=np.float32)
        with self._database.reading() as connection:
            shards = {s.modality: s for s in self._refreshed(connection).shards.values()}
            for row, key in enumerate(checked):
                found = connection.execute("SELECT id FROM items WHERE key = ?", (key,)).fetchone()
                if found is None:
                    raise InvalidInputError(f"no item has the key {key[:80]!r}; see `scan`")
                shard = shards[found[0] >> SLOT_BITS]
                result[row] = shard.vectors[slot_of(found[0])]
        return result

    def count(self, modality: str | None = None) -> int:
        """Return how many items are stored, in all or of one modality."""
        with self._database.reading() as connection:
            (n_items,) = connection.execute(
                "SELECT coalesce(sum(n_live), 0) FROM modalities WHERE ? IN (name, '')",
                (modality or "",),
            ).fetchone()
        return int(n_items)

    def close(self) -> None:
        """Release files and locks; the store must not be used afterwards."""
        self._database.close()
        self._view = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refreshed(self, connection: Any) -> View:
        with self._view_lock:
            (generation,) = connection.execute("SELECT generation FROM store").fetchone()
            if self._view is not None and self._view.generation > generation:
                # Another thread saw a later state; ours began before it. Begin again.
                connection.execute("ROLLBACK")
                connection.execute("BEGIN")
                (generation,) = connection.execute("SELECT generation FROM store").fetchone()
            if self._view is None or self._view.generation != generation:
                self._view = refreshed(self._view, connection, self.path, self.dim)
            return self._view

    def _hits(
        self, connection: Any, found: Sequence[Sequence[tuple[float, int]]]
    ) -> list[list[Hit]]:
        ids = sorted({item for line in found for _, item in line})
        rows = connection.execute(
            "SELECT items.id, items.key, modalities.name, items.metadata "
            "FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value "
            "JOIN modalities USING (modality)",
            (json.dumps(ids),),
        )
        by_id = {row[0]: row[1:] for row in rows}
        return [
            [Hit(by_id[i][0], by_id[i][1], s, json.loads(by_id[i][2])) for s, i in line]
            for line in found
        ]


def _identity(database: Database) -> tuple[SpaceId, int] | None:
    with database.connection() as connection:
        row = connection.execute("SELECT space, dim FROM store").fetchone()
    return None if row is None else (SpaceId(row[0]), int(row[1]))


def _found(database: Database, space: SpaceId | None, dim: int | None) -> tuple[SpaceId, int]:
    if space is None or dim is None:
        raise StoreError(f"the store at {database.root} was never finished; give space and dim")
    if not isinstance(dim, int) or dim < 1:
        raise InvalidInputError(f"dim is {dim!r}; a positive int was needed")
    check_name(space, "space")
    with database.writing("create") as connection:
        connection.execute(
            "INSERT OR IGNORE INTO store VALUES (1, ?, ?, 0, strftime('%s', 'now') + 0.0)",
            (space, dim),
        )
    found = _identity(database)
    assert found is not None
    return found


def _check_space(
    root: Path, found: tuple[SpaceId, int], space: SpaceId | None, dim: int | None
) -> None:
    if space is not None and space != found[0]:
        raise SpaceMismatchError(
            f"the store at {root} holds vectors of space {found[0]}, space {space} was asked for; "
            "open it with the space it was filled from, or index the items again"
        )
    if dim is not None and dim != found[1]:
        raise SpaceMismatchError(
            f"the store at {root} holds vectors of width {found[1]}, {dim} was asked for; "
            "open it with the space it was filled from"
        )


def _recover(database: Database) -> None:
    with database.reading() as connection:
        n_lost = writing.recover(connection, database.root)
    if not n_lost:
        return
    if database.read_only:
        raise StoreError(
            f"a power cut kept {n_lost} vectors from the files of {database.root}; they are safe: "
            "open the store once for writing, which puts them back"
        )
    with database.writing("recover") as connection:
        writing.replay(connection, database.root)
        writing.flush(connection, database.root)


def _fields(connection: Any) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM fields")]


def _matching(connection: Any, shard: Shard, sql: str, values: Sequence[Any]) -> BoolArray:
    first = shard.modality << SLOT_BITS
    among = np.zeros(shard.n_slots, dtype=np.bool_)
    rows = connection.execute(
        f"SELECT id FROM items WHERE id >= ? AND id < ? AND ({sql})",
        (first, first + (1 << SLOT_BITS), *values),
    ).fetchall()
    among[[slot_of(row[0]) for row in rows]] = True
    return among


def _caption(metadata: Mapping[str, Json]) -> str:
    texts = [value for value in metadata.values() if isinstance(value, str)]
    return "\n".join(texts)
