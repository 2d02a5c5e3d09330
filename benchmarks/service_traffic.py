"""Requests for the load test, and two ways to send them: as fast as answered, and as a flood.

The sender shares the cores with what it measures, so it does as little as it can: requests are
made beforehand, connections stay open, and of an answer only status and length are looked at.
"""

import asyncio
import base64
import io
import itertools
import json
import os
import time
import wave
from collections import Counter
from dataclasses import dataclass

import numpy as np
from PIL import Image

# The feature cache on disk knows what earlier runs asked for, and what another server of ours did.
SALT = int.from_bytes(os.urandom(4), "big")
SOUND_RATE_HZ = 44_100
_asked = itertools.count()
WORDS = [
    *("a", "small", "red", "kettle", "stands", "on", "an", "old", "wooden", "table", "beside"),
    *("the", "window", "while", "rain", "falls", "softly", "over", "quiet", "green", "hills"),
    *("and", "three", "children", "watch", "ships", "leave", "harbour", "for", "distant", "isles"),
]


@dataclass(frozen=True)
class Round:
    """What one round of requests to one server brought."""

    seconds: float
    latencies: list[float]
    statuses: Counter
    sender_cpu_s: float
    server_cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        return self.statuses[200] / self.seconds

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.latencies, share)) if self.latencies else float("nan")


def texts(n: int, *, n_words: int | tuple[int, int] = 15) -> list[str]:
    """Return sentences that nobody asked for before."""
    random = np.random.default_rng([SALT, next(_asked)])
    fewest, most = (n_words, n_words) if isinstance(n_words, int) else n_words
    lengths = random.integers(fewest, most + 1, n)
    return [f"{' '.join(random.choice(WORDS, k))} {random.integers(10**9)}" for k in lengths]


def pictures(n: int) -> list[bytes]:
    """Return JPEGs of 640 x 480, each of soft blots of its own."""
    random = np.random.default_rng([SALT, next(_asked)])
    found = []
    for _ in range(n):
        pixels = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        large = Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        large.save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def sounds(n: int, *, seconds: float = 3.0) -> list[bytes]:
    """Return WAV files of 16 bits and 44.1 kHz, each a tone of its own in noise."""
    random = np.random.default_rng([SALT, next(_asked)])
    at = np.arange(int(seconds * SOUND_RATE_HZ)) / SOUND_RATE_HZ
    found = []
    for _ in range(n):
        tone = np.sin(2 * np.pi * random.uniform(100, 4000) * at)
        samples = 0.3 * tone + random.normal(0, 0.05, len(at))
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SOUND_RATE_HZ)
            file.writeframes((32767 * np.clip(samples, -1, 1)).astype("<i2").tobytes())
        found.append(buffer.getvalue())
    return found


def requests_of_texts(given: list[str], *, n_each: int) -> list[bytes]:
    parts = [given[at : at + n_each] for at in range(0, len(given), n_each)]
    return [request(each[0] if n_each == 1 else each) for each in parts]


def requests_of_files(kind: str, contents: list[bytes]) -> list[bytes]:
    encoded = (base64.b64encode(each).decode() for each in contents)
    return [request({"type": kind, "data": each}) for each in encoded]


def request(asked: object) -> bytes:
    """Return a request for embeddings, head and body; no model is named, all servers have one."""
    body = json.dumps({"input": asked, "encoding_format": "base64"}).encode()
    head = (
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._come = bytearray()
        self._length = 0
        self._answer: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> "Line":
        _, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return line

    def connection_made(self, transport) -> None:
        self.transport = transport

    def post(self, whole: bytes) -> "asyncio.Future[int]":
        """Send a request; the future is its status once all of the answer is here."""
        self._answer = asyncio.get_running_loop().create_future()
        self._come.clear()
        self._length = 0
        self.transport.write(whole)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._come += data
        if not self._length:
            end = self._come.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._come[:end]).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._length = end + 4 + int(length)
        if len(self._come) >= self._length:
            self._answer.set_result(int(self._come[9:12]))

    def connection_lost(self, error) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server hung up"))


async def closed_loop(port: int, requests: list[bytes], concurrency: int) -> Round:
    """Keep so many requests going until all are answered."""
    waiting = list(reversed(requests))
    latencies: list[float] = []
    statuses: Counter = Counter()
    lines = [await Line.open(port) for _ in range(concurrency)]

    async def one(line: Line) -> None:
        while waiting:
            whole = waiting.pop()
            began = time.perf_counter()
            status = await line.post(whole)
            if status == 200:
                latencies.append(time.perf_counter() - began)
            statuses[status] += 1

    began, cpu_began = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(one, lines))
    taken, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    for line in lines:
        line.transport.close()
    return Round(taken, latencies, statuses, cpu_s)


async def open_loop(port: int, requests: list[bytes], per_second: float) -> Round:
    """Send at a steady rate, whatever comes back; latencies are those of accepted requests."""
    latencies: list[float] = []
    statuses: Counter = Counter()
    idle: list[Line] = []

    async def one(whole: bytes) -> None:
        line = idle.pop() if idle else await Line.open(port)
        began = time.perf_counter()
        try:
            status = await line.post(whole)
        except ConnectionError:
            statuses["broken"] += 1
            return
        if status == 200:
            latencies.append(time.perf_counter() - began)
        statuses[status] += 1
        idle.append(line)

    tasks = []
    began, cpu_began = time.perf_counter(), time.process_time()
    for n, whole in enumerate(requests):
        await asyncio.sleep(max(0.0, began + n / per_second - time.perf_counter()))
        tasks.append(asyncio.create_task(one(whole)))
    await asyncio.gather(*tasks)
    taken, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    for line in idle:
        line.transport.close()
    return Round(taken, latencies, statuses, cpu_s)
