"""Sources of many requests to embeddings: each read, each content once, batched by modality."""

import asyncio
import functools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unibind.encoders.compiled import n_threads
from unibind.engine import Embedded, Engine
from unibind.errors import UnibindError
from unibind.service.batching import Batcher
from unibind.service.known import Known, Placed
from unibind.service.observing import Metrics
from unibind.service.reading import Reader
from unibind.service.refusals import Detail, Refusal, refusal_of, without_paths
from unibind.service.sources import Source
from unibind.service.spaces import OpenSpace
from unibind.settings import ServiceSettings
from unibind.types import FloatArray

__all__ = ["Embedder", "Embeddings"]

_log = logging.getLogger(__name__)

Outcome = Placed | Refusal
"""What comes of one item: its place in the space, or why it has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """What came of the sources of a request.

    Attributes:
        rows: Unit length, in the order of the sources, shape (N, D).
        n_tokens: Word pieces of those that are texts.
    """

    rows: FloatArray
    n_tokens: int


class Embedder:
    """What is known already, and a queue to the model for each modality.

    Args:
        space: What is served.
        reader: Turns sources into items.
        settings: Of the deployment.
        metrics: Where it is noted what happens.
    """

    def __init__(
        self, space: OpenSpace, reader: Reader, settings: ServiceSettings, metrics: Metrics
    ) -> None:
        self._space = space
        self._reader = reader
        self._settings = settings
        self._metrics = metrics
        self._hits, self._misses = metrics.cache.labels("hit"), metrics.cache.labels("miss")
        self._known = Known(settings.cache_bytes)
        self.queues: dict[str, Batcher[Placed]] = {}
        self.failed: dict[str, str] = {}

    async def embed(self, sources: Sequence[Source], *, deadline: float) -> Embeddings:
        """Return the embeddings of sources.

        Args:
            sources: What to embed, of any modalities.
            deadline: By `time.monotonic`, when nobody wants the answer any more.

        Raises:
            Refusal: A source is bad, and it names each; too much is waiting already; or the
                deadline passed.
        """
        placed: list[Placed] = []
        refusals: dict[int, Refusal] = {}
        for row, outcome in enumerate(await self._embed_each(sources, deadline)):
            if isinstance(outcome, Refusal):
                refusals[row] = outcome
            else:
                placed.append(outcome)
        if refusals:
            raise _joint(refusals, len(sources))
        if not placed:
            return Embeddings(np.empty((0, self._space.engine.space.dim), dtype=np.float32), 0)
        n_tokens = sum(each.n_tokens for each in placed)
        return Embeddings(np.stack([each.vector for each in placed]), n_tokens)

    def close(self) -> None:
        """Finish what was begun, and take no more."""
        for queue in self.queues.values():
            queue.close()

    async def _embed_each(self, sources: Sequence[Source], deadline: float) -> list[Outcome]:
        generation = b"%d:" % self._space.generation
        keys = [generation + source.key() for source in sources]
        found: dict[bytes, Outcome] = {}
        unknown: dict[bytes, Source] = {}
        for key, source in zip(keys, sources, strict=True):
            known = self._known.get(key)
            if known is None:
                unknown[key] = source
            else:
                found[key] = known
        n_unknown = sum(key in unknown for key in keys)
        self._misses.inc(n_unknown)
        self._hits.inc(len(keys) - n_unknown)
        if unknown:
            found |= await self._within(deadline, unknown)
        return [found[key] for key in keys]

    async def _within(
        self, deadline: float, sources: Mapping[bytes, Source]
    ) -> dict[bytes, Outcome]:
        left_s = deadline - time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                return await self._embed_unknown(sources, deadline)
        except TimeoutError:
            raise Refusal(
                504, "deadline", f"not done within {max(left_s, 0):.1f} s; ask for less at once"
            ) from None

    async def _embed_unknown(
        self, sources: Mapping[bytes, Source], deadline: float
    ) -> dict[bytes, Outcome]:
        items = await self._reader.items(list(sources.values()), deadline=deadline)
        found: dict[bytes, Outcome] = {}
        waiting: dict[str, list[tuple[bytes, Any]]] = {}
        for (key, source), item in zip(sources.items(), items, strict=True):
            if isinstance(item, Refusal):
                found[key] = item
            else:
                waiting.setdefault(source.modality, []).append((key, item))
        groups = await asyncio.gather(
            *(
                self._queue(name).submit([item for _, item in pairs], deadline=deadline)
                for name, pairs in waiting.items()
            )
        )
        for (name, pairs), outcomes in zip(waiting.items(), groups, strict=True):
            for (key, item), outcome in zip(pairs, outcomes, strict=True):
                found[key] = outcome
                if not isinstance(outcome, Refusal):
                    self._known.put(key, outcome)
                    self._space.remember(name, item)
        return found

    def _queue(self, modality: str) -> Batcher[Placed]:
        if modality not in self.queues:
            self.queues[modality] = Batcher(
                modality,
                functools.partial(self._forward, modality),
                max_wait_s=self._settings.max_wait_s,
                max_items=4 * self._settings.max_items,
                n_runners=n_threads(),
                on_batch=functools.partial(self._metrics.observe_batch, modality),
            )
        return self.queues[modality]

    def _forward(self, modality: str, items: Sequence[Any]) -> list[Outcome]:
        engine = self._space.engine
        try:
            embedded = self._embedded(engine, modality, items)
            n_tokens = self._n_tokens(engine, modality, items)
        except UnibindError as error:
            _log.warning("%s cannot be embedded: %s", modality, error)
            return [refusal_of(error)] * len(items)
        except Exception as error:
            self._metrics.model_failures.labels(modality).inc()
            self.failed[modality] = repr(error)
            raise
        self.failed.pop(modality, None)
        outcomes: list[Outcome] = [_NOTHING] * len(items)
        for row, vector in zip(embedded.rows.tolist(), embedded.embeddings, strict=True):
            outcomes[row] = Placed(vector, n_tokens[row])
        for failure in embedded.failures:
            outcomes[failure.row] = Refusal(400, "invalid_input", without_paths(failure.error))
        return outcomes

    def _embedded(self, engine: Engine, modality: str, items: Sequence[Any]) -> Embedded:
        """Return what the engine's `embed_each` does, with its two halves timed apart."""
        with self._metrics.timed(modality, "encode", n_items=len(items)):
            encoded = engine.encode(modality, items)
        with self._metrics.timed(modality, "head", n_items=len(items)):
            embeddings = engine.senses.place(modality, encoded.features)
        return Embedded(embeddings, encoded.rows, encoded.failures)

    def _n_tokens(self, engine: Engine, modality: str, items: Sequence[Any]) -> Sequence[int]:
        """Return the word pieces of each text; here, where the event loop need not wait for it."""
        count = None
        if modality == self._space.text:
            count = getattr(engine.encoder(modality), "count_tokens", None)
        return [0] * len(items) if count is None else count(items)


_NOTHING = Refusal(500, "internal_error", "the model returned nothing for this item")


def _joint(refusals: Mapping[int, Refusal], n_items: int) -> Refusal:
    """Return one refusal of a list of which some items are bad."""
    row, first = next(iter(refusals.items()))
    name = f"input[{row}]" if n_items > 1 else "input"
    if len(refusals) == 1:
        return first.at(name)
    details = tuple(Detail(f"input[{row}]", each.message) for row, each in refusals.items())
    return Refusal(
        max(each.status for each in refusals.values()),
        first.code,
        f"{len(refusals)} of {n_items} items cannot be used, the first: {first.message}",
        name,
        details=details,
    )
