"""A reading that begins late, and threads that search while ids change."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unibind.retrieval.reading import LateReading, OvertakenError, generation_of
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId


@pytest.fixture
def connections(fast_folder: Path, unit_rows):
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=8) as store:
        store.upsert(["a", "b"], unit_rows(2, 8), modality="image")
        with store._database.connection() as reader:
            yield store, reader


def test_a_late_reading_begins_with_its_first_question_and_sees_one_state(
    connections, unit_rows
) -> None:
    store, reader = connections
    late = LateReading(reader, generation_of(reader))
    assert not reader.in_transaction
    (before,) = late.execute("SELECT count(*) FROM items").fetchone()
    store.upsert(["c"], unit_rows(1, 8, 3), modality="image")
    (after,) = late.execute("SELECT count(*) FROM items").fetchone()
    assert (before, after, reader.in_transaction) == (2, 2, True)


def test_a_late_reading_that_a_writer_overtook_says_so(connections, unit_rows) -> None:
    store, reader = connections
    late = LateReading(reader, generation_of(reader))
    store.delete(["a"])
    with pytest.raises(OvertakenError):
        late.execute("SELECT count(*) FROM items")


def test_no_search_meets_the_ids_of_before_a_compaction(fast_folder: Path, unit_rows) -> None:
    rows = unit_rows(300, 16)
    keys = [f"k{n}" for n in range(300)]
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=16) as store:
        store.upsert(keys, rows, modality="image", metadata=[{"n": n} for n in range(300)])
        written = threading.Event()

        def read(start: int) -> int:
            n_read = 0
            while not written.is_set() or not n_read:
                n = 100 + (start + 7 * n_read) % 200
                (hits,) = store.search(rows[n : n + 1], k=3)
                assert [hit.metadata["n"] for hit in hits] == [int(hit.key[1:]) for hit in hits]
                assert hits[0].key == keys[n]
                n_read += 1
            return n_read

        with ThreadPoolExecutor() as pool:
            readers = [pool.submit(read, start) for start in (0, 50)]
            for n in range(40):  # Each moves every item behind it by one.
                store.delete([keys[n]])
                store.compact()
            written.set()
            assert all(reader.result() for reader in readers)
