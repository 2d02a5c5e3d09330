"""Reading the tables: in a transaction, and in one that begins only when it is needed."""

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, Protocol

__all__ = [
    "LateReading",
    "OvertakenError",
    "Tables",
    "calibration_of",
    "fields_of",
    "generation_of",
]


class Tables(Protocol):
    """What answers questions in SQL: a connection, or a reading that begins late."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> sqlite3.Cursor:
        """Return the rows that a statement finds."""
        ...


class OvertakenError(Exception):
    """A writer committed before the reading began: what was read of memory is of the past."""


class LateReading:
    """A read transaction of one generation that begins with the first question.

    Most searches ask none, for what they need is in memory; a transaction would cost them more
    than all the rest of their Python.

    Args:
        connection: Outside a transaction; whoever lends it ends the one that may be begun.
        generation: The one that the tables were at just now.
    """

    def __init__(self, connection: sqlite3.Connection, generation: int) -> None:
        self._connection = connection
        self._generation = generation
        self._beginning = threading.Lock()
        self._is_overtaken = False

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> sqlite3.Cursor:
        """Return the rows that a statement finds.

        Raises:
            OvertakenError: The tables have moved on.
        """
        with self._beginning:  # The parts of a batch ask from several threads.
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN")
                self._is_overtaken = generation_of(self._connection) != self._generation
            if self._is_overtaken:
                raise OvertakenError
        return self._connection.execute(sql, values)


def generation_of(tables: Tables) -> int:
    """Return how many write transactions there were."""
    return int(tables.execute("SELECT generation FROM store").fetchone()[0])


def fields_of(tables: Tables) -> frozenset[str]:
    """Return the names of the fields that metadata has."""
    return frozenset(row[0] for row in tables.execute("SELECT name FROM fields"))


def calibration_of(tables: Tables) -> str:
    """Return how searches into several modalities are calibrated when they do not say."""
    row = tables.execute("SELECT value FROM settings WHERE name = 'calibration'").fetchone()
    return str(row[0]) if row else "centre"
