"""What was uploaded, kept on disk by the hash of its content, so that items can be shown again."""

import contextlib
import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unibind.atomic import replacing_file
from unibind.errors import StoreError
from unibind.types import Json

__all__ = ["Content", "Contents"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """What was uploaded as one item.

    Attributes:
        modality: What it is.
        content: Its bytes; of a text, UTF-8.
        options: What was told about it.
    """

    modality: str
    content: bytes
    options: Mapping[str, Json]


class Contents:
    """Uploaded contents by item key. Equal contents lie on disk once.

    The file is there before the row that names it, and the row before the item is acknowledged.
    A key that is not there has only lost its picture, never its item.

    Args:
        root: Folder; made when something is kept.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def keep(self, key: str, content: Content) -> None:
        """Keep the content of an item; what the key had before is forgotten.

        Raises:
            StoreError: The disk is full or the folder cannot be written.
        """
        digest = hashlib.sha256(content.content).hexdigest()
        place = self._place(digest)
        try:
            with self._lock:
                if not place.is_file():
                    with replacing_file(place) as staging:
                        staging.write_bytes(content.content)
                connection = self._connected()
                with connection:
                    before = self._digest(connection, key)
                    connection.execute(
                        "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?)",
                        (key, digest, content.modality, json.dumps(dict(content.options))),
                    )
                if before is not None and before != digest:
                    self._sweep(connection, before)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"the content of {key!r} cannot be kept: {error}") from error

    def get(self, key: str) -> Content | None:
        """Return what was uploaded as an item, None if it was not kept.

        Raises:
            StoreError: It cannot be read, or is not what was written.
        """
        try:
            with self._lock:
                if not (self._root / _TABLE).is_file():
                    return None
                found = self._connected().execute(
                    "SELECT digest, modality, options FROM contents WHERE key = ?", (key,)
                )
                row = found.fetchone()
            if row is None:
                return None
            content = self._place(row[0]).read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"the content of {key!r} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != row[0]:
            raise StoreError(f"the content of {key!r} is not what was written; upload it again")
        return Content(row[1], content, json.loads(row[2]))

    def forget(self, key: str) -> None:
        """Remove the content of an item.

        Raises:
            StoreError: The folder cannot be written.
        """
        try:
            with self._lock:
                if not (self._root / _TABLE).is_file():
                    return
                connection = self._connected()
                with connection:
                    digest = self._digest(connection, key)
                    connection.execute("DELETE FROM contents WHERE key = ?", (key,))
                if digest is not None:
                    self._sweep(connection, digest)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"the content of {key!r} cannot be removed: {error}") from error

    def close(self) -> None:
        """Release the files."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._root.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._root / _TABLE, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS contents (key TEXT PRIMARY KEY, digest TEXT NOT NULL, "
                "modality TEXT NOT NULL, options TEXT NOT NULL) WITHOUT ROWID"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS by_digest ON contents (digest)")
            self._connection = connection
        return self._connection

    def _digest(self, connection: sqlite3.Connection, key: str) -> str | None:
        row = connection.execute("SELECT digest FROM contents WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _sweep(self, connection: sqlite3.Connection, digest: str) -> None:
        used = connection.execute("SELECT 1 FROM contents WHERE digest = ? LIMIT 1", (digest,))
        if used.fetchone() is None:
            with contextlib.suppress(OSError):
                self._place(digest).unlink(missing_ok=True)

    def _place(self, digest: str) -> Path:
        return self._root / digest[:2] / digest


_TABLE = "contents.sqlite"
