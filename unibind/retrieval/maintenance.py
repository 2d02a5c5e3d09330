"""What keeps a store well: compaction, snapshots and their way back, statistics."""

import contextlib
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np

from unibind import artifact
from unibind.errors import StoreError
from unibind.retrieval import writing
from unibind.retrieval.database import Database
from unibind.retrieval.fulltext import rebuild_captions
from unibind.retrieval.indexing import drop
from unibind.retrieval.plan import Plan
from unibind.retrieval.reading import Tables
from unibind.retrieval.records import Duplicate, ModalityStats, Stats
from unibind.retrieval.schema import DATABASE, SLOT_BITS, explained, slot_of
from unibind.retrieval.segments import FOLDER, append, mapped, new_segment, sync, sync_folder
from unibind.retrieval.view import INDEXES, View
from unibind.types import IntArray, SpaceId

__all__ = ["SNAPSHOT_KIND", "compact", "makers", "restore", "snapshot", "stats"]

SNAPSHOT_KIND = "store-snapshot"
_FORMAT_VERSION = 1
_BLOCK_ROWS = 16_384
# A file that nothing names and nobody has written for so long was left by a crash.
_ORPHAN_S = 3600.0


def compact(connection: sqlite3.Connection, root: Path, dim: int) -> tuple[int, Callable[[], None]]:
    """Copy what lives into new files, inside a write transaction.

    Returns:
        How many rows were left behind, and what to call after the commit: it deletes the old files.
    """
    n_freed, forgotten = 0, []
    connection.execute("PRAGMA defer_foreign_keys = ON")
    rows = connection.execute("SELECT modality, segment, n_slots FROM modalities").fetchall()
    for modality, segment, n_slots in rows:
        first = modality << SLOT_BITS
        ids = [
            row[0]
            for row in connection.execute(
                "SELECT id FROM items WHERE id >= ? AND id < ? ORDER BY id",
                (first, first + (1 << SLOT_BITS)),
            )
        ]
        if len(ids) == n_slots:
            continue
        n_freed += n_slots - len(ids)
        forgotten.append(drop(connection, root, modality))
        slots = np.array(ids, dtype=np.int64) - first
        fresh = new_segment(root, modality)
        total = np.zeros(dim)
        old = mapped(root / FOLDER / segment, n_slots, dim)
        for start in range(0, len(slots), _BLOCK_ROWS):
            block = old[slots[start : start + _BLOCK_ROWS]]
            append(root / FOLDER / fresh, block, after=start)
            total += block.sum(axis=0, dtype=np.float64)
        sync(root / FOLDER / fresh)
        # In ascending order a new id never meets one that is still to move.
        connection.executemany(
            "UPDATE items SET id = ? WHERE id = ?",
            ((first + slot, item) for slot, item in enumerate(ids)),
        )
        connection.execute(
            "UPDATE modalities SET segment = ?, n_slots = ?, n_live = ?, vector_sum = ? "
            "WHERE modality = ?",
            (fresh, len(ids), len(ids), total.astype("<f8").tobytes(), modality),
        )
        _move_runs(connection, first, slots)
        forgotten.append(_unlinker(root / FOLDER / segment))
    connection.execute("DELETE FROM pending")
    connection.execute("DELETE FROM tombstones")
    connection.execute("UPDATE store SET generation = generation + 1")
    rebuild_captions(connection)
    forgotten += _orphans(connection, root)

    def forget() -> None:
        for one in forgotten:
            one()

    return n_freed, forget


def _move_runs(connection: sqlite3.Connection, first: int, slots: IntArray) -> None:
    """Let the runs of a modality begin where their first row that lives has come to be."""
    last = first + (1 << SLOT_BITS) - 1
    runs = connection.execute(
        "SELECT first_id, made_by FROM runs WHERE first_id BETWEEN ? AND ? ORDER BY first_id",
        (first, last),
    ).fetchall()
    connection.execute("DELETE FROM runs WHERE first_id BETWEEN ? AND ?", (first, last))
    # Of two that come to begin at one row, the earlier has no rows left.
    connection.executemany(
        "INSERT OR REPLACE INTO runs VALUES (?, ?)",
        ((first + int(np.searchsorted(slots, item - first)), made_by) for item, made_by in runs),
    )


