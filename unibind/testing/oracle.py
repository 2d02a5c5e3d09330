"""What a store must be: a dictionary that is searched by looking at every item."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unibind.types import FloatArray, Hit, Json

__all__ = ["Item", "Model"]

_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Item:
    """What was stored under a key."""

    modality: str
    vector: FloatArray
    metadata: Mapping[str, Json]


class Model:
    """The items that were acknowledged, and what may be said of them."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.fields: set[str] = set()

    def upsert(
        self,
        keys: Sequence[str],
        vectors: FloatArray,
        modality: str,
        metadata: Sequence[Mapping[str, Json]],
    ) -> None:
        """Store vectors under keys."""
        for key, vector, described in zip(keys, vectors, metadata, strict=True):
            self.items[key] = Item(modality, vector, described)
            self.fields.update(described)

    def delete(self, keys: set[str]) -> int:
        """Remove keys and return how many there were."""
        there = keys & set(self.items)
        for key in there:
            del self.items[key]
        return len(there)

    def delete_where(self, where: Mapping[str, Json]) -> int:
        """Remove what fulfils a condition and return how many there were."""
        return self.delete({key for key, item in self.items.items() if _fulfils(key, item, where)})

    def knows(self, where: Mapping[str, Json]) -> bool:
        """Return whether some item that is there has each field: others may be refused."""
        here = {name for item in self.items.values() for name in item.metadata}
        return _fields_of(where) <= here

    def check_item(self, key: str, hit: Hit | None) -> None:
        """Check that a hit is the item of a key, or None where there is none."""
        item = self.items.get(key)
        if item is None:
            assert hit is None, f"get({key!r}) returned an item that is not there"
            return
        assert hit is not None, f"get({key!r}) does not find an item that was acknowledged"
        assert (hit.key, hit.modality, hit.score) == (key, item.modality, 1.0), f"wrong item: {hit}"
        assert dict(hit.metadata) == dict(item.metadata), f"wrong metadata of {key!r}: {hit}"

    def check_members(self, hits: Sequence[Hit], k: int, where: Mapping[str, Json] | None) -> None:
        """Check that hits are there, fulfil the condition, come once and in order."""
        there = {
            key for key, item in self.items.items() if where is None or _fulfils(key, item, where)
        }
        keys = [hit.key for hit in hits]
        assert set(keys) <= there, f"found what must not be: {set(keys) - there}"
        assert len(set(keys)) == len(keys), f"found an item twice: {keys}"
        assert len(keys) == min(k, len(there)), f"{len(keys)} hits, {min(k, len(there))} exist"
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True), f"hits are not in order: {scores}"

    def check_hits(
        self,
        query: FloatArray,
        hits: Sequence[Hit],
        k: int,
        into: Sequence[str] | None,
        where: Mapping[str, Json] | None,
    ) -> None:
        """Check that hits are the nearest items there are."""
        expected = {
            key: float(item.vector.astype(np.float64) @ query.astype(np.float64))
            for key, item in self.items.items()
            if (into is None or item.modality in into)
            and (where is None or _fulfils(key, item, where))
        }
        best = sorted(expected.values(), reverse=True)[:k]
        assert len(hits) == len(best), f"{len(hits)} hits, {len(best)} exist (where={where})"
        for hit, score in zip(hits, best, strict=True):
            assert hit.key in expected, f"found what must not be: {hit.key!r} (where={where})"
            assert abs(expected[hit.key] - hit.score) < _TOLERANCE, f"wrong score: {hit}"
            assert abs(score - hit.score) < _TOLERANCE, f"a nearer item was passed over: {hit}"
            self.check_item(hit.key, Hit(hit.key, hit.modality, 1.0, hit.metadata))
        assert len({hit.key for hit in hits}) == len(hits), "found an item twice"


_RANGES: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def _fulfils(key: str, item: Item, where: Mapping[str, Json]) -> bool:
    return all(_holds(key, item, name, value) for name, value in where.items())


def _holds(key: str, item: Item, name: str, value: Json) -> bool:
    if name == "$and":
        return all(_fulfils(key, item, part) for part in value)
    if name == "$or":
        return any(_fulfils(key, item, part) for part in value)
    if name == "$not":
        return not _fulfils(key, item, value)
    if name == "$modality":
        return bool(item.modality == value)
    if name == "$key":
        return bool(key == value)
    conditions = value if isinstance(value, Mapping) else {"$eq": value}
    return all(_compares(item.metadata, name, *pair) for pair in conditions.items())


def _compares(metadata: Mapping[str, Json], name: str, sign: str, value: Json) -> bool:
    if sign == "$exists":
        return (name in metadata) is value
    if sign == "$ne":
        return not _compares(metadata, name, "$eq", value)
    if name not in metadata:
        return False
    found = metadata[name]
    if sign == "$in":
        return any(_equal(found, choice) for choice in value)
    if sign == "$eq":
        return _equal(found, value)
    return _kind(found) == _kind(value) == "number" and _RANGES[sign](found, value)


def _equal(found: Json, value: Json) -> bool:
    return _kind(found) == _kind(value) and bool(found == value)


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _fields_of(where: Mapping[str, Json]) -> set[str]:
    names: set[str] = set()
    for name, value in where.items():
        if name in ("$and", "$or"):
            names.update(*map(_fields_of, value))
        elif name == "$not":
            names |= _fields_of(value)
        elif not name.startswith("$"):
            names.add(name)
    return names
