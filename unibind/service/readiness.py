"""Whether everything works: looked at when somebody asks, by a forward pass among others."""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from unibind.errors import UnibindError
from unibind.service.embedder import Embedder
from unibind.service.observing import Metrics
from unibind.service.reading import Reader
from unibind.service.refusals import refusal_of
from unibind.service.spaces import OpenSpace

__all__ = ["Health", "Readiness"]

_log = logging.getLogger(__name__)
_PROBE_S = 10.0
_PROBE_AGE_S = 2.0
_STUCK_S = 60.0
_RELOAD_AGE_S = 30.0


@dataclass(frozen=True, slots=True)
class Health:
    """What the last look at the service found.

    Attributes:
        faults: What is wrong, by part; empty if all is well.
        checked_at: When, by `time.monotonic`.
    """

    faults: Mapping[str, str]
    checked_at: float


class Readiness:
    """The looks at a service, at most one every two seconds; a model that fails is opened again.

    Args:
        space: What is served.
        reader: Whose decoders must run.
        embedder: Whose queues must move.
        metrics: Where the outcome is noted.
    """

    def __init__(
        self, space: OpenSpace, reader: Reader, embedder: Embedder, metrics: Metrics
    ) -> None:
        self._space = space
        self._reader = reader
        self._embedder = embedder
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="probe")
        self._last = Health({}, -1e9)
        self._looking = asyncio.Lock()

    async def look(self) -> Health:
        """Return what is found; what was found within the last two seconds is not looked at."""
        async with self._looking:
            if time.monotonic() - self._last.checked_at > _PROBE_AGE_S:
                faults = await self._faults()
                self._last = Health(faults, time.monotonic())
                self._metrics.ready.set(0 if faults else 1)
        return self._last

    def close(self) -> None:
        """Wait for no probe any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _faults(self) -> dict[str, str]:
        if not self._space.is_warm:
            return {"start": "the towers are being opened"}
        decoders = self._reader.fault()
        faults = self._stuck() | ({"decoders": decoders} if decoders else {})
        for name, fault in [(name, await self._try(name)) for name in self._space.samples()]:
            if fault is not None:
                faults[name] = fault
        faults |= {name: "the model failed" for name in self._embedder.failed if name not in faults}
        faults |= await self._try_store()
        if set(faults) & set(self._space.engine.modalities):
            self._reload_soon()
        return faults

    def _stuck(self) -> dict[str, str]:
        return {
            name: f"a batch has been in the model for {queue.stuck_s:.0f} s"
            for name, queue in self._embedder.queues.items()
            if not queue.is_alive or queue.stuck_s > _STUCK_S
        }

    async def _try(self, name: str) -> str | None:
        """Return what is wrong with the tower of a modality, by a forward pass."""
        item = self._space.samples()[name]
        loop = asyncio.get_running_loop()
        probe = loop.run_in_executor(self._threads, self._space.probe, name, item)
        try:
            await asyncio.wait_for(probe, _PROBE_S)
        except TimeoutError:
            return f"a forward pass takes longer than {_PROBE_S:g} s"
        # The model may fail in any way; that is what is looked for.
        except Exception as error:  # noqa: BLE001
            _log.error("the model of %s fails: %r", name, error)
            return "a forward pass fails"
        self._embedder.failed.pop(name, None)
        return None

    async def _try_store(self) -> dict[str, str]:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, self._space.engine.count)
        except UnibindError as error:
            _log.error("the store cannot be read: %s", error)
            return {"store": refusal_of(error).message}
        return {}

    def _reload_soon(self) -> None:
        if time.monotonic() - self._space.reloaded_at > _RELOAD_AGE_S:
            _log.warning("the model failed; the space is opened again")
            self._threads.submit(self._space.reload)
