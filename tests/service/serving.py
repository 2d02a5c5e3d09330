"""A served space as a process of its own, as a person starts it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

_START_S = 300


@dataclass
class Served:
    """One running server.

    Attributes:
        url: Its address.
        folder: Where it runs; the space is `folder/indexes/mini`.
        process: It.
        log: What it wrote.
    """

    url: str
    folder: Path
    process: subprocess.Popen
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def root(self) -> Path:
        return self.folder / "indexes" / "mini"

    def client(self, key: str | None = None, **options) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)

    def connect(self, timeout_s: float = 30) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def is_alive(self) -> bool:
        with self.client() as client:
            return client.get("/healthz").status_code == 200

    def decoder_pids(self) -> list[int]:
        """Return the process ids of its decoders, from the system (Linux)."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if status.read_text().rpartition(")")[2].split()[1] == str(self.process.pid):
                    found.append(int(status.parent.name))
        return found

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder: Path, **settings: object) -> Served:
    """Start a server and wait until it is ready."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    told = {"port": port, "decoders": 1, "warm_up": "false", **settings}
    environment = os.environ | {
        f"UNIBIND_SERVE_{name.upper()}": str(value) for name, value in told.items()
    }
    log = folder / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "unibind", "serve", "--space", "mini"],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=out,
        )
    served = Served(f"http://127.0.0.1:{port}", folder, process, log)
    ends = time.monotonic() + _START_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {log.read_text()[-3000:]}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{served.url}/readyz", timeout=30).status_code == 200:
                return served
        time.sleep(0.1)
    process.kill()
    process.wait()
    raise AssertionError(f"the server was not ready in time: {log.read_text()[-3000:]}")


@contextlib.contextmanager
def serving(folder: Path, **settings: object) -> Iterator[Served]:
    served = start(folder, **settings)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.wait()
