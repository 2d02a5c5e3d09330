"""The tables that are the truth of a store, their numbered migrations, and how they are opened.

An item's id is ``modality << 40 | slot``: the slot is its row in the modality's file of vectors.
Slots are handed out once and never change their content; an update takes a new slot. That is what
lets readers keep maps, bitmaps and indexes while a writer goes on.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from unibind.errors import StoreError

__all__ = [
    "CAPTIONS",
    "DATABASE",
    "MADE_BY",
    "SLOT_BITS",
    "SLOT_MASK",
    "check_version",
    "connect",
    "explained",
    "explanation",
    "migrate",
    "slot_of",
    "version_of",
]

DATABASE = "store.sqlite3"
SLOT_BITS = 40
SLOT_MASK = (1 << SLOT_BITS) - 1
_MAPPED_BYTES = 1 << 31

CAPTIONS = """CREATE VIRTUAL TABLE captions USING fts5 (
    text, content = '', tokenize = 'unicode61 remove_diacritics 2'
)"""

MADE_BY = """(
    SELECT made_by FROM runs WHERE first_id <= items.id AND first_id >> 40 = items.id >> 40
    ORDER BY first_id DESC LIMIT 1
)"""
"""In SQL, what made the vector of a row of ``items``: each of ``runs`` reaches to the next one of
its modality, so what is the same for a million rows is written once."""

_MIGRATIONS = (
    """
    CREATE TABLE store (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        space TEXT NOT NULL,
        dim INTEGER NOT NULL CHECK (dim > 0),
        generation INTEGER NOT NULL,
        created_at REAL NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE modalities (
        modality INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        segment TEXT NOT NULL,
        n_slots INTEGER NOT NULL,
        n_live INTEGER NOT NULL,
        vector_sum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE items (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        modality INTEGER NOT NULL REFERENCES modalities (modality),
        metadata TEXT NOT NULL,
        source TEXT,
        content_hash TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE tombstones (
        id INTEGER PRIMARY KEY,
        generation INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX tombstones_by_generation ON tombstones (generation);
    CREATE TABLE pending (id INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
    CREATE TABLE fields (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE indexes (
        modality INTEGER PRIMARY KEY REFERENCES modalities (modality),
        segment TEXT NOT NULL,
        n_slots INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        plan TEXT NOT NULL,
        file TEXT NOT NULL,
        sha256 TEXT NOT NULL
    ) STRICT;
    """
    + CAPTIONS,
    """
    CREATE TABLE runs (first_id INTEGER PRIMARY KEY, made_by TEXT) STRICT;
    """,
    """
    CREATE TABLE labels (
        modality INTEGER PRIMARY KEY REFERENCES modalities (modality),
        n_slots INTEGER NOT NULL,
        file TEXT NOT NULL,
        sha256 TEXT NOT NULL
    ) STRICT;
    """,
)


def slot_of(item_id: int) -> int:
    """Return the row of an item in its modality's file."""
    return item_id & SLOT_MASK


def connect(file: Path, *, read_only: bool, timeout_s: float) -> sqlite3.Connection:
    """Return a connection that commits durably and waits for a writer up to timeout_s.

    Raises:
        StoreError: The file is missing or cannot be opened.
    """
    with explained(file.parent):
        connection = _open(file, read_only, timeout_s)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute("PRAGMA cache_size = -16384")
        # A look for the keys of hits reads pages far apart: from the map it takes half the time,
        # and the processes of one machine share it, as they share the vectors.
        connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection


def migrate(connection: sqlite3.Connection, root: Path) -> None:
    """Bring the tables to this program's version, all steps or none.

    Raises:
        StoreError: A newer program wrote the store.
    """
    if version_of(connection, root) == len(_MIGRATIONS):
        return
    _use_write_ahead_log(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in _MIGRATIONS[version_of(connection, root) :]:
            for statement in filter(str.strip, step.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def explained(root: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors inside the block into one line that says what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(explanation(root, error)) from error


def _open(file: Path, read_only: bool, timeout_s: float) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"

    def opened(options: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{file.resolve().as_uri()}?{options}",
            uri=True,
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute("PRAGMA user_version").fetchone()
        return connection

    try:
        return opened(f"mode={mode}")
    except sqlite3.OperationalError:
        wal = file.with_name(file.name + "-wal")
        if not read_only or not file.exists() or (wal.exists() and wal.stat().st_size):
            raise
        # A write-ahead log needs a shared-memory file; where none can be made (a read-only
        # medium) and the log is empty, nobody can be writing either.
        return opened("mode=ro&immutable=1")


def check_version(connection: sqlite3.Connection, root: Path) -> None:
    """Check that the tables are of this program's version, without touching them.

    Raises:
        StoreError: Another program wrote the store.
    """
    version = version_of(connection, root)
    if version < len(_MIGRATIONS):
        raise StoreError(
            f"the store at {root} has format version {version}, of an earlier unibind; open it "
            f"once for writing, which brings it to {len(_MIGRATIONS)}: "
            "`unibind index verify --repair`"
        )


def version_of(connection: sqlite3.Connection, root: Path) -> int:
    """Return the version of the tables.

    Raises:
        StoreError: A newer program wrote the store.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(_MIGRATIONS):
        raise StoreError(
            f"the store at {root} has format version {version}, this unibind knows "
            f"{len(_MIGRATIONS)}; install the newer unibind that wrote it"
        )
    return version


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Switching the journal does not honour the busy timeout.
    for attempt in range(100):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or attempt == 99:
                raise
            time.sleep(0.05)


def explanation(root: Path, error: sqlite3.Error | OSError) -> str:
    """Return one line that says what an error of SQLite or the system means for a store."""
    if isinstance(error, OSError):
        return (
            f"the store at {root} cannot be read or written: {_told(root, error)}; nothing "
            "acknowledged is "
            "lost: free space or correct the permissions, then open it again"
        )
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR:
        return (
            f"the disk of the store at {root} is full or failing ({error}); this batch was not "
            "stored, everything acknowledged before is there: free space and repeat the batch"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return (
            f"the store at {root} cannot be opened or written ({error}); correct the path or its "
            "permissions, or open it with read_only=True"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"{root / DATABASE} is damaged ({error}); `unibind index verify` lists what is "
            "whole, `unibind index restore` brings a snapshot back"
        )
    return f"the store at {root}: {error}"


def _told(root: Path, error: OSError) -> str:
    """Return what the system says, and of which of the store's files; no temporary names."""
    file = Path(error.filename) if isinstance(error.filename, str) else root
    inside = file.relative_to(root) if file.is_relative_to(root) else Path()
    return f"{error.strerror or error}{f' ({inside})' if inside.name else ''}"
