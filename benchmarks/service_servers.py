"""The servers of the load test: started together, only the one that is asked runs."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import service_traffic as traffic

HERE = Path(__file__).parent
_START_S = 240


@dataclass
class Server:
    """One server, in a session of its own with all its children.

    Attributes:
        name: What it is called in the results.
        port: Where it listens.
        process: It.
        log: What it wrote.
    """

    name: str
    port: int
    process: subprocess.Popen
    log: Path

    def answers(self, whole: bytes) -> bool:
        """Wait until it answers a request well; False if it ends or does not."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/embeddings",
            data=whole.partition(b"\r\n\r\n")[2],
            headers={"Content-Type": "application/json"},
        )
        return self._is_well(asked) and (self.name != "unibind" or self._is_warm())

    def _is_warm(self) -> bool:
        """Wait until all towers are open; what is still being opened would run in the rounds."""
        return self._is_well(urllib.request.Request(f"http://127.0.0.1:{self.port}/readyz"))

    def _is_well(self, asked: urllib.request.Request) -> bool:
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends and self.process.poll() is None:
            try:
                with urllib.request.urlopen(asked, timeout=60) as response:
                    if response.status == 200:
                        return True
            except OSError:
                time.sleep(0.5)
        return False

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for a while; between, it takes nothing of the cores."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGSTOP)

    def rest(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        for each in (signal.SIGTERM, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, each)
        self.process.wait(60)

    def cpu_s(self) -> float:
        """Return the processor seconds that it and its children have used (Linux)."""
        total = 0.0
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                rest = status.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(rest[3]) == self.process.pid:  # its session
                total += (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")
        return total


def started(name: str, port: int, folder: Path, *, python: str, infinity: str | None) -> Server:
    """Start a server by its name, in a folder that has a model and a space."""
    loop = str(HERE / "service_baselines.py")
    model, space = str(folder / "model"), str(folder / "indexes" / "mini")
    infinity_command = [
        str(infinity), "-c", "from infinity_emb.cli import cli; cli()", "v2",
        "--model-id", model, "--device", "cpu", "--port", str(port), "--url-prefix", "/v1",
        "--log-level", "error", "--engine",
    ]  # fmt: skip
    commands = {
        "unibind": [sys.executable, "-m", "unibind", "serve"],
        "sentence-transformers": [python, loop, "sentence-transformers", str(port), model],
        "infinity-emb, torch": [*infinity_command, "torch"],
        "infinity-emb, optimum": [*infinity_command, "optimum"],
        "one at a time": [sys.executable, loop, "one-at-a-time", str(port), space],
        "thread pool": [sys.executable, loop, "thread-pool", str(port), space],
    }
    environment = os.environ | {
        "UNIBIND_SERVE_PORT": str(port),
        "OMP_NUM_THREADS": str(os.cpu_count()),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    }
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            commands[name],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    return Server(name, port, process, log)


def lay_out(folder: Path, *, infinity: str | None) -> None:
    """Make a space that embeds texts, pictures and sounds, and the text tower as others read it."""
    import unibind
    from unibind import weights
    from unibind.alignment.targets import Targets

    shutil.copytree(weights.path("minilm-l6"), folder / "model")
    (folder / "model" / "2_Normalize").mkdir(exist_ok=True)
    if infinity:
        (folder / "model" / "onnx").mkdir()
        file = str(folder / "model" / "onnx" / "model.onnx")
        subprocess.run(
            [infinity, str(HERE / "service_baselines.py"), "export", str(folder / "model"), file],
            check=True,
            capture_output=True,
        )
    with unibind.open(folder / "indexes" / "mini") as engine:
        # Sounds need a head to get anywhere; which one makes no difference to their speed.
        labels = ["a low tone", "a high tone"] * 8
        targets = Targets.from_labels(labels, engine.centers(classes=sorted(set(labels))))
        engine.align("audio", traffic.sounds(len(labels), seconds=1), targets)
        engine.save()


def versions(python: str, names: list[str]) -> dict[str, str]:
    """Return which versions of packages an interpreter has."""
    code = (
        "import sys, importlib.metadata as m\n"
        "for n in sys.argv[1:]:\n"
        "    try: print(n, m.version(n))\n"
        "    except m.PackageNotFoundError: pass"
    )
    told = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    return dict(line.split() for line in told.stdout.splitlines())


def bare_texts(folder: Path, given: list[str]) -> tuple[float, float]:
    """Return texts per second, and processor seconds a text, of batches of 32 in this process."""
    encoder = _engine(folder).encoder("text")
    encoder.encode(given[:32])
    with _Clock(len(given)) as clock:
        for at in range(0, len(given), 32):
            encoder.encode(given[at : at + 32])
    return clock.told


def bare_files(folder: Path, kind: str, contents: list[bytes]) -> tuple[float, float]:
    """Return files per second, and processor seconds a file, read and encoded 32 at a time."""
    from unibind.encoders.pipeline import encode_sources

    encoder = _engine(folder).encoder(kind)
    encode_sources(encoder, contents[:2])
    with _Clock(len(contents)) as clock:
        encode_sources(encoder, contents, batch_size=32)
    return clock.told


class _Clock:
    """Items per second, and processor seconds an item, of what happens in its block."""

    def __init__(self, n_items: int) -> None:
        self._n_items = n_items

    def __enter__(self) -> "_Clock":
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exception: object) -> None:
        taken = time.perf_counter() - self._began
        cpu_taken = time.process_time() - self._cpu_began
        self.told = self._n_items / taken, cpu_taken / self._n_items


_engines: dict[Path, object] = {}


def _engine(folder: Path):
    import unibind

    if folder not in _engines:
        _engines[folder] = unibind.open(folder / "indexes" / "mini")
    return _engines[folder]
