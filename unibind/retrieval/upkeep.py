"""The derived files of a store: built when told, moved by a compaction, made again when refused."""

import logging
from collections.abc import Sequence

from unibind.errors import StoreError
from unibind.retrieval import indexing, maintenance
from unibind.retrieval.current import Current
from unibind.retrieval.database import Database
from unibind.retrieval.plan import Plan
from unibind.retrieval.view import View
from unibind.types import FloatArray, ProgressCallback

__all__ = ["Upkeep"]

_log = logging.getLogger(__name__)


class Upkeep:
    """Builds and replaces the indexes and labels of one store, and compacts it."""

    def __init__(self, database: Database, current: Current, dim: int) -> None:
        self._database = database
        self._current = current
        self._dim = dim
        self._is_mending = False

    def rebuild(
        self,
        *,
        kind: str,
        recall: float,
        memory: int | None = None,
        modalities: Sequence[str] | None = None,
        queries: FloatArray | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, Plan]:
        """Build indexes and their labels; see `LocalStore.rebuild`, which checks the arguments."""
        root = self._database.root
        with self._current.reading() as (_, view):
            pass
        plans = {}
        for name, shard in view.shards.items():
            if modalities is not None and name not in modalities:
                continue
            built = indexing.build_best(
                root,
                view,
                shard,
                kind=kind,
                recall=recall,
                memory=memory,
                queries=queries,
                progress=progress,
            )
            labels = None
            if built.file is not None:
                with self._database.reading() as connection:
                    labels = indexing.labelled(connection, root, shard)
            with self._database.writing("rebuild") as connection:
                forget = indexing.record(connection, root, built, labels)
            forget()
            plans[name] = built.plan
        return plans

    def compact(self) -> int:
        """Give back the room of what was deleted; see `LocalStore.compact`."""
        plans = self._plans()
        with self._database.writing("compact") as connection:
            n_freed, forget = maintenance.compact(connection, self._database.root, self._dim)
        self._current.forget()
        forget()
        with self._database.connection() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for name, plan in plans.items():
            self.rebuild(kind=plan.kind, recall=plan.wanted_recall, modalities=[name])
        return n_freed

    def mend(self, view: View) -> None:
        """Make again the indexes and labels whose files were refused; searches did without."""
        if not view.refused and not view.unlabelled:
            return
        if self._is_mending or self._database.read_only:
            return
        self._is_mending = True
        try:
            plans = self._plans()
            for name in plans.keys() & set(view.refused):
                _log.warning("building the index of %s at %s again", name, self._database.root)
                plan = plans[name]
                self.rebuild(kind=plan.kind, recall=plan.wanted_recall, modalities=[name])
            for name in set(view.unlabelled).difference(view.refused):
                self._label(name)
        except StoreError as error:
            # Who searches has the answer; another writer is no reason to withhold it.
            _log.warning("indexes at %s were not made again: %s", self._database.root, error)
        finally:
            self._is_mending = False

    def _label(self, name: str) -> None:
        root = self._database.root
        with self._database.writing("label") as connection:
            view = self._current.refreshed(connection)
            if name not in view.unlabelled:
                return  # Another process was faster.
            _log.warning("writing the labels of %s at %s again", name, root)
            forget = indexing.relabel(connection, root, view.shards[name])
        forget()

    def _plans(self) -> dict[str, Plan]:
        with self._database.reading() as connection:
            return {
                name: Plan.parse(text)
                for name, text in connection.execute(
                    "SELECT name, plan FROM indexes JOIN modalities USING (modality)"
                )
            }
