"""What a write transaction does: rows into the tables, vectors into the files, in that promise.

A batch of a few rows keeps a copy of its vectors in the table ``pending``, so that SQLite's sync
makes it durable alone; a large one syncs the file of vectors first, which is cheaper per row.
"""

import hashlib
import io
import json
import sqlite3
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unibind.errors import InvalidInputError, StoreError
from unibind.retrieval.schema import SLOT_BITS, slot_of
from unibind.retrieval.segments import FOLDER, append, mapped, new_segment, sync
from unibind.types import FloatArray

__all__ = [
    "Batch",
    "checksum",
    "flush",
    "identity_checksum",
    "insert",
    "n_unwritten",
    "remove",
    "replay",
]

# Below this many rows one sync of SQLite with the vectors in it beats two syncs.
_FEW_ROWS = 64
_MOST_PENDING = 4096


@dataclass(frozen=True, slots=True)
class Batch:
    """Checked rows on their way into a store.

    Attributes:
        keys: Each once.
        vectors: Shape (N, D).
        modality: Name.
        metadata: JSON text of each row.
        captions: What full-text search reads of each row; may be empty.
        fields: Names of the metadata's fields.
        sources: Of each row.
        content_hashes: Of each row.
        created_at: When the keys were first stored; None for now, or as the store knows it.
        made_by: What made all of the vectors, or None.
    """

    keys: Sequence[str]
    vectors: FloatArray
    modality: str
    metadata: Sequence[str]
    captions: Sequence[str]
    fields: Iterable[str]
    sources: Sequence[str | None]
    content_hashes: Sequence[str | None]
    created_at: Sequence[float] | None = None
    made_by: str | None = None

    def check_lengths(self) -> None:
        """Check that there is one of everything for each key.

        Raises:
            InvalidInputError: There is not.
        """
        lengths = {
            "keys": len(self.keys),
            "vectors": len(self.vectors),
            "metadata": len(self.metadata),
            "sources": len(self.sources),
            "content hashes": len(self.content_hashes),
        }
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{n} {what}" for what, n in lengths.items())
            raise InvalidInputError(f"a batch has {told}; one of each per item was needed")


def insert(connection: sqlite3.Connection, root: Path, batch: Batch) -> None:
    """Store a batch inside a write transaction; keys that are there are replaced.

    Raises:
        StoreError: The tables count fewer rows than they name: the database is damaged.
    """
    if not batch.keys:
        return
    created = remove(connection, root, batch.keys, batch.vectors.shape[1])
    modality, segment, n_slots = _modality(connection, root, batch.modality, batch.vectors.shape[1])
    file = root / FOLDER / segment
    append(file, batch.vectors, after=n_slots)
    first = (modality << SLOT_BITS) + n_slots
    _begin_run(connection, first, batch.made_by)
    if len(batch.keys) < _FEW_ROWS:
        connection.executemany(
            "INSERT INTO pending VALUES (?, ?)",
            ((first + row, vector.tobytes()) for row, vector in enumerate(batch.vectors)),
        )
    else:
        sync(file)
    connection.executemany(
        "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _rows(batch, first, created)
    )
    connection.executemany(
        "INSERT OR IGNORE INTO fields VALUES (?)", ((name,) for name in batch.fields)
    )
    connection.executemany(
        "INSERT INTO captions (rowid, text) VALUES (?, ?)",
        ((first + row, text) for row, text in enumerate(batch.captions) if text),
    )
    _count(connection, modality, len(batch.keys), len(batch.keys), batch.vectors)
    if _n_pending(connection) > _MOST_PENDING:
        flush(connection, root)


def _rows(batch: Batch, first: int, created: Mapping[str, float]) -> Iterator[tuple[Any, ...]]:
    modality, now = first >> SLOT_BITS, time.time()
    for row, (key, metadata, source, content_hash, vector) in enumerate(
        zip(
            batch.keys,
            batch.metadata,
            batch.sources,
            batch.content_hashes,
            batch.vectors,
            strict=True,
        )
    ):
        content = (
            content_hash or f"vector:{hashlib.blake2b(vector.data, digest_size=16).hexdigest()}"
        )
        born = created.get(key) or (batch.created_at[row] if batch.created_at else now)
        digest = checksum(
            batch.modality, key, metadata, source, content, born, now, batch.made_by, vector
        )
        yield first + row, key, modality, metadata, source, content, born, now, digest


def _begin_run(connection: sqlite3.Connection, first: int, made_by: str | None) -> None:
    """Note who made the rows from an id on, unless those before it say so."""
    before = connection.execute(
        "SELECT made_by FROM runs WHERE first_id <= ? AND first_id >= ? "
        "ORDER BY first_id DESC LIMIT 1",
        (first, first >> SLOT_BITS << SLOT_BITS),
    ).fetchone()
    if (before[0] if before else None) != made_by:
        connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (first, made_by))


