"""Search, opening and memory of a large store against bare FAISS, in one run, as ratios.

    python benchmarks/index_speed.py --rows 1000000 --dim 384 --folder /tmp/bench

Writes JSON, Markdown and a picture to benchmarks/results/; kinds that an earlier run measured on
the same rows are kept. What is compared runs in this one process on the same rows, index and
threads: a block of queries goes to one, then to the other, in turns, and the ratio is the median
over the blocks, each of which had the same neighbours on the machine. The store returns hits (keys,
scores, metadata of one committed state), bare FAISS row numbers and scores. Where the index keeps
codes, bare FAISS is IndexRefine over them and the same mapped vectors, with as many candidates.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from index_rows import queries, rows

from unibind.retrieval import faiss_index
from unibind.retrieval.plan import Plan
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

SPACE = SpaceId("bench")
RESULTS = Path(__file__).parent / "results"
_QUERIES = 12_000
Search = Callable[[np.ndarray], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kinds", default="exact,hnsw,ivfpq,int8,binary")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="index_speed")
    arguments = parser.parse_args()
    faiss_index.set_threads(arguments.threads)
    path = arguments.folder / f"store-{arguments.rows}-{arguments.dim}"
    found: dict = {
        "rows": arguments.rows,
        "dim": arguments.dim,
        "threads": arguments.threads,
        "recall_wanted": arguments.recall,
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "faiss": faiss.__version__,
        },
        "kinds": {},
    }
    found["kinds"] = measured_before(found, arguments.name)
    with LocalStore.open(path, space=SPACE, dim=arguments.dim) as store:
        if store.count() < arguments.rows:
            found["ingest_rows_per_s"] = fill(store, arguments.rows, arguments.dim)
        asked = queries(_QUERIES, arguments.dim)
        truth = faiss_index.exact(mapped(store), asked[:200], 10).slots
    for kind in arguments.kinds.split(","):
        load = os.getloadavg()[0]
        with LocalStore.open(path) as store:
            found["kinds"][kind] = measured(store, kind, arguments.recall, asked, truth)
        found["kinds"][kind]["load"] = (load, os.getloadavg()[0])
        # What is still mapped stays in memory, and opening it would not be cold.
        gc.collect()
        found["kinds"][kind]["open"] = opened(path)
        write(found, arguments.name)
        print(kind, json.dumps(found["kinds"][kind]), flush=True)


def measured_before(found: dict, name: str) -> dict:
    """Return the kinds that an earlier run of this form measured on the same rows."""
    file = RESULTS / f"{name}.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    alike = ("rows", "dim", "threads", "recall_wanted")
    if any(before.get(one) != found[one] for one in alike):
        return {}
    return {kind: one for kind, one in before["kinds"].items() if "single_again" in one}


def fill(store: LocalStore, n_rows: int, dim: int) -> float:
    step, spent = 4096, 0.0
    for start in range(store.count(), n_rows, step):
        block = rows(start, min(step, n_rows - start), dim)
        keys = [f"key-{n}" for n in range(start, start + len(block))]
        metadata = [{"share": n % 1000} for n in range(start, start + len(block))]
        begin = time.perf_counter()
        store.upsert(keys, block, modality="image", metadata=metadata)
        spent += time.perf_counter() - begin
    return n_rows / spent if spent else 0.0


def mapped(store: LocalStore) -> np.ndarray:
    with store._current.reading() as (_, view):
        return view.shards["image"].vectors


def measured(store: LocalStore, kind: str, recall: float, asked, truth) -> dict:
    begin = time.perf_counter()
    there = store.stats(n_duplicates=0).modalities["image"]
    plan, built_s = there.plan, 0.0  # An index of an earlier run is used again.
    if (plan.kind, plan.wanted_recall, there.n_unindexed) != (kind, recall, 0):
        plan = store.rebuild(kind=kind, recall=recall)["image"]
        built_s = time.perf_counter() - begin
    with store._current.reading() as (_, view):
        shard = view.shards["image"]
    index, vectors = shard.index, shard.vectors
    # Queries a block, alone and together, and how many blocks: a scan of all rows takes long.
    n_single, n_batch, blocks = {
        "exact": (2, 50, 12),
        "int8": (2, 50, 8),
        "binary": (10, 100, 16),
    }.get(kind, (50, 1000, 40))
    bare = bare_search(index, plan, vectors)

    def one_by_one(search: Search) -> Search:
        return lambda these: [search(these[n : n + 1]) for n in range(len(these))]

    store.search(asked[:2])
    again = np.tile(asked[: 4 * n_single], (blocks // 4, 1))
    return {
        "plan": json.loads(plan.text()),
        "built_s": built_s,
        "single": race(one_by_one(bare), one_by_one(store.search), asked, n_single, blocks),
        "single_again": race(one_by_one(bare), one_by_one(store.search), again, n_single, blocks),
        "batch": race(bare, store.search, asked[blocks * n_single :], n_batch, blocks),
        "curve": curve(index, plan, vectors, asked[:200], truth),
    }


def bare_search(index, plan: Plan, vectors):
    """Return FAISS's own search of the same index, re-ranking the same number of candidates."""
    if index is None:
        return lambda these: faiss.knn(these, vectors, 10, metric=faiss.METRIC_INNER_PRODUCT)
    if plan.keeps_vectors:
        return lambda these: index._faiss.search(these, 10)
    n_asked = index.candidates(np.ascontiguousarray(vectors[:1]), 10, effort=plan.effort)
    refining = faiss.IndexRefine(index._faiss, faiss_index._viewing(vectors))
    refining.k_factor = n_asked.slots.shape[1] / 10
    if plan.kind == "ivfpq":
        index._faiss.nprobe = plan.effort
    return lambda these: refining.search(these, 10)


