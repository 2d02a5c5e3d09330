"""Many processes and many threads on one store."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soak

from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId


def test_eight_readers_never_see_what_was_deleted_nor_miss_what_was_acknowledged(
    fast_folder: Path,
) -> None:
    n_writes, n_reads = soak.soak(fast_folder / "store", seconds=20)
    assert n_writes > 100
    assert n_reads > 1000


def test_threads_share_a_store(fast_folder: Path, unit_rows) -> None:
    rows = unit_rows(400, 8)
    errors: list[str] = []
    with LocalStore.open(fast_folder, space=SpaceId("threads"), dim=8) as store:
        store.upsert(["first"], rows[:1], modality="image")
        written = threading.Event()

        def write(start: int) -> None:
            for number in range(start, start + 100):
                store.upsert([f"k{number}"], rows[number : number + 1], modality="image")
                (hits,) = store.search(rows[number : number + 1], k=1, calibration="none")
                if hits[0].score < 0.999:
                    errors.append(f"k{number} is not found by its own thread")

        def read() -> None:
            last = 0
            while not written.is_set():
                n_items = store.count()
                if n_items < last:
                    errors.append(f"count went from {last} to {n_items}")
                last = n_items
                store.search(rows[:3], k=5)

        with ThreadPoolExecutor() as pool:
            readers = [pool.submit(read) for _ in range(2)]
            for done in [pool.submit(write, start) for start in (0, 100, 200)]:
                done.result()
            written.set()
            for reader in readers:
                reader.result()
        assert not errors
        assert store.count() == 301
        assert store.verify().is_clean
