"""Where durable vectors belong: blobs in SQLite against a synced file of rows beside it.

    python benchmarks/index_storage.py --rows 60000 --dim 384 --folder /tmp/bench

Both commit key, metadata and vector in one promise (write-ahead log, synchronous = FULL).
They take turns; the medians count.
"""

import argparse
import json
import os
import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from index_rows import rows

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    values = rows(0, arguments.rows, arguments.dim)
    told, load = [], os.getloadavg()[0]
    for batch, n_rows in ((1, 1000), (10, 5000), (1000, arguments.rows)):
        taken: dict[str, list[tuple[float, float]]] = {"blobs": [], "file": []}
        for turn in range(arguments.rounds):
            order = [("blobs", _blobs), ("file", _file)]
            for name, store in order if turn % 2 else order[::-1]:
                taken[name].append(store(arguments.folder, values[:n_rows], batch))
        for name, rounds in taken.items():
            write_s, read_s = (statistics.median(times) for times in zip(*rounds, strict=True))
            told.append(
                {
                    "storage": name,
                    "batch": batch,
                    "write_rows_per_s": n_rows / write_s,
                    "read_rows_per_s": n_rows / read_s,
                    "rounds": rounds,
                }
            )
            print(told[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    load = (load, os.getloadavg()[0])
    found = {"rows": arguments.rows, "dim": arguments.dim, "load": load, "storages": told}
    (RESULTS / "index_storage.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "index_storage.md").write_text(_table(found))


def _table(found: dict) -> str:
    lines = [
        f"# Blobs in SQLite against a synced file of rows, width {found['dim']}",
        "",
        f"Medians of {len(found['storages'][0]['rounds'])} rounds. "
        f"Load of the machine {found['load'][0]:.0f} to {found['load'][1]:.0f}.",
        "",
        "| rows a batch | kept in | written, rows/s | read, rows/s |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {one['batch']} | {one['storage']} | {one['write_rows_per_s']:,.0f} "
        f"| {one['read_rows_per_s']:,.0f} |"
        for one in found["storages"]
    ]
    return "\n".join(lines) + "\n"


def _blobs(folder: Path, values: np.ndarray, batch: int) -> tuple[float, float]:
    connection = _database(folder / "blobs.db", "v BLOB")
    write_s = _timed(
        lambda: [
            _insert(connection, start, values[start : start + batch], with_vectors=True)
            for start in range(0, len(values), batch)
        ]
    )

    def read() -> None:
        found = b"".join(row[0] for row in connection.execute("SELECT v FROM items ORDER BY id"))
        assert np.array_equal(np.frombuffer(found, np.float32).reshape(values.shape), values)

    return write_s, _timed(read)


def _file(folder: Path, values: np.ndarray, batch: int) -> tuple[float, float]:
    connection = _database(folder / "file.db", "v INTEGER")
    file = folder / "rows.f32"
    width = values.shape[1] * 4
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def write() -> None:
        for start in range(0, len(values), batch):
            block = values[start : start + batch]
            os.pwrite(handle, block.tobytes(), start * width)
            os.fsync(handle)
            _insert(connection, start, block, with_vectors=False)

    def read() -> None:
        mapped = np.memmap(file, np.float32, "r", shape=values.shape)
        assert np.array_equal(mapped, values)

    write_s = _timed(write)
    os.close(handle)
    return write_s, _timed(read)


def _database(file: Path, column: str) -> sqlite3.Connection:
    for ending in ("", "-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"CREATE TABLE items (id INTEGER PRIMARY KEY, key TEXT UNIQUE, {column})")
    return connection


def _insert(
    connection: sqlite3.Connection, start: int, block: np.ndarray, *, with_vectors: bool
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO items VALUES (?, ?, ?)",
        (
            (start + n, f"key-{start + n}", row.tobytes() if with_vectors else 0)
            for n, row in enumerate(block)
        ),
    )
    connection.execute("COMMIT")


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
