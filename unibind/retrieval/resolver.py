"""From records of keys and metadata to hits, and the records that no file of labels holds."""

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import gt
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import StoreError
from unibind.retrieval.fulltext import parsed
from unibind.retrieval.labels import record_of
from unibind.retrieval.reading import Tables
from unibind.types import Hit, Json

__all__ = ["Resolver", "hits", "order"]

_MOST_RESOLVED = 50_000
# What `Hit` itself calls for each of its slots, frozen as it is.
_FILLS: tuple[Any, ...] = tuple(
    Hit.__dict__[name].__set__ for name in ("key", "modality", "score", "metadata")
)
_parse = json.JSONDecoder().raw_decode


class Resolver:
    """Records of item ids, looked up once and remembered until a compaction gives new ids."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def records(self, tables: Tables, wanted: set[int]) -> Mapping[int, bytes]:
        """Return the records of ids, more perhaps; what is not there is damage, named by `verify`.

        Args:
            tables: Where ids that are not known yet are looked up.
            wanted: Ids.
        """
        known = self._known
        missing = wanted.difference(known)
        if missing:
            if len(known) + len(missing) > _MOST_RESOLVED:
                known, missing = {}, wanted
            rows = tables.execute(
                "SELECT items.id, items.key, items.metadata "
                "FROM json_each(?) AS wanted CROSS JOIN items ON items.id = wanted.value",
                (json.dumps(list(missing)),),
            )
            known |= {item: record_of(key, metadata) for item, key, metadata in rows}
            self._known = known
        return known


def hits(
    records: Sequence[bytes], names: Iterable[str], scores: npt.NDArray[np.float64]
) -> list[list[Hit]]:
    """Return the hits of each line, best first, equal ones by key.

    Args:
        records: Of each place of all lines, one after the other; empty where there is no hit.
        names: The modality of each.
        scores: Shape (B, m), each line best first, B * m being the number of records.
    """
    width, near = scores.shape[1], scores.ravel().tolist()
    ends: Iterable[int] = range(width, len(near) + 1, width or 1)
    if b"" in records:
        is_there = np.array([bool(record) for record in records])
        ends = np.cumsum(is_there.reshape(scores.shape).sum(axis=1)).tolist()
        near = scores.ravel()[is_there].tolist()
        names = [name for name, record in zip(names, records, strict=False) if record]
        records = [record for record in records if record]
    keys, described = _decoded(records)
    found = _made(keys, names, near, described)
    lines, start = [], 0
    for end in ends:
        line, of_line = found[start:end], near[start:end]
        start = end
        lines.append(line if all(map(gt, of_line, of_line[1:])) else sorted(line, key=order))
    return lines if width else [[] for _ in scores]


def _made(
    keys: Sequence[str],
    names: Iterable[str],
    scores: Sequence[float],
    described: Sequence[dict[str, Json]],
) -> list[Hit]:
    """Return what `Hit` makes of each, in a third of the time: field by field, not hit by hit."""
    made = list(map(object.__new__, repeat(Hit, len(keys))))
    for fill, values in zip(_FILLS, (keys, names, scores, described), strict=True):
        deque(map(fill, made, values), maxlen=0)
    return made


def order(hit: Hit) -> tuple[float, str]:
    """Return by what hits are sorted: by score, equal ones by key."""
    return (-hit.score, hit.key)


def _decoded(records: Sequence[bytes]) -> tuple[list[str], list[dict[str, Json]]]:
    """Return keys and metadata, a dictionary for each record that nobody else holds."""
    if not records:
        return [], []
    try:
        # One call of each costs less than one for each record.
        texts = b"\0".join(records).decode().split("\0")
        described: list[dict[str, Json]]
        described, _ = _parse(f"[{','.join(texts[1::2])}]")
        if len(texts) == 2 * len(described) == 2 * len(records):
            return texts[::2], described
    except ValueError:
        pass
    try:
        pairs = [record.decode().split("\0", 1) for record in records]
    except ValueError as error:
        raise StoreError(
            f"a key or its metadata is no text ({error}); `unibind index verify` names what is "
            "damaged"
        ) from error
    return [key for key, _ in pairs], [parsed(key, metadata) for key, metadata in pairs]
