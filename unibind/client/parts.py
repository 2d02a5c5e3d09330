"""From items to the parts of requests, in lists that one request can hold."""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unibind.errors import InvalidInputError
from unibind.types import Json

__all__ = ["batches", "content_of"]

_TEXT = "text"
_BATCH = 64
_BATCH_BYTES = 16 * 2**20


def batches(
    modality: str,
    items: Sequence[Any],
    options: Mapping[str, Json] | None,
    *,
    typed: bool = False,
) -> Iterable[list[Any]]:
    """Yield items as parts.

    Args:
        modality: What they are.
        items: Paths, or contents in bytes; str are texts for ``"text"``.
        options: What the items do not say of themselves.
        typed: Whether texts are parts, too, and not bare strings.

    Raises:
        InvalidInputError: An item is no path and no content, or cannot be read.
    """
    if isinstance(items, str | bytes | os.PathLike):
        raise InvalidInputError("one item was given where a list was needed; write [item]")
    batch: list[Any] = []
    n_bytes = 0
    for item in items:
        part, size = _part(modality, item, options or {})
        if batch and (len(batch) == _BATCH or n_bytes + size > _BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        is_bare = part.keys() == {"type", "text"} and modality == _TEXT and not typed
        batch.append(part["text"] if is_bare else part)
        n_bytes += size
    if batch:
        yield batch


def content_of(item: Any) -> bytes:
    """Return the content of a file, given by its path or as it is.

    Raises:
        InvalidInputError: It is neither, or cannot be read.
    """
    if isinstance(item, str | os.PathLike):
        try:
            return Path(item).read_bytes()
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"cannot read {os.fspath(item)}: {error}") from error
    if not isinstance(item, bytes):
        raise InvalidInputError(
            f"an item is a {type(item).__name__}; give the path of a file or its content in bytes"
        )
    return item


def _part(modality: str, item: Any, options: Mapping[str, Json]) -> tuple[dict[str, Json], int]:
    told = {"options": dict(options)} if options else {}
    if isinstance(item, str) and modality == _TEXT:
        return {"type": modality, "text": item, **told}, len(item)
    encoded = base64.b64encode(content_of(item)).decode()
    return {"type": modality, "data": encoded, **told}, len(encoded)
