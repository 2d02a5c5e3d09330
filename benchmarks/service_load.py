"""The service under load beside what people serve embeddings with otherwise; and far overloaded.

Rounds of all servers alternate, so that whatever else the machine does meets all of them; what is
reported of two servers is the median of the rounds' ratios, and the least and the largest. Only
the server that is asked runs: the others are stopped meanwhile.

    scripts/bench service_load --baseline-python PY --infinity-python PY

PY are interpreters with sentence-transformers and FastAPI, and with infinity-emb.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import service_servers as servers
import service_traffic as traffic
from service_servers import Server
from service_traffic import Round

RESULTS = Path(__file__).parent / "results"
OURS = "unibind"
TEXT_SERVERS = (OURS, "sentence-transformers", "infinity-emb, torch", "infinity-emb, optimum")
FILE_SERVERS = (OURS, "one at a time", "thread pool")
PACKAGES = (
    *("torch", "transformers", "sentence-transformers", "infinity-emb", "optimum"),
    *("onnxruntime", "tokenizers", "numpy", "fastapi", "uvicorn", "httptools", "uvloop"),
)


@dataclass(frozen=True)
class Load:
    """One kind of request, and who is asked.

    Attributes:
        title: What it is called in the results.
        asked: Makes n new items.
        requests: Items to requests.
        bare: Folder and items to items per second and processor seconds an item, in-process.
        n_items: Items of a round, of each server.
        n_each: Items of a request.
        concurrency: Requests at a time.
        names: The servers.
    """

    title: str
    asked: Callable[[int], list]
    requests: Callable[[list], list[bytes]]
    bare: Callable[[Path, list], tuple[float, float]]
    n_items: int
    n_each: int
    concurrency: int
    names: tuple[str, ...]


def of_texts(title: str, n_items: int, n_each: int, concurrency: int, **words) -> Load:
    return Load(
        f"texts{title}, {n_each} a request, {concurrency} at a time",
        lambda n: traffic.texts(n, **words),
        lambda given: traffic.requests_of_texts(given, n_each=n_each),
        servers.bare_texts,
        n_items,
        n_each,
        concurrency,
        TEXT_SERVERS,
    )


def of_files(title: str, kind: str, asked: Callable, n_items: int, concurrency: int) -> Load:
    return Load(
        f"{title}, 1 a request, {concurrency} at a time",
        asked,
        lambda given: traffic.requests_of_files(kind, given),
        lambda folder, given: servers.bare_files(folder, kind, given),
        n_items,
        1,
        concurrency,
        FILE_SERVERS,
    )


LOADS = {
    "texts": of_texts("", 480, 1, 32),
    "lists": of_texts("", 1024, 32, 4),
    "lengths": of_texts(" of 3 to 60 words", 320, 1, 32, n_words=(3, 60)),
    "pictures": of_files("pictures of 640 x 480", "image", traffic.pictures, 160, 16),
    "sounds": of_files("sounds of 3 s", "audio", traffic.sounds, 64, 8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--baseline-python", default=sys.executable)
    parser.add_argument("--infinity-python")
    parser.add_argument("--loads", nargs="*", default=[*LOADS, "overload"])
    parser.add_argument("--without", nargs="*", default=[], help="servers")
    parser.add_argument("--results", type=Path, default=RESULTS)
    told = parser.parse_args()
    document: dict = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f} before the start",
        "was_busy": os.getloadavg()[0] > (os.cpu_count() or 1),
        "rounds": told.rounds,
        "versions": {
            name: servers.versions(python, [*PACKAGES])
            for name, python in {
                OURS: sys.executable,
                "sentence-transformers": told.baseline_python,
                "infinity-emb": told.infinity_python,
            }.items()
            if python
        },
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers.lay_out(folder, infinity=told.infinity_python)
        running = start_all(folder, told)
        try:
            document |= measured(folder, running, told)
        finally:
            for server in running.values():
                server.stop()
    told.results.mkdir(exist_ok=True)
    (told.results / "service_load.json").write_text(json.dumps(document, indent=2) + "\n")
    (told.results / "service_load.md").write_text(in_words(document))
    print(in_words(document))


def start_all(folder: Path, told: argparse.Namespace) -> dict[str, Server]:
    """Start the servers that the loads need, one after another; leave out what does not start."""
    needed = {name for load in told.loads if load in LOADS for name in LOADS[load].names} | {OURS}
    running = {}
    for n, name in enumerate(dict.fromkeys((*TEXT_SERVERS, *FILE_SERVERS))):
        is_there = told.infinity_python or not name.startswith("infinity-emb")
        if name not in needed or name in told.without or not is_there:
            continue
        server = servers.started(
            name,
            18_100 + n,
            folder,
            python=told.baseline_python,
            infinity=told.infinity_python,
        )
        files = traffic.requests_of_files("image", traffic.pictures(1))
        texts = traffic.requests_of_texts(traffic.texts(1), n_each=1)
        (whole,) = files if name not in TEXT_SERVERS else texts
        if server.answers(whole):
            server.rest()
            running[name] = server
        else:
            tail = server.log.read_bytes()[-2000:].decode(errors="replace")
            print(f"{name} does not start; left out\n{tail}", file=sys.stderr)
            server.stop()
    return running


def measured(folder: Path, running: dict[str, Server], told: argparse.Namespace) -> dict:
    document: dict = {}
    for key in told.loads:
        if key == "overload":
            with running[OURS].awake():
                document["overload"] = overloaded(running[OURS])
            continue
        load = LOADS[key]
        rounds: dict[str, list[Round]] = {name: [] for name in load.names if name in running}
        bare = []
        for number in range(-1, told.rounds):  # the first warms up
            for name, found in rounds.items():
                given = load.asked(load.n_items if number >= 0 else 2 * load.concurrency)
                ran = timed(running[name], load.requests(given), load.concurrency)
                found += [ran] if number >= 0 else []
            if number >= 0:
                bare.append(load.bare(folder, load.asked(load.n_items)))
        document[load.title] = compared(rounds, bare, load)
        print(json.dumps({load.title: document[load.title]}), file=sys.stderr, flush=True)
    return document


def timed(server: Server, requests: list[bytes], concurrency: int) -> Round:
    """Run a closed loop and note the processor time that it cost the server."""
    with server.awake():
        before = server.cpu_s()
        ran = asyncio.run(traffic.closed_loop(server.port, requests, concurrency))
        return replace(ran, server_cpu_s=server.cpu_s() - before)


def compared(
    rounds: dict[str, list[Round]], bare: list[tuple[float, float]], load: Load
) -> dict[str, object]:
    n_each, ours = load.n_each, rounds[OURS]
    rows = {}
    for name, each in rounds.items():
        rows[name] = {
            "items_per_s": middle([n_each * r.per_second for r in each], 1),
            "p50_ms": middle([1000 * r.quantile(0.5) for r in each], 1),
            "p99_ms": middle([1000 * r.quantile(0.99) for r in each], 1),
            "cpu_ms_per_item": middle([1000 * cpu_s_an_item(r, n_each) for r in each], 2),
            "sender_cpu_ms_per_item": middle(
                [1000 * r.sender_cpu_s / (n_each * r.statuses[200]) for r in each], 2
            ),
            "statuses": dict(sum((r.statuses for r in each), Counter())),
        }
        if name == OURS:
            continue
        pairs = list(zip(ours, each, strict=True))
        rows[name]["throughput_of_unibind_times"] = middle(
            [a.per_second / b.per_second for a, b in pairs], 2
        )
        rows[name]["p99_of_unibind_times"] = middle(
            [a.quantile(0.99) / b.quantile(0.99) for a, b in pairs], 2
        )
    speeds = [speed / (n_each * r.per_second) for (speed, _), r in zip(bare, ours, strict=True)]
    cpus = [cpu_s_an_item(r, n_each) / cpu_s for (_, cpu_s), r in zip(bare, ours, strict=True)]
    return {
        "servers": rows,
        "bare_items_per_s": middle([speed for speed, _ in bare], 1),
        "bare_cpu_ms_per_item": middle([1000 * cpu_s for _, cpu_s in bare], 2),
        "bare_batches_over_unibind": middle(speeds, 3),
        "unibind_cpu_over_bare_batches": middle(cpus, 3),
    }


def cpu_s_an_item(ran: Round, n_each: int) -> float:
    return ran.server_cpu_s / (n_each * ran.statuses[200])


def middle(values: list[float], digits: int) -> list[float]:
    """Return the median, the least and the largest."""
    return [round(f(values), digits) for f in (statistics.median, min, max)]


def overloaded(server: Server) -> dict:
    """Ask for ten times what can be done; only accepted and turned away, and those in time."""

    def requests(n: int) -> list[bytes]:
        return traffic.requests_of_texts(traffic.texts(32 * n), n_each=32)

    unloaded = asyncio.run(traffic.closed_loop(server.port, requests(60), 1))
    loaded = asyncio.run(traffic.closed_loop(server.port, requests(40), 4))
    rate = 10 * loaded.per_second
    flood = asyncio.run(traffic.open_loop(server.port, requests(int(rate * 12)), rate))
    return {
        "texts_a_request": 32,
        "capacity_per_s": round(loaded.per_second, 2),
        "offered_per_s": round(rate, 1),
        "statuses": {str(status): n for status, n in flood.statuses.items()},
        "p99_unloaded_ms": round(1000 * unloaded.quantile(0.99), 1),
        "p99_accepted_ms": round(1000 * flood.quantile(0.99), 1),
        "times": round(flood.quantile(0.99) / unloaded.quantile(0.99), 2),
        "accepted_per_s": round(flood.statuses[200] / flood.seconds, 2),
    }


def in_words(document: dict) -> str:
    lines = [
        f"{document['machine']}. Medians over {document['rounds']} alternating rounds, in brackets "
        "the least and the largest; ratios are of rounds side by side.",
        "",
    ]
    if document["was_busy"]:
        lines += [
            "The machine was busy with other work: these are not figures of the service, only a "
            "sign that it bears company. Repeat them on a quiet one.",
            "",
        ]
    for heading, found in document.items():
        if isinstance(found, dict) and "servers" in found:
            lines += [f"**{heading}**", "", *table(found["servers"]), "", *beside_bare(found), ""]
    if "overload" in document:
        lines += ["**overload**", "", f"`{json.dumps(document['overload'])}`", ""]
    lines += ["**versions**", ""]
    for name, found in document["versions"].items():
        lines.append(f"- {name}: {', '.join(f'{k} {v}' for k, v in found.items())}")
    return "\n".join([*lines, ""])


def table(rows: dict[str, dict]) -> list[str]:
    lines = [
        "| server | items/s | p50 ms | p99 ms | CPU ms an item | unibind's throughput "
        "| unibind's p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [row[key][0] for key in ("items_per_s", "p50_ms", "p99_ms", "cpu_ms_per_item")]
        for key in ("throughput_of_unibind_times", "p99_of_unibind_times"):
            cells.append("{} x ({} to {})".format(*row[key]) if key in row else "")
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return lines


def beside_bare(found: dict) -> list[str]:
    faster, cpu = found["bare_batches_over_unibind"], found["unibind_cpu_over_bare_batches"]
    sender = found["servers"][OURS]["sender_cpu_ms_per_item"][0]
    return [
        f"Bare in-process batches: {found['bare_items_per_s'][0]} items/s, "
        f"{found['bare_cpu_ms_per_item'][0]} ms of processor time each. They are "
        f"{faster[0]} x as fast ({faster[1]} to {faster[2]}); the service takes {cpu[0]} x their "
        f"processor time ({cpu[1]} to {cpu[2]}), the sender {sender} ms an item on the same cores.",
    ]


if __name__ == "__main__":
    main()
