"""The answers of an unfinished build, kept so that no call is made twice.

SQLite writes each answer whole or not at all, so a build may die at any moment; the file lies
beside the base and goes when the base is written. Only one build may hold it at a time.
"""

import json
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from unibind.errors import WriterError
from unibind.types import WrittenAnswer

__all__ = ["Journal", "journal_path"]


def journal_path(folder: Path, *, of: str = "lines") -> Path:
    """Return where the journal of the base in a folder lies.

    Args:
        folder: The base.
        of: What is written: ``"lines"`` or ``"attributes"``.
    """
    return folder.with_name(f".{folder.name}.{of}.sqlite")


class Journal:
    """Answers by the key of their call, on disk.

    Args:
        path: The file; it is made if it is missing.

    Raises:
        WriterError: Another build holds it, it is damaged, or the place cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
            # The exclusive lock is taken by the first write and held until close or death.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers"
                " (key TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID"
            )
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise WriterError(self._told(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def get(self, key: str) -> WrittenAnswer | None:
        """Return the stored answer of a call, or None."""
        try:
            row = self._connection.execute(
                "SELECT answer FROM answers WHERE key = ?", (key,)
            ).fetchone()
        except sqlite3.Error as error:
            raise WriterError(self._told(error)) from error
        return None if row is None else WrittenAnswer(*json.loads(row[0]))

    def put(self, key: str, answer: WrittenAnswer) -> None:
        """Store the answer of a call; it survives the death of the process.

        Raises:
            WriterError: The disk is full or the file damaged.
        """
        text = json.dumps([answer.content, answer.n_prompt_tokens, answer.n_answer_tokens])
        try:
            self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, text))
        except sqlite3.Error as error:
            raise WriterError(self._told(error)) from error

    def count(self) -> int:
        """Return how many answers are stored."""
        return int(self._connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def delete(self) -> None:
        """Close and remove the file: the base has what it held."""
        self._connection.close()
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    def _told(self, error: Exception) -> str:
        if "locked" in str(error):
            return f"another build is writing {self.path}; wait for it, or end it"
        return (
            f"the journal {self.path} of an unfinished build cannot be used ({error}); free space "
            "or, if it is damaged, delete it: only answers that no base holds yet are lost"
        )
