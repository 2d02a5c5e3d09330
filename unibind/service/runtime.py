"""What every route works with: what stands between the engine and many requests at once."""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from unibind.engine import Engine
from unibind.errors import InvalidInputError, StoreError, UnibindError
from unibind.service.contents import Contents
from unibind.service.embedder import Embedder, Embeddings
from unibind.service.observing import Metrics
from unibind.service.readiness import Health, Readiness
from unibind.service.reading import Reader, modality_called
from unibind.service.refusals import Refusal, refusal_of
from unibind.service.sources import Source
from unibind.service.spaces import OpenSpace
from unibind.service.writing import StoreWriter
from unibind.settings import ServiceSettings
from unibind.types import Modality

__all__ = ["Runtime"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LINGER_S = 5.0


class Runtime:
    """One space that is served.

    Args:
        open_engine: Opens the space; called again when it changed on disk or the model failed.
        settings: Of the deployment.
        metrics: Where it is noted what happens.
    """

    def __init__(
        self, open_engine: Callable[[], Engine], settings: ServiceSettings, metrics: Metrics
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self._space = OpenSpace(
            open_engine,
            opens_all=settings.warm_up,
            linger_s=settings.request_timeout_s + _LINGER_S,
        )
        self._reader = Reader(settings, metrics, self._space.reached)
        self._embedder = Embedder(self._space, self._reader, settings, metrics)
        self._readiness = Readiness(self._space, self._reader, self._embedder, metrics)
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="work")
        self.contents = Contents(self.engine.root / "contents")
        self.writer = StoreWriter(lambda: self.engine.store)

    @property
    def engine(self) -> Engine:
        """The engine as it is now; it is another one after an alignment."""
        return self._space.engine

    @property
    def text(self) -> str:
        """Name of the modality of plain strings."""
        return self._space.text

    @property
    def decoder_pids(self) -> list[int]:
        """Process ids of the decoders."""
        return self._reader.pids

    def warm(self) -> None:
        """Open every tower, so that no request waits for it; what cannot be opened is noted."""
        self._space.warm()

    def modality(self, name: str, *, param: str = "type") -> Modality:
        """Return an installed modality, whether or not the space embeds it yet.

        Raises:
            Refusal: None is called so.
        """
        return modality_called(name, param=param)

    def reaches(self, name: str) -> bool:
        """Return whether items of a modality can be embedded."""
        return self._space.reaches(name)

    def why_unavailable(self, name: str) -> str | None:
        """Return why a modality of the space cannot be embedded now, None if it can."""
        return self._space.why_unavailable(name)

    async def embed(self, sources: Sequence[Source], *, deadline: float) -> Embeddings:
        """Return the embeddings of sources, of any modalities.

        Raises:
            Refusal: As in `Embedder.embed`.
        """
        return await self._embedder.embed(sources, deadline=deadline)

    async def read(self, source: Source, *, deadline: float) -> Any:
        """Return the item of a source.

        Raises:
            Refusal: It is not what it should be.
        """
        (item,) = await self._reader.items([source], deadline=deadline)
        if isinstance(item, Refusal):
            raise item
        return item

    async def draw(self, source: Source, *, deadline: float) -> bytes:
        """Return a small PNG of a source.

        Raises:
            Refusal: As in `Reader.draw`.
        """
        return await self._reader.draw(source, deadline=deadline)

    async def tell(self, content: bytes, called: str, *, deadline: float) -> str:
        """Return what a file is, by the ending of its name and its content.

        Raises:
            Refusal: As in `Reader.tell`.
        """
        return await self._reader.tell(content, called, deadline=deadline)

    async def in_thread(self, work: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        """Return what a function returns that would hold up the event loop.

        Raises:
            Refusal: What unibind raised, as it is told to clients.
        """
        loop = asyncio.get_running_loop()
        call = functools.partial(work, *arguments, **options)
        try:
            return await loop.run_in_executor(self._threads, call)
        except UnibindError as error:
            if not isinstance(error, InvalidInputError):
                _log.error("%s: %s", type(error).__name__, error)
            raise refusal_of(error) from error

    async def health(self) -> Health:
        """Look whether everything works, by a forward pass among others; at most every 2 s."""
        return await self._readiness.look()

    def note_queues(self) -> None:
        """Bring the metrics that are levels up to date."""
        for name, queue in self._embedder.queues.items():
            self.metrics.waiting.labels(name).set(queue.n_waiting)
        self.metrics.waiting.labels("(files to decode)").set(self._reader.n_waiting)
        for name in self.engine.modalities:
            try:
                self.metrics.stored.labels(name).set(self.engine.count(name))
            except StoreError:
                continue

    def reload(self) -> None:
        """Open the space anew: its heads or centers changed on disk, or its model failed."""
        self._space.reload()

    def close(self) -> None:
        """Finish what was accepted and release everything."""
        self._reader.finish()
        self._embedder.close()
        self.writer.close()
        self._reader.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._readiness.close()
        self.contents.close()
        self.engine.close()