def race(bare: Search, store: Search, asked, n_rows: int, blocks: int) -> dict:
    """Return the throughput of two searches that take turns with blocks of new queries.

    Who comes first finds the rows in no cache; so they change places from block to block.
    """
    spent: dict[str, list[float]] = {"bare": [], "store": []}
    worked = {"bare": 0.0, "store": 0.0}
    starts = range(0, min(len(asked), blocks * n_rows), n_rows)
    for block, start in enumerate(starts):
        turns = [("bare", bare), ("store", store)]
        for name, search in turns if block % 2 else turns[::-1]:
            begin, worked_before = time.perf_counter(), time.process_time()
            search(asked[start : start + n_rows])
            spent[name].append(time.perf_counter() - begin)
            worked[name] += time.process_time() - worked_before
    # Neighbouring blocks together, so that each ratio has both at the first place once.
    pairs = [
        sum(spent["bare"][n : n + 2]) / sum(spent["store"][n : n + 2])
        for n in range(0, len(starts) - 1, 2)
    ]
    low, ratio, high = statistics.quantiles(pairs, n=4)
    return {
        "bare_qps": n_rows / statistics.median(spent["bare"]),
        "store_qps": n_rows / statistics.median(spent["store"]),
        "ratio": ratio,
        "middle_half": (low, high),
        "processor_ratio": worked["bare"] / worked["store"],
        "blocks": len(starts),
    }


def curve(index, plan: Plan, vectors, asked, truth) -> list[dict]:
    """Return recall at 10 and queries per second, re-ranked, for efforts from least to most."""
    points = []
    if index is None:
        begin = time.perf_counter()
        faiss_index.exact(vectors, asked, 10)
        return [{"effort": 0, "recall": 1.0, "qps": len(asked) / (time.perf_counter() - begin)}]
    for effort in plan.efforts():
        begin = time.perf_counter()
        found = index.candidates(asked, 10, effort=effort.effort)
        found = faiss_index.scored(vectors, asked, found.slots)
        best = np.take_along_axis(found.slots, np.argsort(-found.scores, axis=1)[:, :10], axis=1)
        spent = time.perf_counter() - begin
        recall = np.mean([len(set(b) & set(t)) / 10 for b, t in zip(best, truth, strict=True)])
        points.append({"effort": effort.effort, "recall": float(recall), "qps": len(asked) / spent})
        if recall > 0.9995:
            break
    return points


