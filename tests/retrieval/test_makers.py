"""What made a vector is kept with it, through updates, compaction, copies and older formats."""

import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from unibind.errors import InvalidInputError, StoreError
from unibind.protocols import TracingStore
from unibind.retrieval.maintenance import restore
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

SPACE = SpaceId("made")
MAKERS = (None, "old head", "new head")


@pytest.fixture
def store(fast_folder: Path):
    with LocalStore.open(fast_folder / "s", space=SPACE, dim=8) as opened:
        yield opened


def _counted(items) -> dict[str, dict[str, int]]:
    found: dict[str, Counter] = {}
    for item in items:
        found.setdefault(item.modality, Counter())[item.made_by or ""] += 1
    return {name: dict(counts) for name, counts in found.items()}


def test_who_made_a_vector_is_known_whatever_happened_since(store, unit_rows) -> None:
    moments = np.random.default_rng(4)
    expected: dict[str, tuple[str, str | None]] = {}
    for step in range(120):
        keys = [f"k{n}" for n in moments.choice(40, moments.integers(1, 9), replace=False)]
        if step % 5 == 4:
            store.delete(keys)
            expected = {key: told for key, told in expected.items() if key not in keys}
        elif step % 17 == 16:
            store.compact()
        else:
            modality, made_by = ("image", "sound")[step % 2], MAKERS[step // 7 % 3]
            rows = unit_rows(len(keys), 8, step)
            store.upsert(keys, rows, modality=modality, made_by=made_by)
            expected |= dict.fromkeys(keys, (modality, made_by))
        items = list(store.scan())
        assert {item.key: (item.modality, item.made_by) for item in items} == expected
        there = {name: counts for name, counts in store.makers().items() if counts}
        assert there == _counted(items)
    assert isinstance(store, TracingStore)
    assert store.verify().is_clean


def test_copies_keep_who_made_a_vector(store, unit_rows, fast_folder) -> None:
    for number, made_by in enumerate(MAKERS):
        keys = [f"{number} {n}" for n in range(3)]
        store.upsert(keys, unit_rows(3, 8, number), modality="image", made_by=made_by)
    expected = {"image": {"": 3, "old head": 3, "new head": 3}}
    assert store.makers() == expected
    assert store.stats().modalities["image"].made_by == expected["image"]
    store.snapshot(fast_folder / "snap")
    restore(fast_folder / "snap", fast_folder / "restored")
    with LocalStore.open(fast_folder / "restored", read_only=True) as restored:
        assert restored.makers() == expected
    file = fast_folder / "all.parquet"
    store.export(file)
    with LocalStore.open(fast_folder / "imported", space=SPACE, dim=8) as imported:
        assert imported.import_(file) == 9
        assert imported.makers() == expected
    # An export of before makers were kept is taken as it is.
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["made_by"]), file)
    with LocalStore.open(fast_folder / "earlier", space=SPACE, dim=8) as earlier:
        assert earlier.import_(file) == 9
        assert earlier.makers() == {"image": {"": 9}}


def test_another_maker_than_was_stored_is_damage(store, unit_rows, fast_folder) -> None:
    store.upsert(["a", "b"], unit_rows(2, 8), modality="image", made_by="old head")
    store.close()
    connection = sqlite3.connect(fast_folder / "s" / "store.sqlite3")
    connection.execute("UPDATE runs SET made_by = 'new head'")
    connection.commit()
    connection.close()
    with LocalStore.open(fast_folder / "s") as opened:
        assert [damage.key for damage in opened.verify().damages] == ["a", "b"]


def test_a_maker_must_be_a_name(store, unit_rows) -> None:
    with pytest.raises(InvalidInputError, match="made_by"):
        store.upsert(["a"], unit_rows(1, 8), modality="image", made_by="")
    assert store.makers() == {}


def test_a_store_of_the_first_format_is_brought_up_by_its_first_writer(
    store, unit_rows, fast_folder
) -> None:
    rows = unit_rows(5, 8)
    store.upsert([f"k{n}" for n in range(5)], rows, modality="image")
    store.close()
    database = fast_folder / "s" / "store.sqlite3"
    connection = sqlite3.connect(database)
    connection.executescript("DROP TABLE runs; DROP TABLE labels")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    shutil.copytree(fast_folder / "s", fast_folder / "copy")
    with pytest.raises(StoreError, match=r"format version 1, .* open it once for writing"):
        LocalStore.open(fast_folder / "s", read_only=True)
    with LocalStore.open(fast_folder / "copy") as opened:
        assert opened.verify().is_clean
        assert opened.makers() == {"image": {"": 5}}
        opened.upsert(["new"], unit_rows(1, 8, 1), modality="image", made_by="new head")
        assert opened.makers() == {"image": {"": 5, "new head": 1}}
        assert opened.vectors([f"k{n}" for n in range(5)]).tobytes() == rows.tobytes()
