"""Connections to a store's SQLite file: many readers, and one writer at a time, named."""

import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from unibind.errors import StoreError
from unibind.retrieval.schema import (
    DATABASE,
    check_version,
    connect,
    explained,
    explanation,
    migrate,
)
from unibind.retrieval.segments import sync_folder

__all__ = ["WITNESS", "Database"]

_HOLDER = "writer.json"
WITNESS = "generation"
_NOTE_BYTES = 255
_ABANDONED: list[sqlite3.Connection] = []


class Database:
    """The SQLite file of one store, for all threads of one process.

    Args:
        root: The store's folder.
        read_only: Never write, not even to recover.
        timeout_s: How long to wait for another writer.

    Raises:
        StoreError: It cannot be opened, or a newer unibind wrote it.
    """

    def __init__(self, root: Path, *, read_only: bool, timeout_s: float) -> None:
        self.root = root
        self.read_only = read_only
        self.timeout_s = timeout_s
        self._idle: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._closed = threading.Event()
        self._write_lock = threading.Lock()
        if read_only and not (root / DATABASE).exists():
            raise StoreError(f"no store at {root}; correct the path, or add items first")
        with explained(root):
            if not read_only:
                root.mkdir(parents=True, exist_ok=True)
            with self.connection() as connection:
                if read_only:
                    check_version(connection, root)
                else:
                    migrate(connection, root)
                    sync_folder(root)

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that no other thread uses meanwhile.

        Raises:
            StoreError: The store was closed, or SQLite failed inside the block.
        """
        self._notice_fork()
        if self._closed.is_set():
            raise StoreError(f"the store at {self.root} was closed; open it again")
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(
                self.root / DATABASE, read_only=self.read_only, timeout_s=self.timeout_s
            )
        try:
            yield connection
        except (sqlite3.Error, OSError) as error:
            raise StoreError(explanation(self.root, error)) from error
        finally:
            if connection.in_transaction:
                # Not `rollback()`: that prepares its statement anew each time.
                connection.execute("ROLLBACK")
            self._idle.append(connection)
            if self._closed.is_set():
                self.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose queries all see one committed state."""
        with self.connection() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextlib.contextmanager
    def writing(self, purpose: str) -> Iterator[sqlite3.Connection]:
        """Yield a connection that holds the write lock; what the block did is durable after it.

        If the block raises, nothing of it was stored.

        Raises:
            StoreError: The store is read-only, or another writer held it for all of timeout_s;
                the message names that writer.
        """
        if self.read_only:
            raise StoreError(f"the store at {self.root} was opened read-only; open it for writing")
        self._notice_fork()
        if not self._write_lock.acquire(timeout=self.timeout_s):
            raise StoreError(self._held())
        try:
            with self.connection() as connection:
                self._begin(connection)
                self._sign(purpose)
                yield connection
                connection.execute("COMMIT")
                self._witness(connection)
        finally:
            self._write_lock.release()

    def acknowledged(self) -> int:
        """Return the latest generation that a writer saw committed, -1 if its note is not there.

        The note is not synced: it may lag behind the database, and is never ahead of it unless
        the database lost what had been acknowledged (a damaged write-ahead log, an old copy).
        Ask before the database: it may move on in between.
        """
        try:
            number, digest = (self.root / WITNESS).read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            return -1
        return int(number) if digest == _digest(number) else -1

    def close(self) -> None:
        """Close every connection; closing twice is fine."""
        self._closed.set()
        if self._process == os.getpid():
            while self._idle:
                self._idle.pop().close()

    def _notice_fork(self) -> None:
        if self._process != os.getpid():
            # SQLite's connections do not survive a fork, nor may the child close them.
            _ABANDONED.extend(self._idle)
            self._idle, self._process = [], os.getpid()
            self._write_lock = threading.Lock()

    def _begin(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise StoreError(self._held()) from None

    def _witness(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT generation FROM store").fetchone()
        if row is not None:
            _overwrite(self.root / WITNESS, f"{row[0]} {_digest(str(row[0]))}")

    def _held(self) -> str:
        holder = "another writer"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads((self.root / _HOLDER).read_text(encoding="utf-8"))
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"]))
            holder = (
                f"process {found['process']} on {found['host']} ({found['purpose']}, since {since})"
            )
        return (
            f"the store at {self.root} is being written by {holder}, and was for all of the "
            f"{self.timeout_s:g} s that were waited; nothing of this call was stored: wait for it, "
            "stop it, or raise timeout_s"
        )

    def _sign(self, purpose: str) -> None:
        # Only for the message of whoever waits: the lock itself is SQLite's, and dies with us.
        holder = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "purpose": purpose,
            "since": time.time(),
        }
        _overwrite(self.root / _HOLDER, json.dumps(holder))


def _overwrite(file: Path, text: str) -> None:
    # In place and of one length: a file that is made, cut or deleted in each transaction is news
    # for the file system's journal, for which the next sync of the database would have to wait.
    with contextlib.suppress(OSError):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            os.write(handle, text.encode().ljust(_NOTE_BYTES) + b"\n")
        finally:
            os.close(handle)


def _digest(number: str) -> str:
    return hashlib.blake2b(number.encode(), digest_size=8).hexdigest()
