"""How many calls a second a build makes with 32 in flight against a server that takes 200 ms.

The ideal is 32 / 0.2 s = 160 calls/s. The server is a process of its own, so that it does not share
this one's interpreter; with one core each, the ratio is what the client loses.

    python benchmarks/knowledge_throughput.py [--in-flight 32] [--delay 0.2] [--calls 1600]
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from unibind.knowledge.build import build
from unibind.knowledge.plan import Plan, split_lines
from unibind.knowledge.prompts import find_prompts
from unibind.knowledge.writers.openai_server import OpenAIWriter
from unibind.types import WriterSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "knowledge"))


def serve(delay_s: float, pipe: Connection) -> None:
    """Answer until told to stop: asyncio, because 32 sleeping threads would be the bottleneck."""
    import asyncio

    from chat_server import good

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                await asyncio.sleep(delay_s)
                raw = json.dumps(good(body)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    + f"Content-Length: {len(raw)}\r\n\r\n".encode()
                    + raw
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()  # the end of the connection, or of the benchmark

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)
        server.close()

    asyncio.run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--calls", type=int, default=1600)
    arguments = parser.parse_args()
    random.seed(0)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(arguments.delay, theirs))
    process.start()
    port = ours.recv()
    author = OpenAIWriter(
        WriterSettings(
            base_url=f"http://127.0.0.1:{port}/v1",
            model="stub",
            n_in_flight=arguments.in_flight,
            lines_per_call=4,
        )
    )
    n_classes = max(1, arguments.calls // 8)
    plan = Plan(
        classes=tuple(f"thing {n}" for n in range(n_classes)),
        prompts=split_lines(32, find_prompts(["looks", "sound"])),
    )
    with tempfile.TemporaryDirectory() as folder:
        start, start_cpu = time.perf_counter(), time.process_time()
        report = build(Path(folder) / "base", plan, author, writer_name="openai")
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    ours.send("stop")
    process.join()
    ideal = arguments.in_flight / arguments.delay
    rate = report.n_calls / seconds
    result = {
        "calls": report.n_calls,
        "lines": report.n_lines,
        "missing": report.n_missing,
        "seconds": round(seconds, 2),
        "calls_per_s": round(rate, 1),
        "ideal_calls_per_s": ideal,
        "share_of_ideal": round(rate / ideal, 3),
        "cpu_ms_per_call": round(1000 * cpu_s / report.n_calls, 2),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