def opened(path: Path) -> dict:
    """Return what a fresh process takes from opening to the first answer, and its memory."""
    code = (
        "import sys, time, json; start = time.perf_counter();"
        "sys.path.insert(0, sys.argv[2]);"
        "from unibind.retrieval.store import LocalStore; from index_rows import queries;"
        "imported = time.perf_counter();"
        "store = LocalStore.open(sys.argv[1], read_only=True);"
        "hits = store.search(queries(1, store.dim));"
        "first = time.perf_counter() - imported;"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'));"
        "size = lambda name: int(status[name].split()[0]) * 1024;"
        "print(json.dumps({'import_s': imported - start, 'first_answer_s': first,"
        "'own_bytes': size('RssAnon'), 'mapped_bytes': size('RssFile')}))"
    )
    forget_cached(path)
    begin = time.perf_counter()
    n_bytes = 0
    for file in used(path):
        with file.open("rb", buffering=0) as stream:
            while block := stream.read(1 << 24):
                n_bytes += len(block)
    reading_s = time.perf_counter() - begin
    forget_cached(path)
    call = [sys.executable, "-c", code, str(path), str(Path(__file__).parent)]
    told = json.loads(subprocess.run(call, check=True, capture_output=True).stdout)
    return {**told, "reading_the_bytes_s": reading_s, "bytes": n_bytes}


def used(path: Path) -> list[Path]:
    return [file for folder in ("vectors", "indexes") for file in (path / folder).glob("*")]


def forget_cached(path: Path) -> None:
    """Let the system drop the files' pages, so that opening is cold."""
    for file in used(path):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write(found: dict, name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(table(found))
    picture(found, name)


def table(found: dict) -> str:
    lines = [
        f"# {found['rows']:,} vectors of width {found['dim']}, {found['threads']} threads",
        "",
        "Ratios are store to bare FAISS with the same index, taking turns in one process with "
        "blocks of queries never asked before; medians over the blocks, the middle half of them in "
        "brackets; behind them the ratio of processor time, which other programs disturb less. "
        "FAISS returns row numbers and scores, the store keys, scores and metadata; where an index "
        "keeps codes, bare FAISS is IndexRefine over them and the mapped vectors. "
        f"Load is that of the machine's {found['machine']['cores']} cores before and after, with "
        "programs in it that stand still while it is measured.",
        "",
        "| kind | recall@10 | single q/s | ratio | ratio, asked before | batch q/s | ratio "
        "| built s | first answer s | reading its bytes s | own memory MB | mapped MB | load |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, one in found["kinds"].items():
        told = one.get("open", {})
        lines.append(
            f"| {kind} | {one['plan']['recall']:.4f} | {one['single']['store_qps']:.1f} "
            f"| {_ratio(one['single'])} | {_ratio(one['single_again'])} "
            f"| {one['batch']['store_qps']:.1f} "
            f"| {_ratio(one['batch'])} | {one['built_s']:.0f} "
            f"| {told.get('first_answer_s', 0):.2f} | {told.get('reading_the_bytes_s', 0):.2f} "
            f"| {told.get('own_bytes', 0) / 1e6:.0f} | {told.get('mapped_bytes', 0) / 1e6:.0f} "
            f"| {one['load'][0]:.0f} to {one['load'][1]:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _ratio(raced: dict) -> str:
    low, high = raced["middle_half"]
    return f"{raced['ratio']:.2f} ({low:.2f} to {high:.2f}) {raced['processor_ratio']:.2f}"


def picture(found: dict, name: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for kind, one in found["kinds"].items():
        recall = [point["recall"] for point in one["curve"]]
        axes.plot(recall, [point["qps"] for point in one["curve"]], marker="o", label=kind)
    axes.set(
        yscale="log",
        xlabel="recall@10 against exact",
        ylabel=f"queries per second, batch, {found['threads']} threads",
        title=f"{found['rows']:,} vectors of width {found['dim']}",
    )
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(RESULTS / f"{name}.png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
