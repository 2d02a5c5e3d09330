"""The service under load beside a sentence-transformers loop and infinity-emb; and far overloaded.

Rounds of all servers alternate, so that whatever else the machine does meets all of them; what is
reported of two servers is the median of the rounds' ratios.
"""

import argparse
import asyncio
import base64
import io
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results"
# The feature cache on disk knows what earlier runs asked for, and what another server of ours did.
SALT = int.from_bytes(os.urandom(4), "big")
_asked = itertools.count()
WORDS = [
    *("a", "small", "red", "kettle", "stands", "on", "an", "old", "wooden", "table", "beside"),
    *("the", "window", "while", "rain", "falls", "softly", "over", "quiet", "green", "hills"),
    *("and", "three", "children", "watch", "ships", "leave", "harbour", "for", "distant", "isles"),
]


@dataclass(frozen=True)
class Round:
    """What one round of one server brought."""

    seconds: float
    latencies: list[float]
    statuses: Counter
    cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        return self.statuses[200] / self.seconds

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.latencies, share)) if self.latencies else float("nan")


def cpu_of(process: subprocess.Popen) -> float:
    """Return the processor seconds that a server and its children have used (Linux)."""
    total = 0.0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if process.pid in (int(status.parent.name), int(rest[1])):
            total += (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")
    return total


def sentence(moments: np.random.Generator, n_words: int) -> str:
    return " ".join(moments.choice(WORDS, n_words)) + f" {moments.integers(10**9)}"


def text_bodies(n: int, *, n_texts: int, seed: int, n_words: int = 15) -> list[bytes]:
    moments = np.random.default_rng([SALT, seed, next(_asked)])
    bodies = []
    for _ in range(n):
        texts = [sentence(moments, n_words) for _ in range(n_texts)]
        told = texts[0] if n_texts == 1 else texts
        # A name of a model only confuses those who serve another.
        bodies.append(json.dumps({"input": told, "encoding_format": "base64"}).encode())
    return bodies


def picture_bodies(n: int, *, seed: int) -> list[bytes]:
    moments = np.random.default_rng([SALT, seed, next(_asked)])
    bodies = []
    for _ in range(n):
        buffer = io.BytesIO()
        pixels = moments.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(
            buffer, "JPEG", quality=90
        )
        data = base64.b64encode(buffer.getvalue()).decode()
        part = {"type": "image", "data": data}
        bodies.append(json.dumps({"input": part, "encoding_format": "base64"}).encode())
    return bodies


async def post(reader, writer, body: bytes, extra: bytes = b"") -> int:
    writer.write(
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + extra
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lower = head.lower()
    if b"content-length:" in lower:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
    return status


async def closed_loop(port: int, bodies: list[bytes], concurrency: int) -> Round:
    """Keep so many requests going until all are answered."""
    waiting = list(reversed(bodies))
    latencies: list[float] = []
    statuses: Counter = Counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        while waiting:
            body = waiting.pop()
            began = time.perf_counter()
            status = await post(reader, writer, body)
            if status == 200:
                latencies.append(time.perf_counter() - began)
            statuses[status] += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(concurrency)))
    return Round(time.perf_counter() - began, latencies, statuses)


def timed(process: subprocess.Popen, port: int, bodies: list[bytes], concurrency: int) -> Round:
    """Run a closed loop and note the processor time that it cost the server."""
    before = cpu_of(process)
    ran = asyncio.run(closed_loop(port, bodies, concurrency))
    return replace(ran, cpu_s=cpu_of(process) - before)


async def open_loop(port: int, bodies: list[bytes], per_second: float) -> Round:
    """Send at a steady rate, whatever comes back; latencies are those of accepted requests."""
    latencies: list[float] = []
    statuses: Counter = Counter()
    idle: list[tuple] = []

    async def one(body: bytes) -> None:
        pair = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        began = time.perf_counter()
        try:
            status = await post(*pair, body)
        except (OSError, asyncio.IncompleteReadError):
            statuses["broken"] += 1
            return
        if status == 200:
            latencies.append(time.perf_counter() - began)
        statuses[status] += 1
        idle.append(pair)

    tasks = []
    began = time.perf_counter()
    for n, body in enumerate(bodies):
        await asyncio.sleep(max(0.0, began + n / per_second - time.perf_counter()))
        tasks.append(asyncio.create_task(one(body)))
    await asyncio.gather(*tasks)
    taken = time.perf_counter() - began
    for _, writer in idle:
        writer.close()
    return Round(taken, latencies, statuses)


