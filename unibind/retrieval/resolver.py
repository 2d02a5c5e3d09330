"""From item ids to hits: what an id stands for never changes, so it is read once and kept."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from operator import gt

from unibind.retrieval.fulltext import parsed
from unibind.retrieval.reading import Tables
from unibind.retrieval.schema import SLOT_BITS
from unibind.types import Hit, Json

__all__ = ["Line", "Resolver", "order"]

_MOST_RESOLVED = 50_000

# Two lists, not a list of pairs: a tuple for each of many hits keeps the garbage collector busy.
Line = tuple[list[int], list[float]]
# Key, modality, metadata as text and, if copying it alone is safe, as a dictionary.
_Resolved = tuple[str, str, str, dict[str, Json] | None]


class Resolver:
    """Keys and metadata of item ids, remembered until a compaction gives new ids."""

    def __init__(self) -> None:
        self._known: dict[int, _Resolved] = {}

    def hits(
        self, tables: Tables, names: Mapping[int, str], lines: Iterable[Line]
    ) -> list[list[Hit]]:
        """Return the hits of ids and scores, line by line, by score and then key.

        Args:
            tables: Where ids that are not known yet are looked up.
            names: Of the modalities, by number.
            lines: Ids and scores for each query, best first.
        """
        lines = list(lines)
        try:
            return [_hits(self._known, ids, scores) for ids, scores in lines]
        except KeyError:
            known = self._resolve(tables, names, {item for ids, _ in lines for item in ids})
        # What is not there after all is damage, which `verify` names.
        for ids, scores in lines:
            for place in reversed([n for n, item in enumerate(ids) if item not in known]):
                del ids[place], scores[place]
        return [_hits(known, ids, scores) for ids, scores in lines]

    def _resolve(
        self, tables: Tables, names: Mapping[int, str], wanted: set[int]
    ) -> dict[int, _Resolved]:
        known = self._known
        missing = [item for item in wanted if item not in known]
        if len(known) + len(missing) > _MOST_RESOLVED:
            known, missing = {}, list(wanted)
        rows = tables.execute(
            "SELECT items.id, items.key, items.metadata "
            "FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value",
            (json.dumps(missing),),
        ).fetchall()
        for (item, key, metadata), described in zip(rows, _described(rows), strict=True):
            is_flat = not any(isinstance(value, dict | list) for value in described.values())
            modality = names[item >> SLOT_BITS]
            known[item] = (key, modality, metadata, described if is_flat else None)
        self._known = known
        return known


def order(hit: Hit) -> tuple[float, str]:
    """Return by what hits are sorted: by score, equal ones by key."""
    return (-hit.score, hit.key)


def _described(rows: Sequence[tuple[int, str, str]]) -> list[dict[str, Json]]:
    """Return the metadata of rows of id, key and text."""
    with contextlib.suppress(ValueError):
        # One call of the parser costs less than one for each.
        found: list[dict[str, Json]] = json.loads(f"[{','.join(row[2] for row in rows)}]")
        if len(found) == len(rows):
            return found
    return [parsed(key, metadata) for _, key, metadata in rows]


def _hits(known: Mapping[int, _Resolved], ids: Sequence[int], scores: Sequence[float]) -> list[Hit]:
    hits = []
    for item, score in zip(ids, scores, strict=True):
        key, modality, metadata, described = known[item]
        # Each hit has metadata of its own: who changes it changes nobody else's.
        copy = parsed(key, metadata) if described is None else described.copy()
        hits.append(Hit(key, modality, score, copy))
    return hits if all(map(gt, scores, scores[1:])) else sorted(hits, key=order)
