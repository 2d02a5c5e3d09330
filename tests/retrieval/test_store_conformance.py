"""LocalStore against the public conformance check, crashes included."""

import itertools
import shutil
from pathlib import Path

import pytest

from unibind.errors import InvalidInputError
from unibind.protocols import VectorStore
from unibind.retrieval.store import LocalStore
from unibind.testing import check_store
from unibind.types import SpaceId


def _open(path: Path) -> LocalStore:
    return LocalStore.open(path, space=SpaceId("check"), dim=8)


def test_the_local_store_keeps_its_promises_through_random_histories(fast_folder: Path) -> None:
    numbers = itertools.count()

    def crashed(place: Path) -> Path:
        # What SIGKILL leaves: every file as it is, but nobody's shared memory.
        left = fast_folder / str(next(numbers))
        shutil.copytree(place, left, ignore=shutil.ignore_patterns("*-shm"))
        return left

    n_steps = check_store(lambda: fast_folder / str(next(numbers)), _open, crashed=crashed)
    assert n_steps >= 2000


def test_the_local_store_is_a_vector_store(fast_folder: Path) -> None:
    with _open(fast_folder) as store:
        assert isinstance(store, VectorStore)


class Forgetful(LocalStore):
    """Deletes from the tables of nobody but the first key."""

    def delete(self, keys=None, *, where=None):
        return super().delete(keys and keys[:1], where=where)


class Loose(LocalStore):
    """Takes whatever it is given."""

    def search(self, queries, *, k=10, **rest):
        return super().search(queries, k=max(k, 1), **rest)


class Short(LocalStore):
    """Returns a hit less than there are."""

    def search(self, queries, **rest):
        return [hits[:-1] for hits in super().search(queries, **rest)]


@pytest.mark.parametrize("broken", [Forgetful, Loose, Short])
def test_check_store_finds_a_store_that_breaks_a_promise(
    broken: type[LocalStore], fast_folder: Path
) -> None:
    numbers = itertools.count()
    with pytest.raises((AssertionError, ExceptionGroup)):
        check_store(
            lambda: fast_folder / str(next(numbers)),
            lambda place: broken.open(place, space=SpaceId("check"), dim=8),
            n_steps=300,
            shrink=False,
        )


def test_a_refused_batch_leaves_the_store_as_it_was(fast_folder: Path, unit_rows) -> None:
    with _open(fast_folder) as store:
        store.upsert(["a"], unit_rows(1, 8), modality="image")
        with pytest.raises(InvalidInputError, match="twice"):
            store.upsert(["b", "b"], unit_rows(2, 8), modality="image")
        assert (store.count(), store.get("b")) == (1, None)
