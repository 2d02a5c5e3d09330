"""Many sources to features: read beside the encoder, each content once, the bad ones set apart."""

import os
import stat
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unibind.encoders.cache import FeatureCache, content_key, item_key
from unibind.errors import InvalidInputError
from unibind.protocols import Encoder
from unibind.types import FloatArray, IntArray, Json, Modality, ProgressCallback

__all__ = ["MAX_FILE_BYTES", "Encoded", "Failure", "encode_sources", "read_file", "read_source"]

MAX_FILE_BYTES = 2**30
"""A larger file, 1 GiB, is refused: it would be held in memory whole."""

_MAX_READERS = 8
_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """One source that could not be encoded.

    Attributes:
        row: Its place among the sources.
        source: Its path, or what it was.
        error: Why, in a sentence.
    """

    row: int
    source: str
    error: str


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What came of the sources.

    Attributes:
        features: Of the M sources that worked, in their order, shape (M, F).
        rows: Places of those among the sources, ascending, shape (M,).
        failures: The others, in their order.
    """

    features: FloatArray
    rows: IntArray
    failures: tuple[Failure, ...]


def encode_sources(
    encoder: Encoder,
    sources: Sequence[Any],
    *,
    options: Mapping[str, Json] | None = None,
    cache: FeatureCache | None = None,
    batch_size: int = 32,
    progress: ProgressCallback | None = None,
) -> Encoded:
    """Return the features of sources; those that cannot be read or encoded are listed.

    Threads read and decode ahead of the encoder, by two batches at most, so memory does not grow
    with the number of sources (their features do). Equal content is encoded once. What was
    encoded is in the cache batch by batch, so an interrupted run goes on where it stopped.

    Args:
        encoder: The tower.
        sources: Paths (`pathlib.Path`, or str unless a str is an item of the modality), contents
            of files as bytes, or values that the modality accepts.
        options: What the files do not say themselves, of the modality's `options`.
        cache: Looked up first and filled.
        batch_size: Items that go through the encoder at once; >= 1.
        progress: Called with the sources done, well or badly, and their number.

    Raises:
        InvalidInputError: batch_size is below 1, or the modality has no such option. A bad source
            raises nothing: it is a failure.
    """
    if batch_size < 1:
        raise InvalidInputError(f"batch_size is {batch_size}, at least 1 was needed")
    run = _Run(encoder, cache, len(sources), progress)
    reader = _Reader(encoder.modality, options or {}, cache)
    batch: list[_Read] = []
    with closing(_read_all(reader, sources, n_ahead=2 * batch_size)) as reads:
        for read in reads:
            if read.item is None:
                run.settle(read)
                continue
            batch.append(read)
            if len(batch) == batch_size:
                run.encode(batch)
                batch = []
        run.encode(batch)
    return run.finish(sources)


def read_source(
    modality: Modality, source: Any, *, options: Mapping[str, Json] | None = None
) -> Any:
    """Return the item of one source: a path, a file's content, or a value already decoded.

    Args:
        modality: What the source is.
        source: As in `encode_sources`.
        options: As in `encode_sources`.

    Raises:
        InvalidInputError: The file is missing, unreadable, no plain file or above
            `MAX_FILE_BYTES`, or the modality refuses it or an option.
    """
    modality = modality.with_options(options or {})
    content = _content_of(modality, source)
    return modality.accept(source) if content is None else modality.read(content)


@dataclass(frozen=True, slots=True)
class _Read:
    """A source after reading: an item to encode, a known feature, an error, or a twin's key."""

    row: int
    key: bytes | None = None
    item: Any = None
    feature: FloatArray | None = None
    error: str | None = None


class _Reader:
    """Reads sources in several threads; of equal contents only the first is decoded."""

    def __init__(
        self, modality: Modality, options: Mapping[str, Json], cache: FeatureCache | None
    ) -> None:
        self._modality = modality.with_options(options)
        self._options = options
        self._cache = cache
        self._claimed: set[bytes] = set()
        self._lock = threading.Lock()

    def __call__(self, row: int, source: Any) -> _Read:
        try:
            return self._read(row, source)
        except InvalidInputError as error:
            return _Read(row, error=str(error))

    def is_file(self, source: Any) -> bool:
        """Return whether a source is a file, or a file's content, rather than a value."""
        return _is_file(self._modality, source)

    def _read(self, row: int, source: Any) -> _Read:
        content = _content_of(self._modality, source)
        item = self._modality.accept(source) if content is None else None
        key = item_key(item) if content is None else content_key(content, self._options)
        if key is not None:
            if not self._claim(key):
                return _Read(row, key)
            known = self._cache.get([key]) if self._cache is not None else {}
            if key in known:
                return _Read(row, key, feature=known[key])
        try:
            return _Read(row, key, item if content is None else self._modality.read(content))
        except InvalidInputError as error:
            return _Read(row, key, error=str(error))

    def _claim(self, key: bytes) -> bool:
        with self._lock:
            is_new = key not in self._claimed
            self._claimed.add(key)
            return is_new