def makers(tables: Tables, view: View) -> dict[str, dict[str, int]]:
    """Return how many items of each modality each made; see `LocalStore.makers`."""
    runs: dict[int, list[tuple[int, str]]] = {}
    for item, made_by in tables.execute("SELECT first_id, made_by FROM runs ORDER BY first_id"):
        runs.setdefault(item >> SLOT_BITS, []).append((slot_of(item), made_by or ""))
    found: dict[str, dict[str, int]] = {}
    for name, shard in sorted(view.shards.items()):
        begins = [(0, ""), *runs.get(shard.modality, [])]
        ends = [start for start, _ in begins[1:]] + [shard.n_slots]
        counts: dict[str, int] = {}
        for (start, made_by), end in zip(begins, ends, strict=True):
            if n_items := int(np.count_nonzero(shard.alive[start:end])):
                counts[made_by] = counts.get(made_by, 0) + n_items
        found[name] = counts
    return found


def snapshot(database: Database, path: Path, space: SpaceId, dim: int) -> None:
    """Write a whole copy of a store to a new folder; see `LocalStore.snapshot`."""
    if path.exists() and not artifact.exists(path):
        raise StoreError(f"{path} is there and is no snapshot; choose a new folder")
    root = database.root
    with artifact.writing(
        path, kind=SNAPSHOT_KIND, format_version=_FORMAT_VERSION, space=space, params={"dim": dim}
    ) as folder:
        # Between copying the tables and the files a compaction may take the files away.
        for attempt in range(5):
            try:
                _copy(database, folder, dim)
                return
            except FileNotFoundError as error:
                if attempt == 4:
                    raise StoreError(f"the store at {root} lacks a file: {error}") from error
                shutil.rmtree(folder)
                folder.mkdir()


def restore(snapshot_path: str | Path, path: str | Path, *, replace: bool = False) -> None:
    """Bring a snapshot back as the store in a folder, whole or not at all.

    Args:
        snapshot_path: What `LocalStore.snapshot` wrote.
        path: Where the store shall be.
        replace: Put it in the place of a store that is there; no process may have that one open.

    Raises:
        ArtifactError: The snapshot is missing or damaged.
        StoreError: A store is there and replace is False, or the disk is full.
    """
    source, target = Path(snapshot_path), Path(path)
    manifest = artifact.verify(source, kind=SNAPSHOT_KIND, format_version=_FORMAT_VERSION)
    if target.exists() and any(target.iterdir()) and not replace:
        raise StoreError(
            f"{target} is there already; say --replace (replace=True) to put the snapshot in its "
            "place, or restore it elsewhere"
        )
    staging = target.with_name(f".{target.name}.restoring-{uuid.uuid4().hex[:8]}")
    old = target.with_name(f".{target.name}.old-{uuid.uuid4().hex[:8]}")
    with explained(target):
        try:
            for name in manifest.files:
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, staging / name)
                sync(staging / name)
            for folder in (staging / FOLDER, staging / INDEXES, staging):
                folder.mkdir(exist_ok=True)
                sync_folder(folder)
            if target.exists():
                target.rename(old)
            staging.rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            if old.exists() and not target.exists():
                old.rename(target)
            shutil.rmtree(old, ignore_errors=True)


