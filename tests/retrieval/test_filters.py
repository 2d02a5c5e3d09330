"""The language of where. Its meaning is held by check_store; here its edges."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from unibind.errors import InvalidInputError
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

ITEMS = {
    "one": {"n": 1, "word": "red", "tags": ["a", "b"], "flag": True},
    "real": {"n": 1.0, "word": "it's", "tags": []},
    "text": {"n": "1", "word": '"; DROP TABLE items; --', "flag": 1},
    "null": {"n": None, "word": "%", "tags": "a"},
    "odd": {'a"b': 1, "a.b": 2, "": 3, "$ref": 4, "ключ": "да", "x\\y": 5, "tab\t": 6},
    "big": {"n": 2**63, "word": "z" * 5000},
    "bare": {},
}


@pytest.fixture
def store(fast_folder: Path, unit_rows) -> Iterator[LocalStore]:
    with LocalStore.open(fast_folder / "store", space=SpaceId("s"), dim=4) as opened:
        rows = unit_rows(len(ITEMS), 4)
        opened.upsert(list(ITEMS), rows, modality="image", metadata=list(ITEMS.values()))
        yield opened


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"n": 1}, {"one", "real"}),
        ({"n": "1"}, {"text"}),
        ({"n": None}, {"null"}),
        ({"n": {"$ne": 1}}, set(ITEMS) - {"one", "real"}),
        ({"n": {"$gte": 2}}, {"big"}),
        ({"n": {"$gte": 2**63}}, {"big"}),
        ({"n": {"$lt": "2"}}, {"text"}),
        ({"flag": True}, {"one"}),
        ({"flag": 1}, {"text"}),
        ({"flag": {"$exists": False}}, set(ITEMS) - {"one", "text"}),
        ({"tags": {"$contains": "a"}}, {"one"}),
        ({"word": "it's"}, {"real"}),
        ({"word": '"; DROP TABLE items; --'}, {"text"}),
        ({"word": "%"}, {"null"}),
        ({"word": {"$in": []}}, set()),
        ({"word": {"$in": ["red", "%"]}}, {"one", "null"}),
        ({'a"b': 1}, {"odd"}),
        ({"a.b": 2}, {"odd"}),
        ({"": 3}, {"odd"}),
        ({"ключ": "да"}, {"odd"}),
        ({"x\\y": 5}, {"odd"}),
        ({"tab\t": 6}, {"odd"}),
        ({"$key": ["one", "' OR 1=1 --"]}, {"one"}),
        ({"$key": {"$ne": "one"}}, set(ITEMS) - {"one"}),
        ({"$modality": {"$in": ["sound"]}}, set()),
        ({"$not": {"$or": [{"n": 1}, {"$key": "bare"}]}}, set(ITEMS) - {"one", "real", "bare"}),
        ({"$and": [{"n": 1}, {"word": "red"}]}, {"one"}),
        ({"n": 1, "word": "red"}, {"one"}),
        ({}, set(ITEMS)),
    ],
)
def test_a_condition_finds_what_it_says(where, found, store, unit_rows):
    (hits,) = store.search(unit_rows(1, 4), k=50, where=where)
    assert {hit.key for hit in hits} == found
    assert {item.key for item in store.scan(where=where)} == found


@pytest.mark.parametrize(
    ("where", "telling"),
    [
        ({"wrod": "red"}, "did you mean 'word'"),
        ({"nothing like it": 1}, "there are"),
        ({"n": {"$near": 1}}, r"unknown operator '\$near'"),
        ({"$nor": []}, r"unknown operator '\$nor'"),
        ({"$or": []}, "list of conditions"),
        ({"$or": {"n": 1}}, "list of conditions"),
        ({"$and": [1]}, "mapping was needed"),
        ({"$not": 3}, "mapping was needed"),
        ({"n": [1]}, "None, a bool, a number or a str"),
        ({"n": {}}, "empty"),
        ({"n": {"$gt": None}}, "number or a str"),
        ({"n": {"$in": "red"}}, "list was needed"),
        ({"n": {"$exists": 1}}, "true or false"),
        ({"n": float("nan")}, "NaN"),
        ({"n": 10**5000}, "16610 bits, beyond what is told apart"),
        ({"word": "\ud800"}, "not text"),
        ({"$key": 3}, "str was needed"),
        ({3: 3}, "a str was needed"),
        ("n = 1", "mapping was needed"),
    ],
)
def test_a_condition_of_another_form_is_refused(where, telling, store, unit_rows):
    with pytest.raises(InvalidInputError, match=telling):
        store.search(unit_rows(1, 4), where=where)
    with pytest.raises(InvalidInputError, match=telling):
        store.delete(where=where)
    assert store.count() == len(ITEMS)


def test_a_condition_that_is_nested_without_end_is_refused(store, unit_rows):
    where: dict = {"n": 1}
    for _ in range(40):
        where = {"$not": where}
    with pytest.raises(InvalidInputError, match="deeper than 32"):
        store.search(unit_rows(1, 4), where=where)


def test_a_remembered_condition_sees_what_came_and_went_since(store, unit_rows):
    where = {"n": 1}
    assert len(store.search(unit_rows(1, 4), where=where)[0]) == 2
    store.upsert(["late"], unit_rows(1, 4, 5), modality="image", metadata=[{"n": 1}])
    store.upsert(["real"], unit_rows(1, 4, 6), modality="image", metadata=[{"n": 2}])
    store.delete(["one"])
    (hits,) = store.search(unit_rows(1, 4), where=where)
    assert [hit.key for hit in hits] == ["late"]
    store.compact()
    (hits,) = store.search(unit_rows(1, 4), where=where)
    assert [hit.key for hit in hits] == ["late"]


def test_an_empty_store_knows_no_fields_and_refuses_none(fast_folder, unit_rows):
    with LocalStore.open(fast_folder / "empty", space=SpaceId("s"), dim=4) as empty:
        assert empty.search(unit_rows(2, 4), where={"any": 1}) == [[], []]
        assert empty.delete(where={"any": 1}) == 0
