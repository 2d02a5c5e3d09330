"""Opening a store: made if it is new, refused if it is another's, mended after a power cut."""

import logging
import time
from pathlib import Path

from unibind.errors import InvalidInputError, SpaceMismatchError, StoreError
from unibind.retrieval import writing
from unibind.retrieval.database import WITNESS, Database
from unibind.retrieval.guard import check_name
from unibind.retrieval.schema import DATABASE
from unibind.types import SpaceId

__all__ = ["opened"]

_log = logging.getLogger(__name__)


def opened(
    root: Path, space: SpaceId | None, dim: int | None, *, read_only: bool, timeout_s: float
) -> tuple[Database, tuple[SpaceId, int]]:
    """Return a store's database with its space and width; see `LocalStore.open`."""
    if not (root / DATABASE).exists() and (space is None or dim is None or read_only):
        raise StoreError(f"no store at {root}; correct the path, or add items first")
    if dim is not None and (isinstance(dim, bool) or not isinstance(dim, int) or dim < 1):
        raise InvalidInputError(f"dim is {dim!r}; a positive int was needed")
    database = Database(root, read_only=read_only, timeout_s=timeout_s)
    try:
        found = _identity(database) or _founded(database, space, dim)
        _check_space(root, found, space, dim)
        _recover(database)
    except BaseException:
        database.close()
        raise
    return database, found


def _identity(database: Database) -> tuple[SpaceId, int] | None:
    acknowledged = database.acknowledged()
    with database.reading() as connection:
        row = connection.execute(
            "SELECT space, dim, created_at, checksum, generation FROM store"
        ).fetchone()
    generation = -1 if row is None else row[4]
    if generation < acknowledged:
        _lost(database, generation, acknowledged)
    if row is None:
        return None
    space, dim, created_at, checksum, _ = row
    if writing.identity_checksum(space, dim, created_at) != checksum:
        raise StoreError(
            f"{database.root / DATABASE} is damaged: its space ({space!r:.80}) or width ({dim}) is "
            "not what was written; restore a snapshot"
        )
    return SpaceId(space), int(dim)


def _lost(database: Database, generation: int, acknowledged: int) -> None:
    told = (
        f"the store at {database.root} is at generation {generation}, {acknowledged} was "
        "acknowledged: its write-ahead log is damaged, or a file of it is an old copy"
    )
    if not database.read_only:
        raise StoreError(
            f"{told}; restore a snapshot, look at what is left with read_only=True, or delete its "
            f"file {WITNESS!r} to go on without what was lost"
        )
    _log.warning("%s", told)


def _founded(database: Database, space: SpaceId | None, dim: int | None) -> tuple[SpaceId, int]:
    if space is None or dim is None:
        raise StoreError(f"the store at {database.root} was never finished; give space and dim")
    check_name(space, "space")
    now = time.time()
    with database.writing("create") as connection:
        connection.execute(
            "INSERT OR IGNORE INTO store VALUES (1, ?, ?, 0, ?, ?)",
            (space, dim, now, writing.identity_checksum(space, dim, now)),
        )
    found = _identity(database)
    assert found is not None
    return found


def _check_space(
    root: Path, found: tuple[SpaceId, int], space: SpaceId | None, dim: int | None
) -> None:
    if space is not None and space != found[0]:
        raise SpaceMismatchError(
            f"the store at {root} holds vectors of space {found[0]}, space {space} was asked for; "
            "open it with the space it was filled from, or index the items again"
        )
    if dim is not None and dim != found[1]:
        raise SpaceMismatchError(
            f"the store at {root} holds vectors of width {found[1]}, {dim} was asked for; "
            "open it with the space it was filled from"
        )


def _recover(database: Database) -> None:
    """Put back what a power cut kept from the files of vectors."""
    with database.reading() as connection:
        n_lost = writing.n_unwritten(connection, database.root)
    if not n_lost:
        return
    if database.read_only:
        raise StoreError(
            f"a power cut kept {n_lost} vectors from the files of {database.root}; they are safe: "
            "open the store once for writing, which puts them back"
        )
    with database.writing("recover") as connection:
        writing.replay(connection, database.root)
        writing.flush(connection, database.root)
