"""Durable ingest of the local store against others in one run: same rows, batches and disk.

    python -m venv /tmp/ingest && /tmp/ingest/bin/pip install numpy faiss-cpu lancedb chromadb \\
        sqlite-vec pysqlite3-binary pymilvus milvus-lite
    PYTHONPATH=. /tmp/ingest/bin/python benchmarks/index_ingest.py --rows 100000 --folder /tmp/bench

Each contender stores key, vector and one metadata field and is left as its makers ship it; whether
its answer means that a power cut is survived stands beside the figure. The order is drawn anew in
each of the rounds and the median counts. One that is not installed is left out.
"""

import argparse
import json
import random
import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from index_rows import rows

RESULTS = Path(__file__).parent / "results"
Add = Callable[[int, np.ndarray], None]


def unibind(folder: Path, dim: int) -> Add:
    from unibind.retrieval.store import LocalStore
    from unibind.types import SpaceId

    store = LocalStore.open(folder, space=SpaceId("bench"), dim=dim)

    def add(start: int, block: np.ndarray) -> None:
        keys = [f"key-{start + n}" for n in range(len(block))]
        metadata = [{"n": start + n} for n in range(len(block))]
        store.upsert(keys, block, modality="image", metadata=metadata)

    return add


def sqlite_vec(folder: Path, dim: int) -> Add:
    import sqlite_vec

    try:  # Many a Python's own sqlite3 loads no extensions.
        import pysqlite3 as sqlite3
    except ImportError:
        import sqlite3

    folder.mkdir()
    connection = sqlite3.connect(folder / "vec.db", isolation_level=None)
    connection.enable_load_extension(True)
    sqlite_vec.load(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        f"CREATE VIRTUAL TABLE items USING vec0(key TEXT PRIMARY KEY, v float[{dim}], +n INTEGER)"
    )

    def add(start: int, block: np.ndarray) -> None:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO items (key, v, n) VALUES (?, ?, ?)",
            ((f"key-{start + n}", row.tobytes(), start + n) for n, row in enumerate(block)),
        )
        connection.execute("COMMIT")

    return add


def lancedb(folder: Path, dim: int) -> Add:
    import lancedb
    import pyarrow as pa

    schema = pa.schema(
        [("key", pa.string()), ("v", pa.list_(pa.float32(), dim)), ("n", pa.int64())]
    )
    table = lancedb.connect(folder).create_table("items", schema=schema)

    def add(start: int, block: np.ndarray) -> None:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), dim)
        names = pa.array([f"key-{start + n}" for n in range(len(block))])
        numbers = pa.array(range(start, start + len(block)), pa.int64())
        table.add(pa.table([names, vectors, numbers], schema=schema))

    return add


def chroma(folder: Path, dim: int) -> Add:
    import chromadb

    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(folder), settings=settings)
    collection = client.create_collection("items", embedding_function=None)

    def add(start: int, block: np.ndarray) -> None:
        keys = [f"key-{start + n}" for n in range(len(block))]
        metadata: Any = [{"n": start + n} for n in range(len(block))]
        collection.add(ids=keys, embeddings=block, metadatas=metadata)

    return add


def milvus_lite(folder: Path, dim: int) -> Add:
    from pymilvus import DataType, MilvusClient

    folder.mkdir()
    client = MilvusClient(str(folder / "milvus.db"))
    schema = client.create_schema(auto_id=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("n", DataType.INT64)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="IP")
    client.create_collection("items", schema=schema, index_params=index)

    def add(start: int, block: np.ndarray) -> None:
        client.insert(
            "items",
            [{"key": f"key-{start + n}", "v": row, "n": start + n} for n, row in enumerate(block)],
        )

    return add


CONTENDERS = {
    "unibind": (unibind, "unibind", "survives a power cut"),
    "sqlite-vec": (sqlite_vec, "sqlite-vec", "survives a power cut (synchronous = FULL)"),
    "LanceDB": (lancedb, "lancedb", "no sync asked for by its default"),
    "Chroma": (chroma, "chromadb", "as its SQLite is set by default"),
    "Milvus Lite": (milvus_lite, "milvus-lite", "as its log is set by default"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    figures: dict[str, dict[str, list[float]]] = {}
    order = [name for name in CONTENDERS if _is_here(name)]
    for turn in range(arguments.rounds):
        random.Random(turn).shuffle(order)
        for name in order:
            for kind, size, n_rows in (
                ("bulk", arguments.batch, arguments.rows),
                ("single", 1, arguments.singles),
            ):
                rate = measured(name, arguments.folder, arguments.dim, size, n_rows)
                figures.setdefault(name, {}).setdefault(kind, []).append(rate)
                print(f"{turn + 1}: {name} {kind} {rate:.0f} rows/s", flush=True)
    report(figures, arguments)


def measured(name: str, folder: Path, dim: int, size: int, n_rows: int) -> float:
    # A place of its own each time: some keep what they once opened.
    place = folder / f"ingest-{uuid.uuid4().hex[:8]}"
    shutil.rmtree(place, ignore_errors=True)
    add = CONTENDERS[name][0](place, dim)
    spent = 0.0
    for start, block in _blocks(n_rows, size, dim):
        begin = time.perf_counter()
        add(start, block)
        spent += time.perf_counter() - begin
    shutil.rmtree(place, ignore_errors=True)
    return n_rows / spent


def _blocks(n_rows: int, size: int, dim: int) -> Iterator[tuple[int, np.ndarray]]:
    pool = rows(0, max(size, 2000), dim)
    for start in range(0, n_rows, size):
        # Rows repeat, keys do not; no contender looks for equal vectors.
        yield start, pool[:size] if size > 1 else pool[start % 2000][None, :]


def _is_here(name: str) -> bool:
    if name == "unibind":
        return True
    try:
        version(CONTENDERS[name][1])
    except PackageNotFoundError:
        return False
    return True


def report(figures: dict[str, dict[str, list[float]]], arguments: argparse.Namespace) -> None:
    table = [
        {
            "name": name,
            "version": "this tree" if name == "unibind" else version(CONTENDERS[name][1]),
            "acknowledged_means": CONTENDERS[name][2],
            "bulk_rows_per_s": statistics.median(one["bulk"]),
            "single_rows_per_s": statistics.median(one["single"]),
            "all": one,
        }
        for name, one in figures.items()
    ]
    table.sort(key=lambda one: -float(one["bulk_rows_per_s"]))
    told = {
        "rows": arguments.rows,
        "dim": arguments.dim,
        "batch": arguments.batch,
        "rounds": arguments.rounds,
        "contenders": table,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "index_ingest.json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
