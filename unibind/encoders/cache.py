"""Features that were computed once: one SQLite file per encoder, which may be lost at any time.

The cache never decides whether work succeeds. A damaged file is moved aside and begun anew, a
full or read-only disk ends caching with one warning, and a row whose checksum is wrong is never
returned.
"""

import contextlib
import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from unibind.protocols import Encoder
from unibind.sources import cache_dir
from unibind.types import FloatArray, Json

__all__ = ["FeatureCache", "content_key", "item_key"]

_T = TypeVar("_T")
_FORMAT_VERSION = 1
_WAIT_S = 30.0
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
# SQLite quotes damaged names in its messages, which then are not UTF-8.
_UNUSABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
_log = logging.getLogger(__name__)


def content_key(content: bytes, options: Mapping[str, Json] | None = None) -> bytes:
    """Return the key of a file's content, read with options."""
    told = json.dumps(options, sort_keys=True).encode() if options else b""
    return hashlib.sha256(b"file\0" + told + content).digest()


def item_key(item: Any) -> bytes | None:
    """Return the key of a decoded item.

    None if it is neither a str, a number, a numeric array, nor a tuple or a dataclass of these.
    """
    if isinstance(item, tuple):
        return _joint_key("tuple", item)
    if is_dataclass(item) and not isinstance(item, type):
        values = tuple(getattr(item, each.name) for each in fields(item))
        return _joint_key(type(item).__qualname__, values)
    if item is None or isinstance(item, bool | int | float):
        return hashlib.sha256(f"value\0{item!r}".encode()).digest()
    if isinstance(item, str):
        return hashlib.sha256(b"text\0" + item.encode()).digest()
    if isinstance(item, np.ndarray) and not item.dtype.hasobject:
        digest = hashlib.sha256(f"array\0{item.dtype.str}{item.shape}\0".encode())
        digest.update(np.ascontiguousarray(item).data)
        return digest.digest()
    return None


def _joint_key(kind: str, parts: tuple[Any, ...]) -> bytes | None:
    keys = [item_key(part) for part in parts]
    known = [key for key in keys if key is not None]
    if len(known) < len(keys):
        return None
    return hashlib.sha256(f"{kind}\0".encode() + b"".join(known)).digest()


class FeatureCache:
    """Features of one encoder by the hash of what they were computed from.

    Several processes and threads may use one cache at once.

    Args:
        root: Folder of the caches; made if it is not there.
        fingerprint: The encoder's.
        dim: Width F of its features.
    """

    def __init__(self, root: Path, fingerprint: str, dim: int) -> None:
        # A fingerprint is the encoder's own word: only a hash of it is safe as a file name.
        name = hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
        self.path = root / f"{name}.sqlite"
        self.dim = dim
        self._lock = threading.Lock()
        self._is_writable = True
        self._identity: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._connect()
        except _UNUSABLE as error:
            self._recover(error)
        except OSError as error:
            self._end(error)

    @classmethod
    def of(cls, encoder: Encoder, root: Path | None = None) -> Self:
        """Return the cache of an encoder, in root or else in the user's cache folder."""
        return cls(root or cache_dir() / "features", encoder.fingerprint, encoder.dim)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        """Return the features, shape (F,), that are here, by key."""

        def select(connection: sqlite3.Connection) -> dict[bytes, FloatArray]:
            query = "SELECT feature, checksum FROM features WHERE content = ?"
            found = {}
            for key in keys:
                row = connection.execute(query, (key,)).fetchone()
                if row is not None:
                    found[key] = self._checked(key, *row)
            return found

        return self._attempt(select, {})

    def put(self, keys: Sequence[bytes], features: FloatArray) -> None:
        """Store features, shape (N, F), under N keys: all of them, or none if that fails."""
        rows = [
            (key, blob, _checksum(key, blob))
            for key, blob in zip(keys, map(_to_blob, features), strict=True)
        ]

        def insert(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)

        if self._is_writable:
            self._attempt(insert, None)

    def __len__(self) -> int:
        def count(connection: sqlite3.Connection) -> int:
            n_rows: int = connection.execute("SELECT count(*) FROM features").fetchone()[0]
            return n_rows

        return self._attempt(count, 0)

    def close(self) -> None:
        """Release the file; afterwards nothing is found and nothing stored."""
        with self._lock:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _connect(self) -> None:
        connection = sqlite3.connect(self.path, timeout=_WAIT_S, check_same_thread=False)
        try:
            self._identity = _identity(self.path)
            with contextlib.suppress(sqlite3.OperationalError):  # another process sets it just now
                connection.execute("PRAGMA journal_mode = WAL")
            # Whoever waits for features must not wait for the disk too: after a power cut the file
            # may be damaged, which is found, and begun anew.
            connection.execute("PRAGMA synchronous = OFF")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                _create(connection)
            elif version != _FORMAT_VERSION:
                raise _Damaged(f"it has format version {version}, {_FORMAT_VERSION} was needed")
        except (*_UNUSABLE, OSError):
            connection.close()
            raise
        self._connection = connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(self, work: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        with self._lock:
            if self._connection is None:
                return otherwise
            try:
                return work(self._connection)
            except _UNUSABLE as error:
                self._recover(error)
                return otherwise

    def _recover(self, error: Exception) -> None:
        """Begin anew after damage; go on without writing, or without the cache, after the rest."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
        if isinstance(error, _Damaged | UnicodeDecodeError) or code in _DAMAGE:
            _log.warning(
                "the feature cache %s is damaged (%s); it is moved aside and begun anew",
                self.path,
                error,
            )
            try:
                self._move_aside()
                self._connect()
            except (*_UNUSABLE, OSError) as second_error:
                self._end(second_error)
        elif self._is_writable and self._connection is not None:
            self._is_writable = False
            _warn_once("the feature cache %s takes no more features: %s", self.path, error)
        else:
            self._end(error)

    def _move_aside(self) -> None:
        self._disconnect()
        if _identity(self.path) != self._identity:
            return  # another process has begun anew already
        for companion in ("-wal", "-shm"):
            self.path.with_name(self.path.name + companion).unlink(missing_ok=True)
        self.path.replace(self.path.with_suffix(".damaged"))

    def _end(self, error: Exception) -> None:
        self._disconnect()
        _warn_once("going on without the feature cache %s: %s", self.path, error)

    def _checked(self, key: bytes, blob: Any, checksum: Any) -> FloatArray:
        if not isinstance(blob, bytes) or len(blob) != 4 * self.dim:
            raise _Damaged("a feature has the wrong length")
        if checksum != _checksum(key, blob):
            raise _Damaged("a feature's checksum is wrong")
        return np.frombuffer(blob, dtype="<f4").astype(np.float32)


_warned: set[tuple[str, Path]] = set()


def _warn_once(message: str, path: Path, error: Exception) -> None:
    """Tell once a process and folder: every tower has a cache there, and each is opened often."""
    if (message, path.parent) not in _warned:
        _warned.add((message, path.parent))
        _log.warning(message, path, error)


class _Damaged(sqlite3.DatabaseError):
    """The file is readable for SQLite and wrong all the same."""


def _create(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS features "
            "(content BLOB PRIMARY KEY, feature BLOB NOT NULL, checksum BLOB NOT NULL)"
        )
        connection.execute(f"PRAGMA user_version = {_FORMAT_VERSION}")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _to_blob(feature: FloatArray) -> bytes:
    return feature.astype("<f4").tobytes()


def _checksum(key: bytes, blob: bytes) -> bytes:
    return hashlib.blake2b(key + blob, digest_size=8).digest()
