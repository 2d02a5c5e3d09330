"""MilvusStore: the same contract on a Milvus server, for those who outgrow one machine.

The only file that imports pymilvus. Metadata is kept as it is, and beside it the typed terms by
which conditions are put, see `unibind.retrieval.milvus_terms`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from unibind.errors import InvalidInputError, SpaceMismatchError, StoreError
from unibind.retrieval.calibration import calibrated, check_calibration
from unibind.retrieval.guard import (
    check_k,
    check_keys,
    check_metadata,
    check_name,
    check_unique,
    check_vectors,
)
from unibind.retrieval.milvus_terms import all_of, code_of, expression, one_of, terms_of
from unibind.retrieval.view import Shard
from unibind.types import FloatArray, Hit, Json, SpaceId

__all__ = ["MilvusStore"]

_BATCH = 1000
_SAMPLED = 1000
# Milvus keeps no longer JSON or text.
_MOST_BYTES = 65_000
_MOST_HITS = 16_384
# Where the name of the space stands among those of the modalities, whose ids are hashes.
_SPACE = "space"


class MilvusStore:
    """Embeddings of one space under users' keys, in one collection of a Milvus server.

    How durable `upsert` is, the server decides; Milvus acknowledges what its log has. A batch is
    stored whole up to 1,000 rows, and 1,000 rows at a time beyond.

    Attributes:
        space: The space of all its vectors.
        dim: Width D of the space.
    """

    def __init__(self, client: Any, collection: str, space: SpaceId, dim: int) -> None:
        self.space = space
        self.dim = dim
        self._client = client
        self._collection = collection
        self._shards: dict[str, Shard] = {}
        self._named: set[str] = set()

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        space: SpaceId,
        dim: int,
        token: str = "",
        collection: str = "unibind",
        index: str = "AUTOINDEX",
    ) -> Self:
        """Open a collection; make it if it is not there.

        Args:
            uri: The address of a server, or the path of a file for Milvus Lite.
            space: The space that its vectors must be of.
            dim: Width D.
            token: What the server asks for: ``user:password`` or a key.
            collection: Name of the collection.
            index: Milvus's name of the kind of index, ``"FLAT"`` for exact search.

        Raises:
            StoreError: The server does not answer, or pymilvus is not installed.
            SpaceMismatchError: The collection is of another space or width.
        """
        try:
            from pymilvus import MilvusClient
        except ImportError as error:
            raise StoreError(
                f"pymilvus is not installed ({error}); pip install 'unibind[scale]'"
            ) from error
        check_name(space, "space")
        with _explained(uri):
            client = MilvusClient(uri, token=token)
            if not client.has_collection(collection):
                _create(client, collection, space, dim, index)
            client.load_collection(collection)
            client.load_collection(_names_of(collection))
            _check_space(client, collection, space, dim)
        return cls(client, collection, space, dim)

    def upsert(
        self,
        keys: Sequence[str],
        vectors: FloatArray,
        *,
        modality: str,
        metadata: Sequence[Mapping[str, Json]] | None = None,
    ) -> None:
        """Store vectors, shape (N, D), under keys; a key that is there is replaced.

        Raises:
            InvalidInputError: A key, a vector, the metadata or their number is not as needed.
            StoreError: The server refuses, or does not answer.
        """
        checked = check_keys(keys)
        check_unique(checked)
        rows = check_vectors(vectors, self.dim)
        described = [{}] * len(checked) if metadata is None else list(metadata)
        texts = check_metadata(described)
        if not len(checked) == len(rows) == len(texts):
            raise InvalidInputError(
                f"a batch has {len(checked)} keys, {len(rows)} vectors, {len(texts)} metadata; "
                "one of each per item was needed"
            )
        check_name(modality, "modality")
        entities = [
            {
                "id": code_of(key),
                "name": key,
                "modality": modality,
                "side": code_of(modality),
                "vector": row,
                "metadata": text,
                "terms": _checked_terms(key, text, json.loads(text)),
            }
            for key, row, text in zip(checked, rows, texts, strict=True)
        ]
        with _explained(self._collection):
            if entities and modality not in self._named:
                told = {"id": code_of(modality), "name": modality, "nothing": [1.0, 0.0]}
                self._client.upsert(_names_of(self._collection), [told])
                self._named.add(modality)
            for start in range(0, len(entities), _BATCH):
                self._client.upsert(self._collection, entities[start : start + _BATCH])

    def delete(
        self, keys: Sequence[str] | None = None, *, where: Mapping[str, Json] | None = None
    ) -> int:
        """Remove items by key, by condition or both, and return how many there were.

        Raises:
            InvalidInputError: Neither was given, or one is not as needed.
            StoreError: The server refuses, or does not answer.
        """
        if keys is None and where is None:
            raise InvalidInputError("delete was told neither keys nor where; say what to remove")
        parts = [] if where is None else [expression(where)]
        wanted = None if keys is None else sorted({code_of(key) for key in check_keys(keys)})
        if wanted is not None:
            parts.append(one_of("id", wanted))
        with _explained(self._collection):
            there = [row["id"] for row in self._rows(all_of(parts), ["id"])]
            for start in range(0, len(there), _BATCH):
                self._client.delete(self._collection, ids=there[start : start + _BATCH])
        return len(there)

    def search(
        self,
        queries: FloatArray,
        *,
        k: int = 10,
        modalities: Sequence[str] | None = None,
        where: Mapping[str, Json] | None = None,
        query_modality: str | None = None,
        calibration: str | None = None,
    ) -> list[list[Hit]]:
        """Return for each query, shape (B, D), its k nearest items, best first.

        As `unibind.retrieval.store.LocalStore.search`, up to 16,384 hits; the means by which a
        search into several modalities is calibrated are those of 1,000 items of each.

        Raises:
            InvalidInputError: An argument is not as needed.
            StoreError: The server refuses, or does not answer.
        """
        k = min(check_k(k), _MOST_HITS)
        queries = check_vectors(queries, self.dim, what="queries")
        if calibration is not None:
            check_calibration(calibration)
        condition = [] if where is None else [expression(where)]
        lines: list[list[Hit]] = [[] for _ in queries]
        if not len(queries):
            return lines
        with _explained(self._collection):
            shards = self._sampled(calibration)
            into = [name for name in shards if modalities is None or name in modalities]
            way = calibration or ("centre" if len(into) > 1 else "none")
            for name in into:
                asked = calibrated(
                    queries, shards[name], shards, calibration=way, query_modality=query_modality
                )
                found = self._client.search(
                    self._collection,
                    data=list(asked.queries),
                    limit=k,
                    filter=all_of([one_of("side", [code_of(name)]), *condition]),
                    output_fields=["name", "metadata"],
                )
                products = np.full((len(queries), k), -np.inf)
                for row, hits in enumerate(found):
                    products[row, : len(hits)] = [hit["distance"] for hit in hits]
                scores = asked.scores(products)
                for line, line_scores, hits in zip(lines, scores, found, strict=True):
                    line += [
                        Hit(
                            hit["entity"]["name"],
                            name,
                            float(score),
                            json.loads(hit["entity"]["metadata"]),
                        )
                        for hit, score in zip(hits, line_scores, strict=False)
                    ]
        return [sorted(line, key=lambda hit: (-hit.score, hit.key))[:k] for line in lines]

    def get(self, key: str) -> Hit | None:
        """Return the item of a key with score 1, or None.

        Raises:
            InvalidInputError: The key is none that could be stored.
            StoreError: The server refuses, or does not answer.
        """
        check_name(key, "key")
        with _explained(self._collection):
            rows = self._client.get(
                self._collection, ids=[code_of(key)], output_fields=["modality", "metadata"]
            )
        if not rows:
            return None
        return Hit(key, rows[0]["modality"], 1.0, json.loads(rows[0]["metadata"]))

    def count(self, modality: str | None = None) -> int:
        """Return how many items are stored, in all or of one modality.

        Raises:
            StoreError: The server refuses, or does not answer.
        """
        condition = "" if modality is None else one_of("side", [code_of(modality)])
        with _explained(self._collection):
            rows = self._client.query(
                self._collection, filter=condition, output_fields=["count(*)"]
            )
        return int(rows[0]["count(*)"])

    def close(self) -> None:
        """Release the connection; the store must not be used afterwards."""
        self._client.close()

    def _rows(self, condition: str, fields: list[str]) -> Iterator[Mapping[str, Any]]:
        pages = self._client.query_iterator(
            self._collection, filter=condition, output_fields=fields, batch_size=_BATCH
        )
        try:
            while page := pages.next():
                yield from page
        finally:
            pages.close()

    def _sampled(self, calibration: str | None) -> dict[str, Shard]:
        """Return a sample of each modality, drawn anew when its number of items has changed."""
        names = self._modalities()
        shards = {}
        for number, name in enumerate(names, start=1):
            n_items = self.count(name)
            known = self._shards.get(name)
            if known is None or known.n_live != n_items:
                known = self._sample(number, name, n_items, calibration)
            if n_items:
                shards[name] = known
        self._shards = shards
        return shards

    def _sample(self, number: int, name: str, n_items: int, calibration: str | None) -> Shard:
        vectors = np.zeros((0, self.dim), dtype=np.float32)
        if calibration != "none" and n_items:
            rows = self._client.query(
                self._collection,
                filter=one_of("side", [code_of(name)]),
                output_fields=["vector"],
                limit=_SAMPLED,
            )
            vectors = np.array([row["vector"] for row in rows], dtype=np.float32)
        total = vectors.sum(axis=0, dtype=np.float64) * (n_items / max(len(vectors), 1))
        alive = np.ones(len(vectors), dtype=np.bool_)
        return Shard(number, name, "", len(vectors), n_items, total, vectors, alive)

    def _modalities(self) -> list[str]:
        rows = self._client.query(
            _names_of(self._collection),
            filter=f"id != '{_SPACE}'",
            output_fields=["name"],
            limit=_MOST_HITS,
        )
        return sorted(row["name"] for row in rows)


def _checked_terms(key: str, text: str, metadata: Mapping[str, Json]) -> dict[str, Json]:
    terms = terms_of(metadata)
    n_bytes = max(len(text.encode()), len(json.dumps(terms)))
    if n_bytes > _MOST_BYTES:
        raise InvalidInputError(
            f"the metadata of {key[:80]!r} takes {n_bytes} bytes, Milvus keeps {_MOST_BYTES}; "
            "keep a path or an address of the large part instead"
        )
    return terms


def _names_of(collection: str) -> str:
    return f"{collection}_modalities"


def _create(client: Any, collection: str, space: SpaceId, dim: int, index: str) -> None:
    from pymilvus import DataType

    if client.has_collection(_names_of(collection)):
        client.drop_collection(_names_of(collection))  # Left by a creation that was cut short.
    names = client.create_schema(auto_id=False, enable_dynamic_field=False)
    names.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    names.add_field("name", DataType.VARCHAR, max_length=65_535)
    names.add_field("nothing", DataType.FLOAT_VECTOR, dim=2)
    flat = client.prepare_index_params()
    flat.add_index("nothing", index_type="FLAT", metric_type="IP")
    client.create_collection(
        _names_of(collection), schema=names, index_params=flat, consistency_level="Strong"
    )
    client.upsert(_names_of(collection), [{"id": _SPACE, "name": space, "nothing": [1.0, 0.0]}])
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("name", DataType.VARCHAR, max_length=65_535)
    schema.add_field("modality", DataType.VARCHAR, max_length=65_535)
    schema.add_field("side", DataType.VARCHAR, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("metadata", DataType.VARCHAR, max_length=65_535)
    schema.add_field("terms", DataType.JSON)
    built = client.prepare_index_params()
    built.add_index("vector", index_type=index, metric_type="IP")
    client.create_collection(
        collection, schema=schema, index_params=built, consistency_level="Strong"
    )


def _check_space(client: Any, collection: str, space: SpaceId, dim: int) -> None:
    fields = {one["name"]: one for one in client.describe_collection(collection)["fields"]}
    width = int(fields.get("vector", {}).get("params", {}).get("dim", 0))
    rows = client.get(_names_of(collection), ids=[_SPACE], output_fields=["name"])
    found = rows[0]["name"] if rows else None
    if (found, width) != (space, dim):
        raise SpaceMismatchError(
            f"the collection {collection!r} holds vectors of space {found}, width {width}; space "
            f"{space}, width {dim} was asked for: name another collection, or open it with the "
            "space it was filled from"
        )


@contextmanager
def _explained(place: str) -> Iterator[None]:
    from pymilvus import MilvusException

    try:
        yield
    except MilvusException as error:
        raise StoreError(f"Milvus ({place}) answers: {error.message or error}") from error
