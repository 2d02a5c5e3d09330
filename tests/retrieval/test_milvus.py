"""MilvusStore on Milvus Lite: the same public check passes as on the local store."""

import itertools
import logging
from pathlib import Path

import pytest

from unibind.errors import InvalidInputError, SpaceMismatchError, StoreError
from unibind.protocols import VectorStore
from unibind.testing import check_store
from unibind.types import SpaceId

pytest.importorskip("milvus_lite")
pytestmark = pytest.mark.filterwarnings("ignore")

from unibind.retrieval.milvus import MilvusStore  # noqa: E402
from unibind.retrieval.milvus_terms import expression, terms_of  # noqa: E402


def _open(path: Path, space: str = "check", dim: int = 8) -> MilvusStore:
    return MilvusStore.open(str(path), space=SpaceId(space), dim=dim, index="FLAT")


def test_the_milvus_store_keeps_its_promises_through_random_histories(fast_folder: Path) -> None:
    numbers = itertools.count()
    check_store(lambda: fast_folder / f"{next(numbers)}.db", _open, n_steps=150)


def test_the_milvus_store_is_a_vector_store_and_knows_its_space(fast_folder: Path) -> None:
    path = fast_folder / "m.db"
    store = _open(path)
    assert isinstance(store, VectorStore)
    store.close()
    for space, dim in (("other", 8), ("check", 9)):
        with pytest.raises(SpaceMismatchError, match="holds vectors of space check, width 8"):
            _open(path, space, dim)


def test_a_server_that_does_not_answer_is_a_clear_error(caplog) -> None:
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(StoreError, match=r"Milvus \(http://127.0.0.1:9\) answers"):
        MilvusStore.open("http://127.0.0.1:9", space=SpaceId("s"), dim=8)


def test_metadata_that_milvus_would_cut_is_refused(fast_folder: Path, unit_rows) -> None:
    store = _open(fast_folder / "m.db")
    with pytest.raises(InvalidInputError, match="Milvus keeps 65000"):
        store.upsert(["a"], unit_rows(1, 8), modality="image", metadata=[{"a": "x" * 70_000}])
    assert store.count() == 0
    store.close()


def test_no_name_or_value_of_a_condition_reaches_the_expression() -> None:
    evil = '"] == 1 or id != "'
    told = expression({evil: evil, "$not": {"$key": [evil]}, "n": {"$gt": 2, "$in": [evil]}})
    assert evil not in told
    assert "or id" not in told.replace("== 1 or", "")
    assert all(evil not in name for name in terms_of({evil: evil}))
