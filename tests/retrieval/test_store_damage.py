"""Flipped bytes, lost bytes, old copies: detected, named, and made again where that can be."""

import os
import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from unibind.errors import SpaceMismatchError, StoreError
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

SPACE = SpaceId("damage")


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """Folders of a store that was closed well, and of the same store as SIGKILL leaves it."""
    folder = tmp_path_factory.mktemp("origin")
    rows = np.random.default_rng(0).standard_normal((1240, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    metadata = [{"n": n, "caption": f"word{n % 50} of item"} for n in range(1240)]
    with LocalStore.open(folder / "closed", space=SPACE, dim=16) as store:
        keys = [f"k{n}" for n in range(1240)]
        store.upsert(keys[:1200], rows[:1200], modality="image", metadata=metadata[:1200])
        store.upsert(keys[1200:], rows[1200:], modality="text", metadata=metadata[1200:])
        store.delete(keys[:300:7])
        store.rebuild(kind="int8", modalities=["image"])
        truth = _content(store)
        shutil.copytree(folder / "closed", folder / "live", ignore=_shared_memory)
    return folder, truth


_shared_memory = shutil.ignore_patterns("*-shm")


def _content(store: LocalStore):
    items = {
        item.key: (item.modality, item.vector.tobytes(), item.metadata, item.created_at)
        for item in store.scan()
    }
    query = np.eye(1, 16, dtype=np.float32)
    hits = [hit.key for hit in store.search(query, k=30, exact=True)[0]]
    words = [hit.key for hit in store.search(None, text="word7", k=100)[0]]
    return items, hits, words


@pytest.mark.parametrize("state", ["closed", "live"])
def test_a_flipped_bit_in_any_file_is_detected_or_harmless(state, origin, fast_folder):
    folder, truth = origin
    moments = random.Random(5)
    outcomes = {"harmless": 0, "named": 0, "repaired": 0, "refused": 0}
    for file in sorted(path for path in (folder / state).rglob("*") if path.is_file()):
        content = file.read_bytes()
        for trial in range(10 if content else 0):
            path = fast_folder / "store"
            shutil.copytree(folder / state, path)
            spoilt = bytearray(content)
            at = moments.randrange(min(200, len(spoilt)) if trial < 3 else len(spoilt))
            spoilt[at] ^= 1 << moments.randrange(8)
            (path / file.relative_to(folder / state)).write_bytes(spoilt)
            outcomes[_outcome(path, truth)] += 1
            shutil.rmtree(path)
    assert outcomes["named"] > 3
    assert outcomes["repaired"] > 3
    assert outcomes["refused"] >= (5 if state == "live" else 1)


def _outcome(path: Path, truth) -> str:
    try:
        return _opened_outcome(path, truth)
    except (StoreError, SpaceMismatchError) as error:
        return "refused" if str(path) in str(error) else f"refused without a name: {error}"


def _opened_outcome(path: Path, truth) -> str:
    with LocalStore.open(path, space=SPACE, dim=16) as store:
        found = store.verify()
        if found.is_clean:
            assert _content(store) == truth
            return "harmless"
        assert all(damage.where and damage.what for damage in found.damages)
        after = store.verify(repair=True)
        if after.is_clean:
            assert after.repaired
            assert _content(store) == truth
            return "repaired"
        return "named"


def test_a_damaged_item_is_named_and_storing_it_again_heals_it(origin, fast_folder, unit_rows):
    folder, _ = origin
    shutil.copytree(folder / "closed", fast_folder / "s")
    (file,) = (fast_folder / "s" / "vectors").glob("1-*")
    content = bytearray(file.read_bytes())
    content[3 * 64] ^= 4
    file.write_bytes(content)
    with LocalStore.open(fast_folder / "s") as store:
        (damage,) = [one for one in store.verify().damages if one.key]
        assert (damage.key, damage.is_derived) == ("k3", False)
        assert "not what was stored" in damage.what
        store.upsert(["k3"], unit_rows(1, 16), modality="image")
        assert store.verify(repair=True).is_clean


def test_rows_that_a_power_cut_kept_from_the_file_are_put_back(fast_folder, unit_rows):
    rows = unit_rows(30, 8)
    with LocalStore.open(fast_folder / "s", space=SPACE, dim=8) as store:
        store.upsert([f"k{n}" for n in range(30)], rows, modality="image")
    (file,) = (fast_folder / "s" / "vectors").iterdir()
    # Few rows are synced by SQLite alone; of the file the cut may leave nothing.
    os.truncate(file, 0)
    with pytest.raises(StoreError, match=r"30 vectors .* open the store once for writing"):
        LocalStore.open(fast_folder / "s", read_only=True)
    with LocalStore.open(fast_folder / "s") as store:
        assert store.vectors([f"k{n}" for n in range(30)]).tobytes() == rows.tobytes()
        assert store.verify().is_clean


def test_a_log_that_lost_acknowledged_writes_is_noticed(fast_folder, unit_rows, caplog):
    live, path = fast_folder / "live", fast_folder / "s"
    with LocalStore.open(live, space=SPACE, dim=8) as store:
        for n in range(5):
            store.upsert([f"k{n}"], unit_rows(1, 8), modality="image")
        shutil.copytree(live, path, ignore=_shared_memory)
    log = path / "store.sqlite3-wal"
    os.truncate(log, log.stat().st_size - 5000)
    with pytest.raises(StoreError, match=r"generation [0-4], 5 was acknowledged"):
        LocalStore.open(path)
    with LocalStore.open(path, read_only=True) as store:
        assert "5 was acknowledged" in caplog.text
        assert any("later writes were lost" in one.what for one in store.verify().damages)
    (path / "generation").unlink()
    with LocalStore.open(path) as store:
        assert store.verify().is_clean


def test_a_missing_or_cut_file_of_vectors_is_named(origin, fast_folder, unit_rows):
    folder, _ = origin
    shutil.copytree(folder / "closed", fast_folder / "s")
    (file,) = (fast_folder / "s" / "vectors").glob("1-*")
    os.truncate(file, 640)
    with LocalStore.open(fast_folder / "s", read_only=True) as store:
        with pytest.raises(StoreError, match="has 640 bytes, 76800 were acknowledged"):
            store.search(unit_rows(1, 16))
        assert any(str(file) in damage.where for damage in store.verify().damages)
    file.unlink()
    store = LocalStore.open(fast_folder / "s", read_only=True)
    with store, pytest.raises(StoreError, match="is missing"):
        store.search(unit_rows(1, 16))


def test_a_store_of_a_newer_version_is_left_alone(fast_folder):
    LocalStore.open(fast_folder / "s", space=SPACE, dim=8).close()
    connection = sqlite3.connect(fast_folder / "s" / "store.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="format version 99, this unibind knows 3"):
        LocalStore.open(fast_folder / "s")


def test_what_is_no_store_is_said_to_be_none(fast_folder):
    with pytest.raises(StoreError, match="no store at"):
        LocalStore.open(fast_folder / "s")
    with pytest.raises(StoreError, match="no store at"):
        LocalStore.open(fast_folder / "s", space=SPACE, dim=8, read_only=True)
    (fast_folder / "store.sqlite3").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match=r"store\.sqlite3 is damaged .*not a database"):
        LocalStore.open(fast_folder, space=SPACE, dim=8)
