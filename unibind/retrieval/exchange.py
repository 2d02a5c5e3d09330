"""A store as one Parquet file, for other programs and other machines; streamed both ways."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unibind.errors import InvalidInputError, SpaceMismatchError, StoreError
from unibind.retrieval.records import StoredItem
from unibind.retrieval.segments import sync
from unibind.types import ProgressCallback, SpaceId

__all__ = ["export", "identity", "import_"]

_FORMAT = "unibind-store-1"
_GROUP_ROWS = 8192


def export(
    items: Iterator[StoredItem],
    file: Path,
    *,
    space: SpaceId,
    dim: int,
    n_items: int,
    progress: ProgressCallback | None = None,
) -> int:
    """Write items to a Parquet file, whole or not at all, and return how many there were.

    Raises:
        StoreError: The file cannot be written.
    """
    staging = file.with_name(f".{file.name}.writing-{os.getpid()}")
    schema = _schema(dim).with_metadata({"format": _FORMAT, "space": space})
    n_done = 0
    try:
        with pq.ParquetWriter(staging, schema, compression="zstd") as writer:
            while group := list(islice(items, _GROUP_ROWS)):
                writer.write_table(_table(group, schema))
                n_done += len(group)
                if progress:
                    progress(n_done, max(n_items, n_done))
        sync(staging)
        staging.replace(file)
    except OSError as error:
        raise StoreError(
            f"{file} cannot be written ({error.strerror or error}); free space, correct the "
            "permissions, or choose another place"
        ) from error
    finally:
        with suppress(OSError):
            staging.unlink()
    return n_done


def import_(
    insert: Callable[..., None],
    file: Path,
    *,
    space: SpaceId,
    dim: int,
    progress: ProgressCallback | None = None,
) -> int:
    """Store the items of a Parquet file that `export` wrote and return how many there were.

    Args:
        insert: Stores one batch, as `LocalStore.upsert` with ``created_at``.
        file: What `export` wrote.
        space: The space that its vectors must be of.
        dim: Width D.
        progress: Called after each batch.

    Raises:
        InvalidInputError: The file is not of that form.
        SpaceMismatchError: Its vectors are of another space or width.
        StoreError: The store cannot be written; the batches before are stored.
    """
    try:
        source = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError(f"{file} is no readable Parquet file ({error})") from error
    with source:
        _check_schema(file, source.schema_arrow, space, dim)
        n_done, n_items = 0, source.metadata.num_rows
        try:
            for batch in source.iter_batches(_GROUP_ROWS):
                for rows in _alike(batch, dim):
                    insert(**rows)
                n_done += batch.num_rows
                if progress:
                    progress(n_done, n_items)
        except (OSError, pa.ArrowException, ValueError) as error:
            if isinstance(error, InvalidInputError):
                raise
            raise InvalidInputError(
                f"{file} is damaged after {n_done} of {n_items} items ({error}); those before are "
                "stored: export it again"
            ) from error
    return n_done


def identity(file: Path) -> tuple[SpaceId, int]:
    """Return the space and the width of the vectors in a Parquet file that `export` wrote.

    Raises:
        InvalidInputError: The file is not of that form.
    """
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError(f"{file} is no readable Parquet file ({error})") from error
    _check_format(file, schema)
    return SpaceId(schema.metadata[b"space"].decode()), schema.field("vector").type.list_size


def _schema(dim: int) -> Any:
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("modality", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
            pa.field("metadata", pa.string(), nullable=False),
            pa.field("source", pa.string()),
            pa.field("content_hash", pa.string(), nullable=False),
            pa.field("created_at", pa.float64(), nullable=False),
            pa.field("updated_at", pa.float64(), nullable=False),
            pa.field("made_by", pa.string()),
        ]
    )


def _table(group: Sequence[StoredItem], schema: Any) -> Any:
    values = np.concatenate([item.vector for item in group])
    columns = {
        "key": [item.key for item in group],
        "modality": [item.modality for item in group],
        "vector": pa.FixedSizeListArray.from_arrays(
            pa.array(values), type=schema.field("vector").type
        ),
        "metadata": [json.dumps(dict(item.metadata), ensure_ascii=False) for item in group],
        "source": [item.source for item in group],
        "content_hash": [item.content_hash for item in group],
        "created_at": [item.created_at for item in group],
        "updated_at": [item.updated_at for item in group],
        "made_by": [item.made_by for item in group],
    }
    return pa.table(columns, schema=schema)


def _check_schema(file: Path, schema: Any, space: SpaceId, dim: int) -> None:
    _check_format(file, schema)
    found = schema.metadata[b"space"].decode()
    if found != space:
        raise SpaceMismatchError(
            f"{file} holds vectors of space {found}, this store is of space {space}; "
            "import it into a store of its own space, or index the items again"
        )
    whole = _schema(dim)
    # Who made a vector was not always told.
    earlier = whole.remove(whole.get_field_index("made_by"))
    if schema.remove_metadata() not in (whole, earlier):
        raise SpaceMismatchError(
            f"{file} has the columns {schema.names} ({schema.field('vector').type}); "
            f"those of an export of width {dim} were needed"
        )


def _check_format(file: Path, schema: Any) -> None:
    told: Mapping[bytes, bytes] = schema.metadata or {}
    if told.get(b"format") != _FORMAT.encode():
        raise InvalidInputError(
            f"{file} is no export of a store: its format is {told.get(b'format')!r}, {_FORMAT!r} "
            "was needed; write it with `unibind index export`"
        )


def _alike(batch: Any, dim: int) -> Iterator[dict[str, Any]]:
    """Yield what stores the rows of one modality and one maker, for each pair of them."""
    columns = {
        name: batch.column(name).to_pylist() for name in batch.schema.names if name != "vector"
    }
    vectors = np.array(batch.column("vector").flatten()).reshape(-1, dim)
    makers = columns.get("made_by", [None] * len(vectors))
    groups: dict[tuple[str, str | None], list[int]] = {}
    for row, group in enumerate(zip(columns["modality"], makers, strict=True)):
        groups.setdefault(group, []).append(row)
    for (modality, made_by), rows in groups.items():
        yield {
            "modality": modality,
            "made_by": made_by,
            "keys": [columns["key"][row] for row in rows],
            "vectors": vectors[rows],
            "metadata": [json.loads(columns["metadata"][row]) for row in rows],
            "sources": [columns["source"][row] for row in rows],
            "content_hashes": [columns["content_hash"][row] for row in rows],
            "created_at": [columns["created_at"][row] for row in rows],
        }
