"""A writer that is killed again and again, and the proof that nothing it acknowledged is lost.

Run by test_store_kills.py and test_store_write_steps.py and, at length, by ``scripts/prove kill``:

    python tests/retrieval/crash.py --kills 1000
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from unibind.retrieval.store import LocalStore
from unibind.types import FloatArray, SpaceId

DIM = 16
SPACE = SpaceId("crash")
_KEYS = 120


@dataclass(frozen=True)
class Step:
    """One call of the writer; everything about it follows from its number."""

    number: int

    @property
    def verb(self) -> str:
        return random.Random(self.number).choices(
            ["upsert", "upsert many", "delete", "compact", "rebuild"], [60, 10, 25, 3, 2]
        )[0]

    @property
    def keys(self) -> list[str]:
        n_keys = 90 if self.verb == "upsert many" else 1 + self.number % 7
        names = random.Random(self.number + 1).sample(range(_KEYS), n_keys)
        return [f"key {name}" for name in names]

    @property
    def modality(self) -> str:
        return "image" if self.number % 3 else "sound"

    @property
    def vectors(self) -> FloatArray:
        rows = np.random.default_rng(self.number).standard_normal((len(self.keys), DIM))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    @property
    def metadata(self) -> list[dict[str, object]]:
        return [{"step": self.number, "caption": f"{key} in words"} for key in self.keys]

    @property
    def made_by(self) -> str | None:
        return (None, "one head", "another")[self.number // 4 % 3]

    def take(self, store: LocalStore) -> None:
        if self.verb.startswith("upsert"):
            store.upsert(
                self.keys,
                self.vectors,
                modality=self.modality,
                metadata=self.metadata,
                made_by=self.made_by,
            )
        elif self.verb == "delete":
            store.delete(self.keys)
        elif self.verb == "compact":
            store.compact()
        else:
            store.rebuild(kind="int8")

    def applied(self, items: "Items") -> "Items":
        if self.verb.startswith("upsert"):
            rows = zip(self.keys, self.vectors, self.metadata, strict=True)
            fresh = {k: (self.modality, v.tobytes(), m["step"], self.made_by) for k, v, m in rows}
            return {**items, **fresh}
        if self.verb == "delete":
            return {key: item for key, item in items.items() if key not in self.keys}
        return items


Items = dict[str, tuple[str, bytes, object, str | None]]


def write(path: Path, first: int, pipe: Connection) -> None:
    """Take steps for ever, and tell the number of each once it is acknowledged."""
    assert "torch" not in sys.modules
    with LocalStore.open(path, space=SPACE, dim=DIM) as store:
        pipe.send(first - 1)
        number = first
        while True:
            Step(number).take(store)
            pipe.send(number)
            number += 1


def write_until(path: Path, number: int, fatal: int, pipe: Connection) -> None:
    """Take one step and die by SIGKILL at its `fatal`-th write; tell of it if it survives."""
    count = [0]

    def passed() -> None:
        count[0] += 1
        if count[0] == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(passed)
    with LocalStore.open(path, space=SPACE, dim=DIM) as store:
        count[0] = 0
        for connection in store._database._idle:
            connection.set_trace_callback(_Statements(passed))
        Step(number).take(store)
        fatal = -1
        pipe.send(count[0])


class _Statements:
    """Counts the first two statements of a kind, and each 30th: rows are many and alike."""

    def __init__(self, passed) -> None:
        self.passed, self.n_seen = passed, Counter()

    def __call__(self, statement: str) -> None:
        kind = statement[:24]
        self.n_seen[kind] += 1
        if self.n_seen[kind] <= 2 or self.n_seen[kind] % 30 == 0:
            self.passed()


def _watch(passed) -> None:
    def watched(function):
        def call(*arguments, **named):
            passed()
            result = function(*arguments, **named)
            passed()
            return result

        return call

    for name in ("write", "fsync", "ftruncate", "unlink", "replace", "rename"):
        setattr(os, name, watched(getattr(os, name)))


def check(path: Path, expected: list[Items]) -> int:
    """Check that a store is exactly one of the states; return which."""
    with LocalStore.open(path, space=SPACE, dim=DIM) as store:
        found = {
            item.key: (item.modality, item.vector.tobytes(), item.metadata["step"], item.made_by)
            for item in store.scan()
        }
        assert found in expected, "the store is in none of the states that it may be in"
        verification = store.verify()
        assert verification.is_clean, verification.damages
        for modality in ("image", "sound"):
            keys = [key for key, item in found.items() if item[0] == modality][:5]
            if keys:
                hits = store.search(store.vectors(keys), k=len(found), modalities=[modality])
                assert [line[0].key for line in hits] == keys, "an item does not find itself"
                there = {key for key, item in found.items() if item[0] == modality}
                assert {hit.key for hit in hits[0]} == there, "a search lacks or invents items"
        assert store.count() == len(found)
    return expected.index(found)


def kill_at_random(folder: Path, n_kills: int, *, seed: int = 0, progress=None) -> int:
    """Kill a writer n_kills times at random moments; return how many steps it acknowledged."""
    moments = random.Random(seed)
    items: Items = {}
    number, n_done = 0, 0
    for kill in range(n_kills):
        reader, writer = _context().Pipe(duplex=False)
        process = _context().Process(target=write, args=(folder / "store", number, writer))
        process.start()
        writer.close()
        last = number - 1
        # At times before it has opened the store; else amid a step, however fast the disk is.
        for _ in range(0 if kill % 10 == 0 else moments.randrange(1, 12)):
            last = reader.recv()
        time.sleep(moments.uniform(0, 0.015))
        process.kill()
        process.join()
        with contextlib.suppress(EOFError, OSError):
            while reader.poll(0):
                last = reader.recv()
        reader.close()
        for step in range(number, last + 1):
            items = Step(step).applied(items)
        after = Step(last + 1).applied(items)
        which = check(folder / "store", [items, after])
        n_done += last + 1 - number
        # Whether the step that was cut short took effect or not, it is not taken again.
        items, number = (items, after)[which], last + 2
        if progress:
            progress(kill + 1, n_done)
    return n_done


def kill_at_every_step(folder: Path, number: int, before: list[int]) -> int:
    """Kill a writer at each write of one step, after some others; return how many writes it has."""
    origin = folder / "origin"
    items: Items = {}
    with LocalStore.open(origin, space=SPACE, dim=DIM) as store:
        for step in before:
            Step(step).take(store)
            items = Step(step).applied(items)
    fatal = 0
    while True:
        fatal += 1
        path = folder / f"killed-{fatal}"
        _copy(origin, path)
        reader, writer = _context().Pipe(duplex=False)
        process = _context().Process(target=write_until, args=(path, number, fatal, writer))
        process.start()
        writer.close()
        process.join()
        check(path, [items, Step(number).applied(items)])
        if process.exitcode == 0:
            assert reader.recv() < fatal
            return fatal - 1
        assert process.exitcode == -signal.SIGKILL, f"the writer ended with {process.exitcode}"


def _copy(origin: Path, path: Path) -> None:
    import shutil

    shutil.copytree(origin, path)


def _context():
    context = multiprocessing.get_context("forkserver")
    # Each child imports what its parent's main module is, too.
    context.set_forkserver_preload(["unibind.retrieval.store", "pytest"])
    return context


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31)
    arguments = parser.parse_args()
    print(f"{arguments.kills} kills, seed {arguments.seed}", flush=True)  # noqa: T201

    def progress(n_kills: int, n_steps: int) -> None:
        if n_kills % 50 == 0:
            print(f"{n_kills} kills survived, {n_steps} steps acknowledged", flush=True)  # noqa: T201

    with tempfile.TemporaryDirectory(prefix="unibind-kill-") as folder:
        n_steps = kill_at_random(
            Path(folder), arguments.kills, seed=arguments.seed, progress=progress
        )
    print(f"{arguments.kills} kills: all {n_steps} acknowledged steps were there, nothing else")  # noqa: T201


if __name__ == "__main__":
    main()
