"""What all searches of a process share of a store: the view of its latest state, kept fresh."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from unibind.retrieval.database import Database
from unibind.retrieval.reading import LateReading, OvertakenError, Tables, generation_of
from unibind.retrieval.search import Matches
from unibind.retrieval.view import View, refreshed

__all__ = ["Current"]

_Answer = TypeVar("_Answer")


class Current:
    """The latest view of a store and what is remembered of it, for all threads of one process.

    Attributes:
        matches: Which rows fulfil the conditions that were asked.
    """

    def __init__(self, database: Database, dim: int) -> None:
        self.matches = Matches()
        self._database = database
        self._dim = dim
        self._view: View | None = None
        self._lock = threading.Lock()

    def asked(self, ask: Callable[[Tables, View], _Answer]) -> tuple[_Answer, View]:
        """Return the answer of one generation; in a transaction only if memory does not hold it."""
        with self._database.connection() as connection:
            view, generation = self._view, generation_of(connection)
            if view is not None and view.generation == generation:
                with suppress(OvertakenError):
                    return ask(LateReading(connection, generation), view), view
        with self.reading() as (connection, view):
            return ask(connection, view), view

    @contextmanager
    def reading(self) -> Iterator[tuple[sqlite3.Connection, View]]:
        """Yield a connection inside a read transaction and the view of what it sees."""
        with self._database.reading() as connection:
            yield connection, self.refreshed(connection)

    def refreshed(self, connection: sqlite3.Connection) -> View:
        """Return the view of what a connection's transaction sees."""
        with self._lock:
            generation = generation_of(connection)
            last = self._view
            if last is not None and last.generation > generation:
                # Another thread saw a later state; ours began before it. Begin again.
                connection.execute("ROLLBACK")
                connection.execute("BEGIN")
                generation = generation_of(connection)
            if last is None or last.generation != generation:
                self._view = last = refreshed(last, connection, self._database.root, self._dim)
            return last

    def forget(self) -> None:
        """Look at the store anew with the next question: its files were changed or closed."""
        with self._lock:
            self._view = None
            self.matches = Matches()
