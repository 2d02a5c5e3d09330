"""Comparing a store with its checksums and with itself, and making again what is derived."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unibind.artifact import sha256_of
from unibind.errors import StoreError
from unibind.retrieval import writing
from unibind.retrieval.database import Database
from unibind.retrieval.fulltext import rebuild_captions, words_differ
from unibind.retrieval.records import Damage, Verification
from unibind.retrieval.schema import DATABASE, MADE_BY, SLOT_BITS, slot_of
from unibind.retrieval.segments import FOLDER, mapped, sync
from unibind.retrieval.view import INDEXES, BoolArray
from unibind.types import FloatArray

__all__ = ["repair", "verified"]

_MOST_NAMED = 100


def verified(database: Database, dim: int) -> Verification:
    """Return everything that is not as it was written; see `LocalStore.verify`.

    Raises:
        StoreError: The database cannot be read at all.
    """
    acknowledged = database.acknowledged()
    with database.reading() as connection:
        structural = list(_structure(connection, database.root, acknowledged))
        if any(not damage.is_derived for damage in structural):
            # What SQLite itself cannot walk is not worth reading row by row.
            return Verification(0, structural)
        (n_items,) = connection.execute("SELECT count(*) FROM items").fetchone()
        damages = [
            *structural,
            *_items(connection, database.root, dim),
            *_derived(connection, database.root, dim),
        ]
    return Verification(n_items, damages)


def repair(connection: sqlite3.Connection, root: Path, dim: int) -> None:
    """Make again, from the items and their vectors, all that is derived; in a write transaction.

    Files of indexes are left to `LocalStore.rebuild`.
    """
    connection.execute("REINDEX")
    writing.replay(connection, root)
    connection.execute("DELETE FROM pending")
    rows = connection.execute("SELECT modality, segment, n_slots FROM modalities").fetchall()
    connection.execute("DELETE FROM tombstones")
    (generation,) = connection.execute("SELECT generation FROM store").fetchone()
    for modality, segment, n_slots in rows:
        file = root / FOLDER / segment
        sync(file)
        slots = _slots(connection, modality)
        n_slots = max(n_slots, int(slots.max(initial=-1)) + 1)
        vectors = mapped(file, n_slots, dim)
        first = modality << SLOT_BITS
        gaps = np.setdiff1d(np.arange(n_slots), slots)
        connection.executemany(
            "INSERT INTO tombstones VALUES (?, ?)",
            ((first + int(slot), generation + 1) for slot in gaps),
        )
        total = _total(vectors, slots, dim)
        connection.execute(
            "UPDATE modalities SET n_slots = ?, n_live = ?, vector_sum = ? WHERE modality = ?",
            (n_slots, len(slots), total.astype("<f8").tobytes(), modality),
        )
    connection.execute("DELETE FROM fields")
    connection.executemany(
        "INSERT INTO fields VALUES (?)", ((name,) for name in sorted(_field_names(connection)))
    )
    rebuild_captions(connection)
    connection.execute("UPDATE store SET generation = max(generation, ?) + 1", (generation,))


def _structure(connection: sqlite3.Connection, root: Path, acknowledged: int) -> Iterator[Damage]:
    where = str(root / DATABASE)
    for (line,) in connection.execute(f"PRAGMA integrity_check({_MOST_NAMED})"):
        if line != "ok":
            # Indexes of tables can be made again from the tables.
            is_derived = "index" in line or "fts5" in line
            yield Damage(where, line, is_derived)
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield Damage(where, f"row {row} of {table} names no row of {parent}", False)
    stray = connection.execute(
        "SELECT count(*) FROM items WHERE id >> ? <> modality OR id < 0", (SLOT_BITS,)
    ).fetchone()
    if stray[0]:
        yield Damage(where, f"{stray[0]} items are of no modality", False)
    (generation,) = connection.execute("SELECT generation FROM store").fetchone()
    if generation < acknowledged:
        yield Damage(
            where + "-wal",
            f"the store is at generation {generation}, {acknowledged} was acknowledged: later "
            "writes were lost; restore a snapshot or store them again",
            False,
        )


def _items(connection: sqlite3.Connection, root: Path, dim: int) -> Iterator[Damage]:
    n_named = 0
    for modality, name, segment, n_slots in connection.execute(
        "SELECT modality, name, segment, n_slots FROM modalities"
    ).fetchall():
        file = root / FOLDER / segment
        slots = _slots(connection, modality)
        try:
            vectors = mapped(file, max(n_slots, int(slots.max(initial=-1)) + 1), dim)
        except StoreError as error:
            yield Damage(str(file), str(error), False)
            continue
        first = modality << SLOT_BITS
        rows = connection.execute(
            "SELECT id, key, metadata, source, content_hash, created_at, updated_at, "
            f"{MADE_BY}, checksum FROM items WHERE id >= ? AND id < ?",
            (first, first + (1 << SLOT_BITS)),
        )
        for item, key, metadata, source, content, created, updated, made_by, kept in rows:
            vector = vectors[slot_of(item)]
            found = writing.checksum(
                name, key, metadata, source, content, created, updated, made_by, vector
            )
            if found != kept:
                n_named += 1
                if n_named <= _MOST_NAMED:
                    yield Damage(
                        f"{file} or {root / DATABASE}",
                        f"the item {key!r} ({name}, row {slot_of(item)}) is not what was "
                        "stored; store it again, or restore a snapshot",
                        False,
                        key,
                    )
    if n_named > _MOST_NAMED:
        yield Damage(
            str(root), f"{n_named - _MOST_NAMED} more items are not what was stored", False
        )


def _derived(connection: sqlite3.Connection, root: Path, dim: int) -> Iterator[Damage]:
    where = str(root / DATABASE)
    for modality, name, segment, n_slots, n_live, vector_sum in connection.execute(
        "SELECT modality, name, segment, n_slots, n_live, vector_sum FROM modalities"
    ).fetchall():
        slots = _slots(connection, modality)
        alive: BoolArray = np.ones(n_slots, dtype=np.bool_)
        first = modality << SLOT_BITS
        gone = [
            row[0] - first
            for row in connection.execute(
                "SELECT id FROM tombstones WHERE id >= ? AND id < ?",
                (first, first + (1 << SLOT_BITS)),
            )
        ]
        alive[[slot for slot in gone if slot < n_slots]] = False
        is_right = np.array_equal(np.flatnonzero(alive), slots) and n_live == len(slots)
        if not is_right or any(slot >= n_slots for slot in gone):
            yield Damage(where, f"the tombstones or counts of {name!r} are wrong", True)
            continue
        try:
            vectors = mapped(root / FOLDER / segment, n_slots, dim)
        except StoreError:
            continue  # Named already.
        total = _total(vectors, slots, dim)
        kept = np.frombuffer(vector_sum, dtype="<f8") if len(vector_sum) == 8 * dim else None
        # Sums that were added to in another order differ in the last bits.
        if kept is None or not np.allclose(kept, total, atol=1e-9 * (len(slots) + n_slots + 1)):
            yield Damage(where, f"the mean of {name!r} is wrong", True)
    if connection.execute("SELECT count(*) FROM pending").fetchone()[0]:
        n_lost = writing.n_unwritten(connection, root)
        if n_lost:
            yield Damage(str(root / FOLDER), f"{n_lost} pending rows are not in their file", True)
    for table, what in (
        ("indexes", "index is not what was"),
        ("labels", "labels are not what were"),
    ):
        for name, sha256 in connection.execute(f"SELECT file, sha256 FROM {table}"):
            if _hash(root / INDEXES / name) != sha256:
                yield Damage(str(root / INDEXES / name), f"the {what} written", True)
    if {row[0] for row in connection.execute("SELECT name FROM fields")} < _field_names(connection):
        yield Damage(where, "the list of metadata fields is wrong", True)
    try:
        is_wrong = words_differ(connection)
    except sqlite3.DatabaseError:
        is_wrong = True
    if is_wrong:
        yield Damage(where, "the index of words is wrong", True)


def _slots(connection: sqlite3.Connection, modality: int) -> np.ndarray:
    first = modality << SLOT_BITS
    rows = connection.execute(
        "SELECT id FROM items WHERE id >= ? AND id < ? ORDER BY id",
        (first, first + (1 << SLOT_BITS)),
    ).fetchall()
    return np.fromiter((row[0] - first for row in rows), dtype=np.int64, count=len(rows))


def _total(vectors: FloatArray, slots: np.ndarray, dim: int) -> np.ndarray:
    total = np.zeros(dim)
    for start in range(0, len(slots), 65_536):
        total += vectors[slots[start : start + 65_536]].sum(axis=0, dtype=np.float64)
    return total


def _field_names(connection: sqlite3.Connection) -> set[str]:
    names: set[str] = set()
    for (metadata,) in connection.execute("SELECT metadata FROM items WHERE metadata <> '{}'"):
        with contextlib.suppress(ValueError):  # Its item was named.
            names.update(json.loads(metadata))
    return names


def _hash(file: Path) -> str:
    return sha256_of(file) if file.is_file() else ""
