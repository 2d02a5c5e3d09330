"""What may enter a store: keys, vectors and metadata are checked before anything is written.

FAISS takes float64 silently, raises an empty AssertionError on a wrong width and answers NaN
with id -1; so nothing reaches it, or the disk, that has not passed here.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from unibind.errors import InvalidInputError
from unibind.types import FloatArray, Json

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_METADATA_BYTES",
    "check_k",
    "check_keys",
    "check_metadata",
    "check_name",
    "check_names",
    "check_score",
    "check_unique",
    "check_vectors",
]

MAX_KEY_BYTES = 16_384
MAX_METADATA_BYTES = 4_194_304
# Rounding of a float32 division stays below 1e-6; a forgotten normalisation does not.
_UNIT_TOLERANCE = 1e-3
_LEAST_SQUARE, _MOST_SQUARE = (1 - _UNIT_TOLERANCE) ** 2, (1 + _UNIT_TOLERANCE) ** 2


def check_vectors(vectors: Any, dim: int, *, what: str = "vectors") -> FloatArray:
    """Return vectors, shape (N, D), contiguous, once they are float32, finite and unit length.

    Raises:
        InvalidInputError: Another type, shape or width, a value that is not finite, or a row that
            is not of unit length.
    """
    if not isinstance(vectors, np.ndarray):
        raise InvalidInputError(
            f"{what} are a {type(vectors).__name__}; a numpy array of shape (N, {dim}) was needed"
        )
    if vectors.dtype != np.float32:
        raise InvalidInputError(
            f"{what} are {vectors.dtype}, float32 was needed; pass {what}.astype(numpy.float32)"
        )
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise InvalidInputError(
            f"{what} have shape {vectors.shape}, (N, {dim}) was needed; "
            "embed them with the encoder and head of this store's space"
        )
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if not all(_LEAST_SQUARE <= square <= _MOST_SQUARE for square in _squares(vectors)):
        squares = np.einsum("nd,nd->n", vectors, vectors)
        lengths = np.sqrt(squares)
        is_right = (squares >= _LEAST_SQUARE) & (squares <= _MOST_SQUARE)
        wrong = np.flatnonzero(~is_right)
        row = int(wrong[0])
        found = f"has length {lengths[row]:.6g}"
        if not np.isfinite(vectors[row]).all():
            found = "holds NaN or inf"
        raise InvalidInputError(
            f"row {row} of the {what} {found}, a finite row of unit length was needed "
            f"({wrong.size} such rows); divide each row by its length, drop the empty ones"
        )
    return cast(FloatArray, vectors)


def _squares(vectors: FloatArray) -> list[float]:
    """Return the sum of squares of each row, which is not finite as soon as one value is not."""
    if len(vectors) == 1:
        # A search finds no code of numpy's in the processor's cache: this touches the least.
        return [float(np.vdot(vectors, vectors))]
    squares: list[float] = np.einsum("nd,nd->n", vectors, vectors).tolist()
    return squares


def check_keys(keys: Sequence[str]) -> list[str]:
    """Return keys as a list once each is a usable str.

    Raises:
        InvalidInputError: A key is no str, empty, too long, or cannot be written as UTF-8.
    """
    if isinstance(keys, str):
        raise InvalidInputError(f"keys are the single str {keys[:40]!r}; pass a list of keys")
    checked = list(keys)
    for row, key in enumerate(checked):
        check_name(key, f"key {row}")
    return checked


def check_unique(keys: Sequence[str]) -> None:
    """Check that no key comes twice: which of the two would be the item?

    Raises:
        InvalidInputError: A key is there twice.
    """
    if len(set(keys)) == len(keys):
        return
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key in first:
            raise InvalidInputError(
                f"key {key[:80]!r} is in the batch twice (rows {first[key]} and {row}); "
                "a key names one item, give each its own"
            )
        first[key] = row


def check_name(name: Any, what: str) -> str:
    """Return a key or the name of a modality once it can be stored.

    Raises:
        InvalidInputError: It is no str, empty, too long, holds NUL or cannot be written as UTF-8.
    """
    if not isinstance(name, str):
        raise InvalidInputError(
            f"{what} is {name!r:.80} ({type(name).__name__}), a str was needed; "
            f"pass str({name!r:.40})"
        )
    if name.isascii() and 0 < len(name) <= MAX_KEY_BYTES and "\0" not in name:
        return name
    if not name or "\0" in name:
        raise InvalidInputError(f"{what} is {name[:80]!r}; a str without NUL was needed, not empty")
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{what} {name[:80]!r} is not text that UTF-8 can hold ({error.reason}); "
            "decode file names with errors='replace', or use another key"
        ) from None
    if n_bytes > MAX_KEY_BYTES:
        raise InvalidInputError(
            f"{what} ({name[:40]!r}...) has {n_bytes} bytes, at most {MAX_KEY_BYTES} are stored; "
            "use a hash of it as the key and keep the long form in the metadata"
        )
    return name


def check_names(names: Sequence[str | None] | None, n_rows: int, what: str) -> list[str | None]:
    """Return a name or None for each row, all None if there are none.

    Raises:
        InvalidInputError: One cannot be stored.
    """
    if names is None:
        return [None] * n_rows
    return [None if name is None else check_name(name, what) for name in names]


def check_metadata(metadata: Iterable[Mapping[str, Json]]) -> list[str]:
    """Return each item's metadata as JSON text.

    Raises:
        InvalidInputError: One is no mapping with str keys, holds what JSON or SQLite cannot, or is
            too long.
    """
    return [_dump(row, value) for row, value in enumerate(metadata)]


def check_k(k: Any, *, what: str = "k") -> int:
    """Return k once it is a positive int.

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InvalidInputError(f"{what} is {k!r}; a whole number of at least 1 was needed")
    return int(k)


_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _dump(row: int, metadata: Mapping[str, Json]) -> str:
    if not metadata and isinstance(metadata, Mapping):
        return "{}"
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise InvalidInputError(
            f"metadata of row {row} is {metadata!r:.80}; "
            "a mapping from str to JSON values was needed"
        )
    try:
        text = _encode(dict(metadata))
        n_bytes = len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"metadata of row {row} is not JSON ({error}); "
            "store None, bool, int, finite float, str, and lists and dicts of these"
        ) from error
    if "\\u0000" in text and _NUL.search(text):
        raise InvalidInputError(
            f"metadata of row {row} holds the character NUL, at which SQLite ends a text: "
            "conditions would compare what is before it alone; replace it"
        )
    if n_bytes > MAX_METADATA_BYTES:
        raise InvalidInputError(
            f"metadata of row {row} has {n_bytes} bytes as JSON, at most {MAX_METADATA_BYTES} are "
            "stored; keep a path or an address of the large part instead"
        )
    return text


def check_score(score: Any, *, what: str) -> float:
    """Return a score once it is a finite number.

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(score, bool) or not isinstance(score, int | float | np.floating):
        raise InvalidInputError(f"{what} is {score!r}; a number was needed")
    if not math.isfinite(score):
        raise InvalidInputError(f"{what} is {score}; a finite number was needed")
    return float(score)
