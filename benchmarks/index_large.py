"""Ten million vectors, streamed in and indexed, and the memory that it took.

    python benchmarks/index_large.py --rows 10000000 --dim 32 --kind int8 --folder /tmp/bench

The peak is that of the process, pages of mapped files among it; what it allocated itself is told
apart, since the system takes mapped pages back when it needs them.
"""

import argparse
import json
import os
import resource
import threading
import time
from pathlib import Path

from index_rows import queries
from index_speed import RESULTS, SPACE, fill

from unibind.retrieval.store import LocalStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--kind", default="int8")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    highest = [0]
    watcher = threading.Thread(target=_watch, args=(highest,), daemon=True)
    watcher.start()
    found: dict = {"rows": arguments.rows, "dim": arguments.dim, "load": [os.getloadavg()[0]]}
    path = arguments.folder / f"store-{arguments.rows}-{arguments.dim}"
    with LocalStore.open(path, space=SPACE, dim=arguments.dim) as store:
        found["ingest_rows_per_s"] = fill(store, arguments.rows, arguments.dim)
        begin = time.perf_counter()
        plan = store.rebuild(kind=arguments.kind, recall=arguments.recall)["image"]
        found["built_s"] = time.perf_counter() - begin
        found["plan"] = json.loads(plan.text())
        store.search(queries(1, arguments.dim))
        begin = time.perf_counter()
        for query in queries(20, arguments.dim):
            store.search(query[None, :])
        found["query_s"] = (time.perf_counter() - begin) / 20
        found["n_items"] = store.count()
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found["peak_own_bytes"] = highest[0]
    found["load"].append(os.getloadavg()[0])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "index_large.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "index_large.md").write_text(_told(found))
    print(json.dumps(found, indent=1))


def _told(found: dict) -> str:
    plan, (before, after) = found["plan"], found["load"]
    ingest = f"{found['ingest_rows_per_s']:,.0f} rows/s"
    return "\n".join(
        [
            f"# {found['rows']:,} vectors of width {found['dim']}, streamed in and indexed",
            "",
            "| ingest | kind | recall@10 | built s | one query s | peak MB, mapped files among it "
            "| peak MB of its own | load |",
            "|---|---|---|---|---|---|---|---|",
            f"| {ingest if found['ingest_rows_per_s'] else 'of an earlier run'} | {plan['kind']} "
            f"| {plan['recall']:.4f} | {found['built_s']:.0f} | {found['query_s']:.2f} "
            f"| {found['peak_bytes'] / 1e6:,.0f} | {found['peak_own_bytes'] / 1e6:,.0f} "
            f"| {before:.0f} to {after:.0f} |",
            "",
        ]
    )


def _watch(highest: list[int]) -> None:
    while True:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                highest[0] = max(highest[0], int(line.split()[1]) * 1024)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