def remove(
    connection: sqlite3.Connection, root: Path, keys: Sequence[str], dim: int
) -> dict[str, float]:
    """Remove items inside a write transaction and return when each that was there was created."""
    wanted = json.dumps(list(keys), ensure_ascii=False)
    found = connection.execute(
        "SELECT items.id, items.key, items.modality, items.created_at FROM json_each(?) AS wanted "
        "CROSS JOIN items ON items.key = wanted.value",
        (wanted,),
    ).fetchall()
    connection.execute("UPDATE store SET generation = generation + 1")
    if not found:
        return {}
    (generation,) = connection.execute("SELECT generation FROM store").fetchone()
    ids = sorted({row[0] for row in found})
    connection.executemany("DELETE FROM items WHERE id = ?", ((item,) for item in ids))
    connection.executemany(
        "INSERT INTO tombstones VALUES (?, ?)", ((item, generation) for item in ids)
    )
    for modality in {row[2] for row in found}:
        segment, n_slots = connection.execute(
            "SELECT segment, n_slots FROM modalities WHERE modality = ?", (modality,)
        ).fetchone()
        slots = [slot_of(item) for item in ids if item >> SLOT_BITS == modality]
        vectors = mapped(root / FOLDER / segment, n_slots, dim)[slots]
        _count(connection, modality, 0, -len(slots), vectors)
    return {row[1]: row[3] for row in found}


def flush(connection: sqlite3.Connection, root: Path) -> None:
    """Sync the files of pending rows and drop their copies, inside a write transaction."""
    for (segment,) in connection.execute(
        "SELECT segment FROM modalities WHERE modality IN (SELECT DISTINCT id >> ? FROM pending)",
        (SLOT_BITS,),
    ).fetchall():
        sync(root / FOLDER / segment)
    connection.execute("DELETE FROM pending")


def replay(connection: sqlite3.Connection, root: Path) -> int:
    """Write pending rows that a power cut kept from the files again; return how many there were."""
    lost = list(_unwritten(connection, root))
    for file, slot, vector in lost:
        append(file, np.frombuffer(vector, dtype="<f4")[None, :], after=slot)
    return len(lost)


def n_unwritten(connection: sqlite3.Connection, root: Path) -> int:
    """Return how many pending rows the files of vectors lack, without writing."""
    return sum(1 for _ in _unwritten(connection, root))


def _unwritten(connection: sqlite3.Connection, root: Path) -> Iterator[tuple[Path, int, bytes]]:
    """Yield file, slot and bytes of each pending row that its file does not hold."""
    for modality, segment in connection.execute(
        "SELECT modality, segment FROM modalities WHERE modality IN (SELECT id >> ? FROM pending)",
        (SLOT_BITS,),
    ).fetchall():
        file = root / FOLDER / segment
        first = modality << SLOT_BITS
        rows = connection.execute(
            "SELECT id - ?, vector FROM pending WHERE id >= ? AND id < ?",
            (first, first, first + (1 << SLOT_BITS)),
        )
        with file.open("rb") if file.exists() else io.BytesIO() as stream:
            for slot, vector in rows:
                stream.seek(slot * len(vector))
                if stream.read(len(vector)) != vector:
                    yield file, slot, vector


def checksum(
    modality: str,
    key: str,
    metadata: str,
    source: str | None,
    content_hash: str,
    created_at: float,
    updated_at: float,
    made_by: str | None,
    vector: FloatArray,
) -> bytes:
    """Return the hash by which `verify` knows that an item is as it was stored."""
    texts = [text.encode() for text in (modality, key, metadata, source or "", content_hash)]
    head = struct.pack("<5q?2d", *map(len, texts), source is None, created_at, updated_at)
    digest = hashlib.blake2b(b"".join([head, *texts]), digest_size=16)
    # Of items without it, and those that an earlier format stored, the hash is what it was.
    digest.update((made_by or "").encode())
    digest.update(vector.data)
    return digest.digest()


def identity_checksum(space: str, dim: int, created_at: float) -> bytes:
    """Return the hash by which an opened store knows that it is the one that was made."""
    told = f"{space}\0{dim}\0{created_at!r}".encode()
    return hashlib.blake2b(told, digest_size=16).digest()


def _modality(
    connection: sqlite3.Connection, root: Path, name: str, dim: int
) -> tuple[int, str, int]:
    query = "SELECT modality, segment, n_slots FROM modalities WHERE name = ?"
    found = connection.execute(query, (name,)).fetchone()
    if found is None:
        (number,) = connection.execute(
            "SELECT coalesce(max(modality), 0) + 1 FROM modalities"
        ).fetchone()
        connection.execute(
            "INSERT INTO modalities VALUES (?, ?, ?, 0, 0, ?)",
            (number, name, new_segment(root, number), np.zeros(dim, dtype="<f8").tobytes()),
        )
        found = connection.execute(query, (name,)).fetchone()
    modality, segment, n_slots = int(found[0]), str(found[1]), int(found[2])
    beyond = connection.execute(
        "SELECT max(id) FROM items WHERE id >= ? AND id < ?",
        ((modality << SLOT_BITS) + n_slots, (modality + 1) << SLOT_BITS),
    ).fetchone()
    if beyond[0] is not None:
        raise StoreError(
            f"the store at {root} counts {n_slots} rows of {name!r} and names row "
            f"{slot_of(beyond[0])}; it is damaged: run `unibind index verify --repair`"
        )
    return modality, segment, n_slots


def _count(
    connection: sqlite3.Connection, modality: int, n_slots: int, n_live: int, vectors: FloatArray
) -> None:
    (total,) = connection.execute(
        "SELECT vector_sum FROM modalities WHERE modality = ?", (modality,)
    ).fetchone()
    change = vectors.sum(axis=0, dtype=np.float64) * (1 if n_live >= 0 else -1)
    connection.execute(
        "UPDATE modalities SET n_slots = n_slots + ?, n_live = n_live + ?, vector_sum = ? "
        "WHERE modality = ?",
        (n_slots, n_live, (np.frombuffer(total, dtype="<f8") + change).tobytes(), modality),
    )


def _n_pending(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM pending").fetchone()[0])
