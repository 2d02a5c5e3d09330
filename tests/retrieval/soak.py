"""One writer and eight readers on one store, each a process; every read is checked.

Run by test_store_concurrency.py and, at length, by ``scripts/prove soak-index``:

    python tests/retrieval/soak.py --seconds 600

A number in shared memory says which write was acknowledged last. A reader takes it before it
reads: what was acknowledged by then must be found, what was deleted by then must not.
"""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

DIM = 16
SPACE = SpaceId("soak")
_KEPT = 40
_CONTEXT = multiprocessing.get_context("forkserver")


def row(number: int) -> np.ndarray:
    values = np.random.default_rng(number).standard_normal(DIM)
    return (values / np.linalg.norm(values)).astype(np.float32)


def write(path: Path, acknowledged, stopped) -> None:
    """Store item n, delete item n - 40, at times in bulk, compacting now and then."""
    with LocalStore.open(path, space=SPACE, dim=DIM) as store:
        number = acknowledged.value
        while not stopped.is_set():
            number += 1
            store.upsert(
                [f"k{number}"], row(number)[None, :], modality="image", metadata=[{"n": number}]
            )
            store.delete([f"k{number - _KEPT}"])
            acknowledged.value = number
            if number % 500 == 0:
                store.compact()
            if number % 333 == 0:
                store.rebuild(kind="int8")


def read(path: Path, acknowledged, stopped, counts, reader: int) -> None:
    """Search for what must be there and for what must not; raises at the first wrong answer."""
    moments = random.Random(reader)
    with LocalStore.open(path, read_only=reader % 2 == 0) as store:
        while not stopped.is_set():
            before = acknowledged.value
            number = before - moments.randrange(_KEPT - 5)
            if number < 1:
                continue
            (hits,) = store.search(row(number)[None, :], k=5)
            after = acknowledged.value
            numbers = [int(hit.key[1:]) for hit in hits]
            assert all(hit.metadata["n"] == int(hit.key[1:]) for hit in hits), hits
            assert len(set(numbers)) == len(numbers), numbers
            # The writer may be one step ahead of what it acknowledged.
            assert all(before - _KEPT < n <= after + 1 for n in numbers), (before, after, numbers)
            if number > after + 1 - _KEPT:
                assert numbers[0] == number, (before, after, number, numbers)
            found = store.get(f"k{number}")
            assert found is not None or number <= acknowledged.value + 1 - _KEPT
            counts[reader] += 1


def soak(path: Path, seconds: float, n_readers: int = 8) -> tuple[int, int]:
    """Return how many writes and reads there were; raises if a process found a fault."""
    LocalStore.open(path, space=SPACE, dim=DIM).close()
    acknowledged, stopped = _CONTEXT.Value("q", 0), _CONTEXT.Event()
    counts = _CONTEXT.Array("q", n_readers, lock=False)
    processes = [_CONTEXT.Process(target=write, args=(path, acknowledged, stopped))]
    processes += [
        _CONTEXT.Process(target=read, args=(path, acknowledged, stopped, counts, reader))
        for reader in range(n_readers)
    ]
    for process in processes:
        process.start()
    while not acknowledged.value and processes[0].is_alive():
        time.sleep(0.01)
    end = time.monotonic() + seconds
    while time.monotonic() < end and all(process.is_alive() for process in processes):
        time.sleep(0.1)
    stopped.set()
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    assert codes == [0] * len(processes), f"exit codes of the writer and the readers: {codes}"
    with LocalStore.open(path) as store:
        found = store.verify()
        assert found.is_clean, found.damages
    return acknowledged.value, sum(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="unibind-soak-") as folder:
        n_writes, n_reads = soak(Path(folder) / "store", seconds)
    sys.stdout.write(
        f"{seconds:g} s: {n_writes} writes and {n_reads} reads, none stale, none deleted\n"
    )


if __name__ == "__main__":
    main()
