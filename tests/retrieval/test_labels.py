"""What rows stand for, beside their index: the same hits as from the tables, whatever happens."""

import hashlib
import sqlite3

import numpy as np
import pytest

from unibind.errors import StoreError
from unibind.retrieval import faiss_index
from unibind.retrieval.labels import Labels, record_of, write
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

N_ROWS, DIM = 1500, 16
METADATA = [
    {
        "n": n,
        "text": "zwei\nZeilen \\u0000 ❤",
        "long": "x" * (2000 if n % 50 == 0 else 3),
        "in": [n],
    }
    for n in range(N_ROWS)
]


@pytest.fixture
def labelled(fast_folder, unit_rows):
    """A store of two modalities whose images are indexed, with rows of before and after."""
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=DIM) as store:
        rows = unit_rows(N_ROWS, DIM)
        keys = [f"schlüssel\n{n}" for n in range(N_ROWS)]
        store.upsert(keys[:1400], rows[:1400], modality="image", metadata=METADATA[:1400])
        store.delete(keys[:1400:9])
        store.rebuild(kind="hnsw")
        store.upsert(keys[1400:], rows[1400:], modality="image", metadata=METADATA[1400:])
        store.upsert(["t1", "t2"], unit_rows(2, DIM, 1), modality="text")
        store.delete(keys[1:1400:9])
        yield store, rows


def _labels(folder):
    (file,) = (folder / "s" / "indexes").glob("*.labels")
    return file


def test_a_file_of_labels_tells_what_it_was_told(tmp_path) -> None:
    rows = [(0, "a", "{}"), (2, "ü\n", '{"n":1}'), (3, "long", f'"{"x" * 2000}"')]
    write(tmp_path / "labels", rows, 5)
    sha256 = hashlib.sha256((tmp_path / "labels").read_bytes()).hexdigest()
    labels = Labels(tmp_path / "labels", 5, sha256=sha256)
    image = 1 << 40
    assert labels.records([image, image + 2]) == [record_of("a", "{}"), 'ü\n\0{"n":1}'.encode()]
    # Deleted, long, never there, later, and no id at all: ask the tables.
    assert labels.records([image + 1, image + 3, image + 4, image + 5, -1]) == [b""] * 5
    with pytest.raises(ValueError, match="hash"):
        Labels(tmp_path / "labels", 5, sha256="0" * 64)
    with pytest.raises(ValueError, match="too few for 500 rows"):
        Labels(tmp_path / "labels", 500, sha256=sha256)


def test_hits_from_labels_are_those_of_the_tables(labelled, fast_folder, unit_rows) -> None:
    store, rows = labelled
    queries = np.concatenate([rows[::7], unit_rows(40, DIM, 2)])
    for options in ({}, {"modalities": ["image"]}, {"where": {"n": {"$gte": 700}}}):
        found = store.search(queries, k=12, **options)
        for hits in found:
            assert len(hits) == 12
            for hit in hits:
                told = store.get(hit.key)
                assert (told.modality, told.metadata) == (hit.modality, hit.metadata)
                assert hit.modality == "text" or hit.metadata == METADATA[hit.metadata["n"]]
    # Who changes the metadata of a hit changes nobody else's.
    found[0][0].metadata["n"] = "changed"
    again = [hit.metadata.get("n") for hits in store.search(queries, k=12) for hit in hits]
    assert "changed" not in again


def test_a_large_batch_has_the_hits_of_its_queries_alone(labelled, unit_rows) -> None:
    store, _ = labelled
    queries = unit_rows(900, DIM, 3)
    before = faiss_index.n_threads()
    faiss_index.set_threads(3)
    try:
        batch = store.search(queries, k=5, modalities=["image"])
        assert [[hit.key for hit in hits] for hits in batch] == [
            [hit.key for hit in store.search(query[None], k=5, modalities=["image"])[0]]
            for query in queries
        ]
    finally:
        faiss_index.set_threads(before)


def test_the_error_of_one_part_of_a_batch_is_the_batch_s() -> None:
    before = faiss_index.n_threads()
    faiss_index.set_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            faiss_index.shared_out(lambda part: 1 // part, [1, 2, 0, 3])
        assert faiss_index.shared_out(lambda part: part * 2, [1, 2, 3]) == [2, 4, 6]
    finally:
        faiss_index.set_threads(before)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damaged_labels_are_refused_and_written_again(
    damage, labelled, fast_folder, caplog
) -> None:
    store, rows = labelled
    expected = store.search(rows[200:220], k=3)
    store.close()
    file = _labels(fast_folder)
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] + b"?" if damage == "flipped" else content[:5000])
    with LocalStore.open(fast_folder / "s", read_only=True) as reader:
        assert reader.search(rows[200:220], k=3) == expected
        assert "labels" in caplog.text
        assert "asking the tables" in caplog.text
        (found,) = reader.verify().damages
        assert found.is_derived
        assert str(file) == found.where
    with LocalStore.open(fast_folder / "s") as writer:
        assert writer.search(rows[200:220], k=3) == expected
        assert writer.verify().is_clean
        assert _labels(fast_folder).read_bytes() != content  # Rows of later are among it.
        assert writer.search(rows[200:220], k=3) == expected


def test_who_searches_has_its_answer_though_another_writes(labelled, fast_folder) -> None:
    store, rows = labelled
    expected = store.search(rows[200:201], k=3)
    store.close()
    _labels(fast_folder).unlink()
    other = sqlite3.connect(fast_folder / "s" / "store.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with LocalStore.open(fast_folder / "s", timeout_s=0.2) as opened:
        assert opened.search(rows[200:201], k=3) == expected
        other.close()
        assert opened.search(rows[200:201], k=3) == expected
        assert opened.verify().is_clean


def test_an_index_of_rows_that_a_compaction_moved_is_not_taken(fast_folder, unit_rows) -> None:
    rows = unit_rows(1200, DIM)
    keys = [f"k{n}" for n in range(1200)]
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=DIM) as store:
        store.upsert(keys, rows, modality="image")

        def overtake(done: int, total: int) -> None:
            with LocalStore.open(fast_folder / "s") as other:
                if other.delete(keys[:3]):
                    other.compact()
                    other.upsert(keys[:3], rows[:3], modality="image")

        with pytest.raises(StoreError, match=r"was compacted while the index of 'image' was built"):
            store.rebuild(kind="hnsw", progress=overtake)
        assert list((fast_folder / "s" / "indexes").iterdir()) == []
        found = store.search(rows, k=1)
        assert [hits[0].key for hits in found] == keys
        assert store.rebuild(kind="hnsw")["image"].kind == "hnsw"
        assert store.verify().is_clean
