"""LocalStore: a durable store of embeddings in one folder. SQLite is the truth, FAISS derived."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from unibind.errors import InvalidInputError
from unibind.retrieval import identity, maintenance, verification, writing
from unibind.retrieval.answer import Cut, answered
from unibind.retrieval.calibration import check_calibration
from unibind.retrieval.current import Current
from unibind.retrieval.database import Database
from unibind.retrieval.filters import Filter, compile_filter
from unibind.retrieval.fulltext import caption, parsed
from unibind.retrieval.guard import (
    check_keys,
    check_metadata,
    check_name,
    check_names,
    check_unique,
    check_vectors,
)
from unibind.retrieval.plan import KINDS, Plan
from unibind.retrieval.reading import Tables, fields_of
from unibind.retrieval.records import Stats, StoredItem, Verification
from unibind.retrieval.scanning import scanned
from unibind.retrieval.schema import SLOT_BITS, slot_of
from unibind.retrieval.search import Question
from unibind.retrieval.upkeep import Upkeep
from unibind.retrieval.view import View
from unibind.types import FloatArray, Hit, Json, ProgressCallback, SpaceId

__all__ = ["LocalStore"]

_SCANNED_ROWS = 1024


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
        self._current = Current(database, dim)
        self._upkeep = Upkeep(database, self._current, dim)

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
        database, found = identity.opened(
            Path(path), space, dim, read_only=read_only, timeout_s=timeout_s
        )
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
        made_by: str | None = None,
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
            made_by: What made the vectors, the content id of a head, say; `makers` tells it again.

        Raises:
            InvalidInputError: A key, a vector, the metadata or their number is not as needed.
            StoreError: The disk is full, or another process kept writing; nothing was stored.
        """
        self._insert(
            keys,
            vectors,
            modality=modality,
            metadata=metadata,
            sources=sources,
            content_hashes=content_hashes,
            created_at=None,
            made_by=made_by,
        )

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
        checked = [] if keys is None else sorted(set(check_keys(keys)))
        with self._database.writing("delete") as connection:
            if where is not None:
                condition = compile_filter(where, fields_of(connection))
                sql, values = condition.sql, list(condition.values)
                if keys is not None:
                    sql = f"({sql}) AND key IN (SELECT value FROM json_each(?))"
                    values.append(json.dumps(checked, ensure_ascii=False))
                found = connection.execute(f"SELECT key FROM items WHERE {sql}", values)
                checked = [row[0] for row in found]
            return len(writing.remove(connection, self.path, checked, self.dim))

    def search(
        self,
        queries: FloatArray | None,
        *,
        k: int | None = 10,
        modalities: Sequence[str] | None = None,
        where: Mapping[str, Json] | None = None,
        query_modality: str | None = None,
        calibration: str | None = None,
        min_score: float | None = None,
        group_by: str | None = None,
        after: Hit | None = None,
        text: str | Sequence[str] | None = None,
        exact: bool = False,
    ) -> list[list[Hit]]:
        """Return for each query its k nearest items, best first; fewer only if fewer exist.

        Hits of equal score are in the order of their keys.

        Args:
            queries: Unit length, float32, shape (B, D); None to search by `text` alone.
            k: How many; None for every item of at least `min_score`, by a full scan.
            modalities: Among which; all if None. One that nothing is stored of has no hits.
            where: A condition on the items, see `unibind.retrieval.filters`.
            query_modality: What the queries are, for the calibration.
            calibration: ``"none"``, ``"centre"`` or ``"standardise"``, see
                `unibind.retrieval.calibration`. None: a search into several modalities is
                calibrated as the store was told (`set_calibration`), centred at first.
            min_score: Leave out hits below this score.
            group_by: ``"modality"`` or a metadata field: only the best hit of each of its values.
            after: Only what comes after this hit: with the last hit of a page, the next page.
                Give ``exact=True`` for the first page, too.
            text: Words to rank by as well, for each query or one for all: the orders of vectors
                and of BM25 over captions and metadata are fused by reciprocal rank, and that sum
                is the score.
            exact: Leave approximate indexes aside.

        Raises:
            InvalidInputError: An argument is not as needed.
            StoreError: The store is damaged.
        """
        cut = Cut.checked(
            queries, k=k, min_score=min_score, group_by=group_by, after=after, text=text
        )
        checked = np.empty((0, self.dim), dtype=np.float32)
        if queries is not None:
            checked = check_vectors(queries, self.dim, what="queries")
        if calibration is not None:
            check_calibration(calibration)
        if isinstance(modalities, str):
            raise InvalidInputError(f"modalities is the str {modalities!r}; pass a list of names")

        def ask(tables: Tables, view: View) -> list[list[Hit]]:
            shards = [
                shard
                for name, shard in view.shards.items()
                if shard.n_live and (modalities is None or name in modalities)
            ]
            question = Question(
                queries=checked,
                shards=shards,
                calibration=calibration or (view.calibration if len(shards) > 1 else "none"),
                query_modality=query_modality,
                condition=None if where is None else compile_filter(where, view.fields),
                exactly=exact or after is not None,
            )
            return answered(tables, view, question, cut, matches=self._current.matches)

        found, view = self._current.asked(ask)
        self._upkeep.mend(view)
        return found

    def pages(
        self,
        query: FloatArray,
        *,
        page_size: int = 10,
        modalities: Sequence[str] | None = None,
        where: Mapping[str, Json] | None = None,
        query_modality: str | None = None,
    ) -> Iterator[list[Hit]]:
        """Yield the items nearest to one query, shape (D,), page by page, until there are no more.

        Stable: an item that is there throughout comes exactly once, whatever is written between.
        """
        after: Hit | None = None
        while True:
            (page,) = self.search(
                np.asarray(query)[None, :],
                k=page_size,
                modalities=modalities,
                where=where,
                query_modality=query_modality,
                after=after,
                exact=True,
            )
            if not page:
                return
            yield page
            after = page[-1]

    def get(self, key: str) -> Hit | None:
        """Return the item of a key with score 1, or None.

        Raises:
            InvalidInputError: The key is none that could be stored.
        """
        check_name(key, "key")
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT name, metadata FROM items JOIN modalities USING (modality) WHERE key = ?",
                (key,),
            ).fetchone()
        return None if row is None else Hit(key, row[0], 1.0, parsed(key, row[1]))

    def source(self, key: str) -> str | None:
        """Return where the item of a key came from, None if that was not told or it is not there.

        Raises:
            InvalidInputError: The key is none that could be stored.
        """
        check_name(key, "key")
        with self._database.reading() as connection:
            row = connection.execute("SELECT source FROM items WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def vectors(self, keys: Sequence[str]) -> FloatArray:
        """Return the stored vectors of keys, shape (N, D), bit for bit as they came.

        Raises:
            InvalidInputError: A key is not there.
        """
        checked = check_keys(keys)
        result = np.empty((len(checked), self.dim), dtype=np.float32)
        with self._current.reading() as (connection, view):
            shards = {shard.modality: shard for shard in view.shards.values()}
            for row, key in enumerate(checked):
                found = connection.execute("SELECT id FROM items WHERE key = ?", (key,)).fetchone()
                if found is None:
                    raise InvalidInputError(f"no item has the key {key[:80]!r}; see `scan`")
                result[row] = shards[found[0] >> SLOT_BITS].vectors[slot_of(found[0])]
        return result

    def scan(self, *, where: Mapping[str, Json] | None = None) -> Iterator[StoredItem]:
        """Yield every item, in the order of the keys.

        What is written meanwhile may be among them or not; each item comes once at most.

        Args:
            where: Only the items that fulfil this condition.

        Raises:
            InvalidInputError: The condition is not as needed.
        """
        last = ""
        while True:
            with self._current.reading() as (connection, view):
                condition = Filter("1", (), frozenset())
                if where is not None:
                    condition = compile_filter(where, view.fields)
                page = scanned(connection, view, condition, after=last, limit=_SCANNED_ROWS)
            yield from page
            if len(page) < _SCANNED_ROWS:
                return
            last = page[-1].key

    def count(self, modality: str | None = None) -> int:
        """Return how many items are stored, in all or of one modality."""
        with self._database.reading() as connection:
            (n_items,) = connection.execute(
                "SELECT coalesce(sum(n_live), 0) FROM modalities WHERE ?1 IS NULL OR name = ?1",
                (modality,),
            ).fetchone()
        return int(n_items)

    def makers(self) -> dict[str, dict[str, int]]:
        """Return, for each modality, how many of its items each head (or what was told) made.

        What `upsert` was told as ``made_by``; "" stands for items of which nothing was told.
        Vectors of two heads are of one space, but what is alike for the one need not be so for the
        other: add again what an earlier one made. Takes milliseconds, however much is stored.
        """
        with self._current.reading() as (connection, view):
            return maintenance.makers(connection, view)

    def stats(self, *, n_duplicates: int = 20) -> Stats:
        """Return what the store holds.

        Args:
            n_duplicates: How many contents that are there more than once to list at most; 0 saves
                the search for them.
        """
        with self._current.reading() as (connection, view):
            return maintenance.stats(
                connection,
                view,
                self.path,
                space=self.space,
                dim=self.dim,
                calibration=view.calibration,
                n_duplicates=n_duplicates,
            )

    def set_calibration(self, calibration: str) -> None:
        """Record how searches into several modalities are calibrated when they do not say.

        Raises:
            InvalidInputError: The name is unknown.
        """
        check_calibration(calibration)
        with self._database.writing("set calibration") as connection:
            connection.execute(
                "INSERT OR REPLACE INTO settings VALUES ('calibration', ?)", (calibration,)
            )
            connection.execute("UPDATE store SET generation = generation + 1")

    def rebuild(
        self,
        *,
        kind: str = "auto",
        recall: float = 0.95,
        memory: int | None = None,
        modalities: Sequence[str] | None = None,
        queries: FloatArray | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, Plan]:
        """Build the indexes anew, measure their recall and record it; others may write meanwhile.

        Args:
            kind: ``"exact"``, ``"hnsw"``, ``"ivfpq"``, ``"int8"``, ``"binary"``, or ``"auto"``
                for the fastest that fits the memory and is measured to reach the recall.
            recall: Wanted share of the exact 10 nearest that a search finds, in (0, 1].
            memory: Bytes that searching a modality may keep resident; None for no limit.
            modalities: Which; all if None.
            queries: Typical queries to measure with, shape (Q, D); a sample of the store if None.
            progress: Called while rows are added.

        Returns:
            The plan of each modality, with the recall that was measured.

        Raises:
            InvalidInputError: The kind or the recall is unknown.
            StoreError: The store cannot be written, or was compacted meanwhile.
        """
        if kind != "auto" and kind not in KINDS:
            raise InvalidInputError(f"kind is {kind!r}; auto, or one of {', '.join(KINDS)}")
        Plan("exact", wanted_recall=recall)
        if queries is not None:
            queries = check_vectors(queries, self.dim, what="queries")
        return self._upkeep.rebuild(
            kind=kind,
            recall=recall,
            memory=memory,
            modalities=modalities,
            queries=queries,
            progress=progress,
        )

    def verify(self, *, repair: bool = False) -> Verification:
        """Compare everything on disk with its checksums and with each other.

        Args:
            repair: Make again what is derived (indexes, words, counts) where it is wrong; nothing
                is touched if the tables themselves are damaged: restore a snapshot then.

        Raises:
            StoreError: The database cannot be read at all.
        """
        found = verification.verified(self._database, self.dim)
        if not repair or not all(one.is_derived or one.key for one in found.damages):
            return found
        with self._database.writing("repair") as connection:
            verification.repair(connection, self.path, self.dim)
        self._current.forget()
        with self._current.reading() as (_, view):
            pass
        self._upkeep.mend(view)
        left = verification.verified(self._database, self.dim)
        repaired = [damage for damage in found.damages if damage not in left.damages]
        return Verification(left.n_items, left.damages, repaired)

    def compact(self) -> int:
        """Give back the room of what was deleted or replaced; return how many rows went.

        Indexes are built again as they were. Deleted content is gone from the disk afterwards.
        """
        return self._upkeep.compact()

    def snapshot(self, path: str | Path) -> None:
        """Write a whole copy of the store, with the hash of each file, to a new folder.

        Others may write meanwhile; the copy holds what was committed when it began.

        Raises:
            StoreError: The store cannot be read.
            ArtifactError: The folder cannot be written.
        """
        maintenance.snapshot(self._database, Path(path), self.space, self.dim)

    def export(self, path: str | Path, *, progress: ProgressCallback | None = None) -> int:
        """Write every item to a Parquet file and return how many there were.

        Raises:
            StoreError: The file cannot be written.
        """
        from unibind.retrieval import exchange

        return exchange.export(
            self.scan(),
            Path(path),
            space=self.space,
            dim=self.dim,
            n_items=self.count(),
            progress=progress,
        )

    def import_(self, path: str | Path, *, progress: ProgressCallback | None = None) -> int:
        """Store every item of a Parquet file that `export` wrote; return how many there were.

        Raises:
            InvalidInputError: The file is not of that form.
            SpaceMismatchError: Its vectors are of another space.
            StoreError: The store cannot be written; the batches before are stored.
        """
        from unibind.retrieval import exchange

        return exchange.import_(
            self._insert, Path(path), space=self.space, dim=self.dim, progress=progress
        )

    def close(self) -> None:
        """Release files and locks; the store must not be used afterwards."""
        self._database.close()
        self._current.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _insert(
        self,
        keys: Sequence[str],
        vectors: FloatArray,
        *,
        modality: str,
        metadata: Sequence[Mapping[str, Json]] | None,
        sources: Sequence[str | None] | None,
        content_hashes: Sequence[str | None] | None,
        created_at: Sequence[float] | None,
        made_by: str | None,
    ) -> None:
        checked = check_keys(keys)
        check_unique(checked)
        rows = check_vectors(vectors, self.dim)
        described = [{}] * len(checked) if metadata is None else list(metadata)
        batch = writing.Batch(
            keys=checked,
            vectors=rows,
            modality=check_name(modality, "modality"),
            metadata=check_metadata(described),
            captions=[caption(value) if value else "" for value in described],
            fields={name for value in described for name in value},
            sources=check_names(sources, len(checked), "source"),
            content_hashes=check_names(content_hashes, len(checked), "content hash"),
            created_at=created_at,
            made_by=None if made_by is None else check_name(made_by, "made_by"),
        )
        batch.check_lengths()
        with self._database.writing("upsert") as connection:
            writing.insert(connection, self.path, batch)