def stats(
    connection: sqlite3.Connection,
    view: View,
    root: Path,
    *,
    space: SpaceId,
    dim: int,
    calibration: str,
    n_duplicates: int,
) -> Stats:
    """Return what a store holds; see `LocalStore.stats`."""
    made_by = makers(connection, view)
    plans = dict(connection.execute("SELECT modality, plan FROM indexes").fetchall())
    covered = dict(connection.execute("SELECT modality, n_slots FROM indexes").fetchall())
    modalities, means = {}, []
    for name, shard in sorted(view.shards.items()):
        mean = shard.vector_sum / max(shard.n_live, 1)
        if shard.n_live:
            means.append(mean)
        modalities[name] = ModalityStats(
            n_items=shard.n_live,
            n_deleted=shard.n_slots - shard.n_live,
            n_unindexed=shard.n_slots - covered.get(shard.modality, shard.n_slots),
            plan=Plan.parse(plans[shard.modality]) if shard.modality in plans else Plan("exact"),
            n_bytes=shard.n_slots * dim * 4,
            mean_length=float(np.linalg.norm(mean)),
            made_by=made_by[name],
        )
    gaps = [float(np.linalg.norm(one - other)) for one, other in combinations(means, 2)]
    return Stats(
        space=space,
        dim=dim,
        generation=view.generation,
        calibration=calibration,
        n_items=sum(one.n_items for one in modalities.values()),
        n_bytes=_bytes_on_disk(root),
        gap=max(gaps, default=0.0),
        modalities=modalities,
        duplicates=_duplicates(connection, n_duplicates) if n_duplicates else [],
    )


def _copy(database: Database, folder: Path, dim: int) -> None:
    root = database.root
    with database.connection() as connection:
        copy = sqlite3.connect(folder / DATABASE, isolation_level=None)
        with contextlib.closing(copy):
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            rows = copy.execute("SELECT segment, n_slots FROM modalities").fetchall()
            (folder / FOLDER).mkdir()
            for segment, n_slots in rows:
                vectors = _mapped_or_gone(root / FOLDER / segment, n_slots, dim)
                (folder / FOLDER / segment).touch()
                for start in range(0, n_slots, _BLOCK_ROWS):
                    block = vectors[start : min(start + _BLOCK_ROWS, n_slots)]
                    append(folder / FOLDER / segment, block, after=start)
            copy.execute("BEGIN")
            writing.flush(copy, folder)
            copy.execute("COMMIT")
            files = copy.execute(
                "SELECT file FROM indexes UNION SELECT file FROM labels"
            ).fetchall()
    (folder / INDEXES).mkdir()
    for (name,) in files:
        shutil.copyfile(root / INDEXES / name, folder / INDEXES / name)


def _mapped_or_gone(file: Path, n_rows: int, dim: int) -> np.ndarray:
    """Return the rows of a file; FileNotFoundError if a compaction took it away."""
    file.stat()
    return mapped(file, n_rows, dim)


def _duplicates(connection: sqlite3.Connection, n_most: int) -> list[Duplicate]:
    hashes = connection.execute(
        "SELECT content_hash FROM items GROUP BY content_hash HAVING count(*) > 1 "
        "ORDER BY count(*) DESC, content_hash LIMIT ?",
        (n_most,),
    ).fetchall()
    return [
        Duplicate(
            content_hash,
            [
                row[0]
                for row in connection.execute(
                    "SELECT key FROM items WHERE content_hash = ? ORDER BY key", (content_hash,)
                )
            ],
        )
        for (content_hash,) in hashes
    ]


def _orphans(connection: sqlite3.Connection, root: Path) -> list[Callable[[], None]]:
    named = {row[0] for row in connection.execute("SELECT segment FROM modalities")}
    named |= {row[0] for row in connection.execute("SELECT file FROM indexes")}
    named |= {row[0] for row in connection.execute("SELECT file FROM labels")}
    return [
        _unlinker(file)
        for folder in (root / FOLDER, root / INDEXES)
        if folder.exists()
        for file in folder.iterdir()
        if file.name not in named and time.time() - file.stat().st_mtime > _ORPHAN_S
    ]


def _bytes_on_disk(root: Path) -> int:
    # Blocks, not sizes: files of vectors grow ahead of their rows without taking room.
    return sum(_blocks(file) for file in root.rglob("*") if file.is_file())


def _blocks(file: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        found = file.stat()
        return int(getattr(found, "st_blocks", found.st_size / 512) * 512)
    return 0


def _unlinker(file: Path) -> Callable[[], None]:
    def unlink() -> None:
        # On Windows a file that is still mapped stays until the next sweep.
        with contextlib.suppress(OSError):
            file.unlink()

    return unlink
