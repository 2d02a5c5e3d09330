"""Compaction, snapshots, restoring, statistics, Parquet."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unibind.errors import ArtifactError, InvalidInputError, SpaceMismatchError, StoreError
from unibind.retrieval import exchange
from unibind.retrieval.maintenance import restore
from unibind.retrieval.plan import KINDS
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

SPACE = SpaceId("care")


@pytest.fixture
def store(fast_folder: Path, unit_rows):
    with LocalStore.open(fast_folder / "s", space=SPACE, dim=8) as opened:
        opened.upsert(
            [f"k{n}" for n in range(200)],
            unit_rows(200, 8),
            modality="image",
            metadata=[{"n": n, "caption": f"word{n % 9}"} for n in range(200)],
            sources=[f"file:///{n}" if n % 2 else None for n in range(200)],
            content_hashes=[f"sha256:{n % 150}" for n in range(200)],
        )
        opened.upsert(["t0", "t1"], unit_rows(2, 8, 5), modality="text")
        yield opened


def _items(store: LocalStore):
    return [
        (i.key, i.modality, i.vector.tobytes(), i.metadata, i.source, i.content_hash, i.created_at)
        for i in store.scan()
    ]


def test_compaction_keeps_what_lives_and_wipes_what_does_not(store, unit_rows):
    secret = "confidential-" + "z" * 40
    store.upsert(["gone"], unit_rows(1, 8, 9), modality="image", metadata=[{"c": secret}])
    store.delete(["gone", *[f"k{n}" for n in range(0, 200, 3)]])
    store.upsert(["k1"], unit_rows(1, 8, 7), modality="text")
    before = _items(store)
    assert store.compact() == 69
    assert _items(store) == before
    assert store.verify().is_clean
    assert store.compact() == 0
    assert all(one.n_deleted == 0 for one in store.stats().modalities.values())
    for file in store.path.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), f"deleted text is left in {file}"


def test_an_update_keeps_when_the_key_was_first_stored(store, unit_rows):
    (first,) = list(store.scan(where={"$key": "k5"}))
    store.upsert(["k5"], unit_rows(1, 8, 8), modality="text", metadata=[{"n": -5}])
    (second,) = list(store.scan(where={"$key": "k5"}))
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert (second.modality, second.metadata, second.source) == ("text", {"n": -5}, None)
    assert second.content_hash.startswith("vector:")


def test_duplicates_are_listed_under_all_their_keys(store, unit_rows):
    found = store.stats(n_duplicates=1000).duplicates
    assert len(found) == 50
    assert {frozenset(one.keys) for one in found} == {
        frozenset({f"k{n}", f"k{n + 150}"}) for n in range(50)
    }
    store.upsert(["t2"], unit_rows(1, 8, 5), modality="text")
    assert ["t0", "t2"] in [list(one.keys) for one in store.stats(n_duplicates=1000).duplicates]
    assert store.stats(n_duplicates=0).duplicates == []


def test_a_snapshot_is_whole_and_comes_back(store, fast_folder, unit_rows):
    store.delete(["k3"])
    before = _items(store)
    store.snapshot(fast_folder / "snap")
    store.upsert(["later"], unit_rows(1, 8), modality="image")
    restore(fast_folder / "snap", fast_folder / "r")
    with LocalStore.open(fast_folder / "r", space=SPACE, dim=8) as restored:
        assert _items(restored) == before
        assert restored.verify().is_clean
        restored.upsert(["new"], unit_rows(1, 8), modality="image")
    with pytest.raises(StoreError, match="is there already"):
        restore(fast_folder / "snap", fast_folder / "r")
    restore(fast_folder / "snap", fast_folder / "r", replace=True)
    with LocalStore.open(fast_folder / "r") as restored:
        assert _items(restored) == before


def test_a_damaged_snapshot_is_refused_and_a_store_stays_in_its_place(store, fast_folder):
    store.snapshot(fast_folder / "snap")
    store.close()
    file = next((fast_folder / "snap" / "vectors").iterdir())
    content = bytearray(file.read_bytes())
    content[9] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="hash differs"):
        restore(fast_folder / "snap", fast_folder / "s", replace=True)
    with LocalStore.open(fast_folder / "s") as still:
        assert still.count() == 202
    (fast_folder / "other").mkdir()
    (fast_folder / "other" / "file").touch()
    still = LocalStore.open(fast_folder / "s")
    with still, pytest.raises(StoreError, match="is no snapshot"):
        still.snapshot(fast_folder / "other")


def test_an_export_holds_everything_and_another_program_reads_it(store, fast_folder):
    file = fast_folder / "all.parquet"
    assert store.export(file) == 202
    table = pq.read_table(file)
    assert table.num_rows == 202
    row = {name: table.column(name)[5].as_py() for name in table.column_names}
    (item,) = list(store.scan(where={"$key": row["key"]}))
    assert row["vector"] == item.vector.tolist()
    assert json.loads(row["metadata"]) == item.metadata
    space, dim = exchange.identity(file)
    with LocalStore.open(fast_folder / "copy", space=space, dim=dim) as copy:
        assert copy.import_(file) == 202
        assert _items(copy) == _items(store)
        assert copy.import_(file) == 202
        assert copy.count() == 202


def test_an_import_of_something_else_is_refused(store, fast_folder):
    text = fast_folder / "text.parquet"
    text.write_text("no parquet")
    with pytest.raises(InvalidInputError, match="no readable Parquet"):
        store.import_(text)
    with pytest.raises(InvalidInputError, match="no readable Parquet"):
        exchange.identity(text)
    pq.write_table(pa.table({"key": ["a"]}), text)
    with pytest.raises(InvalidInputError, match="no export of a store"):
        store.import_(text)
    store.export(fast_folder / "all.parquet")
    for space, dim, telling in ((SpaceId("other"), 8, "of space care"), (SPACE, 9, "width 9")):
        path = fast_folder / f"{space}-{dim}"
        with LocalStore.open(path, space=space, dim=dim) as another:
            with pytest.raises(SpaceMismatchError, match=telling):
                another.import_(fast_folder / "all.parquet")
            assert another.count() == 0
    with pytest.raises(StoreError, match="cannot be written"):
        store.export(fast_folder / "nowhere" / "all.parquet")


def test_a_cut_export_is_said_to_be_damaged(store, fast_folder):
    file = fast_folder / "all.parquet"
    store.export(file)
    content = bytearray(file.read_bytes())
    content[200:900] = bytes(700)
    file.write_bytes(content)
    copy = LocalStore.open(fast_folder / "copy", space=SPACE, dim=8)
    with copy, pytest.raises((InvalidInputError, StoreError)):
        copy.import_(file)


def test_progress_is_told_while_it_goes_on(store, fast_folder):
    told: list[tuple[int, int]] = []
    store.export(fast_folder / "all.parquet", progress=lambda *pair: told.append(pair))
    assert told[-1] == (202, 202)


def test_readers_of_another_process_survive_a_compaction(store, fast_folder, unit_rows):
    with LocalStore.open(fast_folder / "s", read_only=True) as reader:
        (before,) = reader.search(unit_rows(1, 8), k=5, modalities=["image"])
        store.delete([f"k{n}" for n in range(50, 200)])
        store.compact()
        (after,) = reader.search(unit_rows(1, 8), k=50, modalities=["image"])
        assert before[0] == after[0]
        assert len(after) == 50
        assert {int(hit.key[1:]) for hit in after} == set(range(50))


def test_a_store_that_is_moved_is_the_same_store(store, fast_folder):
    store.close()
    shutil.move(fast_folder / "s", fast_folder / "moved")
    with LocalStore.open(fast_folder / "moved", space=SPACE, dim=8) as moved:
        assert moved.verify().is_clean


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "exact"])
def test_a_store_that_lost_all_its_items_goes_on(kind, fast_folder, unit_rows) -> None:
    rows, keys = unit_rows(1100, 8), [f"k{n}" for n in range(1100)]
    with LocalStore.open(fast_folder / "all", space=SpaceId("s"), dim=8) as store:
        store.upsert(keys, rows, modality="image")
        store.rebuild(kind=kind)
        store.delete(keys)
        assert store.search(rows[:2], k=3) == [[], []]
        assert store.rebuild(kind=kind)["image"].recall == 1.0
        assert store.compact() == 1100
        assert store.search(rows[:2], k=3) == [[], []]
        assert store.verify().is_clean
        store.upsert(keys, rows, modality="image")
        assert [hit.key for (hit,) in store.search(rows[:9], k=1)] == keys[:9]