def start(name: str, port: int, folder: Path, python: str) -> subprocess.Popen:
    environment = os.environ | {"UNIBIND_SERVE_PORT": str(port), "OMP_NUM_THREADS": "2"}
    here = str(Path(__file__).with_name("service_baselines.py"))
    commands = {
        "unibind": [sys.executable, "-m", "unibind", "serve"],
        "sentence-transformers": [python, here, "sentence-transformers", str(port)],
        "picture-loop": [sys.executable, here, "picture-loop", str(port)],
        "infinity-emb": [
            python, "-c", "from infinity_emb.cli import cli; cli()", "v2",
            "--model-id", str(folder / "model"),
            "--engine", "torch", "--device", "cpu", "--port", str(port), "--url-prefix", "/v1",
            "--log-level", "error",
        ],
    }  # fmt: skip
    environment |= {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    log = (folder / f"{name}.log").open("wb")
    return subprocess.Popen(
        commands[name], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def wait_for(port: int, body: bytes, process: subprocess.Popen, *, limit_s: float = 240) -> bool:
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends and process.poll() is None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/embeddings",
            data=body,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                if response.status == 200:
                    return True
        except OSError:
            time.sleep(0.5)
    return False


def bare(bodies: list[bytes]) -> tuple[float, float]:
    """Return texts per second, and processor seconds per text, of batches of 32 in this process."""
    import unibind

    encoder = unibind.open("mini").encoder("text")
    texts = [t for b in bodies for t in np.atleast_1d(json.loads(b)["input"]).tolist()]
    encoder.encode(texts[:32])
    began, cpu_began = time.perf_counter(), time.process_time()
    for start_at in range(0, len(texts), 32):
        encoder.encode(texts[start_at : start_at + 32])
    taken, cpu_taken = time.perf_counter() - began, time.process_time() - cpu_began
    return len(texts) / taken, cpu_taken / len(texts)


def model_folder(folder: Path) -> None:
    """Lay a copy of the tower's files out as infinity-emb wants them."""
    from unibind import weights

    shutil.copytree(weights.path("minilm-l6"), folder / "model")
    (folder / "model" / "2_Normalize").mkdir(exist_ok=True)


def compared(rounds: dict[str, list[Round]], n_items: int) -> dict:
    rows = {
        name: {
            "items_per_s": round(n_items * statistics.median(r.per_second for r in each), 1),
            "p50_ms": round(1000 * statistics.median(r.quantile(0.5) for r in each), 1),
            "p99_ms": round(1000 * statistics.median(r.quantile(0.99) for r in each), 1),
            "cpu_ms_per_item": round(
                statistics.median(1000 * r.cpu_s / (n_items * r.statuses[200]) for r in each), 2
            ),
            "statuses": dict(sum((r.statuses for r in each), Counter())),
        }
        for name, each in rounds.items()
    }
    for name, each in rounds.items():
        if name == "unibind":
            continue
        pairs = list(zip(rounds["unibind"], each, strict=True))
        rows[name]["throughput_of_unibind_times"] = round(
            statistics.median(a.per_second / b.per_second for a, b in pairs), 2
        )
        rows[name]["p99_of_unibind_times"] = round(
            statistics.median(a.quantile(0.99) / b.quantile(0.99) for a, b in pairs), 2
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=400, help="per server and round")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--baseline-python", default=sys.executable)
    parser.add_argument("--without", nargs="*", default=[])
    told = parser.parse_args()
    document: dict = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load "
        f"{os.getloadavg()[0]:.1f} before the start",
        "was_busy": os.getloadavg()[0] > (os.cpu_count() or 1),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model_folder(folder)
        names = ["unibind", "sentence-transformers", "infinity-emb", "picture-loop"]
        ports = {each: 18_100 + n for n, each in enumerate(names) if each not in told.without}
        processes = {
            each: start(each, port, folder, told.baseline_python) for each, port in ports.items()
        }
        try:
            text, picture = text_bodies(1, n_texts=1, seed=1)[0], picture_bodies(1, seed=1)[0]
            for each in list(ports):
                body = picture if each == "picture-loop" else text
                if not wait_for(ports[each], body, processes[each]):
                    tail = (folder / f"{each}.log").read_bytes()[-2000:].decode(errors="replace")
                    print(f"{each} does not start; left out\n{tail}", file=sys.stderr)
                    del ports[each]
            document |= measured(ports, processes, told)
        finally:
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                process.wait(60)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "service_load.json").write_text(json.dumps(document, indent=2) + "\n")
    (RESULTS / "service_load.md").write_text(told_in_words(document))
    print(told_in_words(document))


def measured(
    ports: dict[str, int], processes: dict[str, subprocess.Popen], told: argparse.Namespace
) -> dict:
    document: dict = {}
    of_texts = [name for name in ports if name != "picture-loop"]
    for n_texts, n in ((1, told.requests), (32, max(32, told.requests // 8))):
        concurrency = told.concurrency if n_texts == 1 else 4
        rounds: dict[str, list[Round]] = {name: [] for name in of_texts}
        overheads, cpu_overheads = [], []
        for number in range(told.rounds):
            for name in of_texts:
                bodies = text_bodies(n, n_texts=n_texts, seed=100 * number + n_texts)
                rounds[name].append(timed(processes[name], ports[name], bodies, concurrency))
            fresh = text_bodies(n, n_texts=n_texts, seed=7777 + number)
            last = rounds["unibind"][-1]
            speed, cpu_s = bare(fresh)
            overheads.append(speed / (n_texts * last.per_second))
            cpu_overheads.append(last.cpu_s / (n_texts * last.statuses[200]) / cpu_s)
        document[f"texts, {n_texts} a request, {concurrency} at a time"] = {
            "servers": compared(rounds, n_texts),
            "bare_batches_over_unibind": round(statistics.median(overheads), 3),
            "unibind_cpu_over_bare_batches": round(statistics.median(cpu_overheads), 3),
        }
    if "picture-loop" in ports:
        rounds = {"unibind": [], "picture-loop": []}
        for number in range(told.rounds):
            for name in rounds:
                bodies = picture_bodies(told.requests // 4, seed=50 + number)
                rounds[name].append(timed(processes[name], ports[name], bodies, 16))
        document["pictures of 640 x 480, 1 a request, 16 at a time"] = {
            "servers": compared(rounds, 1)
        }
    document["overload"] = overloaded(ports["unibind"])
    return document


def overloaded(port: int) -> dict:
    """Ask for ten times what can be done; only accepted and turned away, and those in time."""
    unloaded = asyncio.run(closed_loop(port, text_bodies(40, n_texts=32, seed=5), 1))
    loaded = asyncio.run(closed_loop(port, text_bodies(40, n_texts=32, seed=6), 4))
    rate = 10 * loaded.per_second
    bodies = text_bodies(int(rate * 12), n_texts=32, seed=9)
    flood = asyncio.run(open_loop(port, bodies, rate))
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


def told_in_words(document: dict) -> str:
    lines = [f"{document['machine']}. Medians over alternating rounds.", ""]
    if document.get("was_busy"):
        lines += [
            "The machine was busy with other work: these are not figures of the service, only a "
            "sign that it bears company. Repeat them on a quiet one.",
            "",
        ]
    for heading, found in document.items():
        if not isinstance(found, dict) or "servers" not in found:
            continue
        lines += [
            f"**{heading}**", "",
            "| server | items/s | p50 ms | p99 ms | CPU ms an item | unibind's throughput "
            "| unibind's p99 |",
            "|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for name, row in found["servers"].items():
            times = row.get("throughput_of_unibind_times")
            late = row.get("p99_of_unibind_times")
            lines.append(
                f"| {name} | {row['items_per_s']} | {row['p50_ms']} | {row['p99_ms']} "
                f"| {row['cpu_ms_per_item']} | {f'{times} x' if times else ''} "
                f"| {f'{late} x' if late else ''} |"
            )
        if "bare_batches_over_unibind" in found:
            faster = found["bare_batches_over_unibind"]
            cpu = found["unibind_cpu_over_bare_batches"]
            lines += [
                "",
                f"Bare in-process batches of 32 are {faster} x as fast; the service takes ",
            ]
            lines[-1] += f"{cpu} x their processor time."
        lines.append("")
    lines += ["**overload**", "", f"`{json.dumps(document['overload'])}`", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