class _Run:
    """What is known of each row while the sources go through."""

    def __init__(
        self,
        encoder: Encoder,
        cache: FeatureCache | None,
        n_sources: int,
        progress: ProgressCallback | None,
    ) -> None:
        self._encoder = encoder
        self._cache = cache
        self._progress = progress
        self._n_done = 0
        self._features = np.zeros((n_sources, encoder.dim), dtype=np.float32)
        self._errors: dict[int, str] = {}
        self._row_of: dict[bytes, int] = {}
        self._twins: list[_Read] = []

    def settle(self, read: _Read) -> None:
        """Note a source that needs no encoding."""
        if read.error is not None:
            self._errors[read.row] = read.error
        elif read.feature is not None:
            self._features[read.row] = read.feature
        else:  # its twin may still be on the way
            self._twins.append(read)
            self._report(1)
            return
        if read.key is not None:
            self._row_of[read.key] = read.row
        self._report(1)

    def encode(self, batch: Sequence[_Read]) -> None:
        """Encode a batch; if the encoder refuses it, item by item."""
        if not batch:
            return
        try:
            features = self._encoder.encode([read.item for read in batch])
        except InvalidInputError as error:
            if len(batch) > 1:
                for read in batch:
                    self.encode([read])
                return
            self.settle(_Read(batch[0].row, batch[0].key, error=str(error)))
            return
        keyed = [n for n, read in enumerate(batch) if read.key is not None]
        if self._cache is not None and keyed:
            self._cache.put([batch[n].key or b"" for n in keyed], features[keyed])
        for read, feature in zip(batch, features, strict=True):
            self._features[read.row] = feature
            if read.key is not None:
                self._row_of[read.key] = read.row
        self._report(len(batch))

    def finish(self, sources: Sequence[Any]) -> Encoded:
        """Return the outcome once every source went through."""
        for twin in self._twins:
            first = self._row_of[twin.key or b""]
            if first in self._errors:
                self._errors[twin.row] = self._errors[first]
            self._features[twin.row] = self._features[first]
        rows = np.array(
            [row for row in range(len(sources)) if row not in self._errors], dtype=np.int64
        )
        failures = tuple(
            Failure(row, _describe(sources[row]), self._errors[row]) for row in sorted(self._errors)
        )
        return Encoded(self._features[rows] if failures else self._features, rows, failures)

    def _report(self, n_more: int) -> None:
        self._n_done += n_more
        if self._progress is not None:
            self._progress(self._n_done, len(self._features))


class _Pool(ThreadPoolExecutor):
    """A pool that drops what has not begun when its block is left."""

    def __exit__(self, *exception: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def _read_all(
    reader: _Reader, sources: Sequence[Any], *, n_ahead: int
) -> Generator[_Read, None, None]:
    """Yield the sources in their order; threads are for files, values are there already."""
    if not any(map(reader.is_file, sources)):
        yield from map(reader, range(len(sources)), sources)
        return
    waiting: deque[Future[_Read]] = deque()
    with _Pool(min(_MAX_READERS, (os.cpu_count() or 1) + 1)) as pool:
        for row, source in enumerate(sources):
            waiting.append(pool.submit(reader, row, source))
            if len(waiting) > n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _content_of(modality: Modality, source: Any) -> bytes | None:
    """Return the bytes of a source that is a file or a file's content; None of a value."""
    if isinstance(source, bytes):
        return source
    return read_file(Path(source)) if _is_file(modality, source) else None


def _is_file(modality: Modality, source: Any) -> bool:
    is_path = isinstance(source, str) and not modality.str_is_item
    return is_path or isinstance(source, bytes | os.PathLike)


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        InvalidInputError: It is missing, unreadable, no plain file or above `MAX_FILE_BYTES`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(f"{path} is no plain file; give the path of a file")
        if status.st_size > MAX_FILE_BYTES:
            raise InvalidInputError(
                f"{path} has {status.st_size:,} bytes, at most {MAX_FILE_BYTES:,} are read; "
                "cut it into smaller files"
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the path
        raise InvalidInputError(f"cannot read {path!s}: {error}") from error


def _describe(source: Any) -> str:
    if isinstance(source, os.PathLike):
        return str(source)
    if isinstance(source, str):  # a path, or a text of any length with anything in it
        is_plain = source.isprintable() and source.strip() and len(source) <= _MAX_SHOWN
        return source if is_plain else repr(source[:_MAX_SHOWN])
    if isinstance(source, bytes):
        return f"{len(source):,} bytes"
    return type(source).__name__
