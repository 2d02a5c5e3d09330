"""What every route works with: the engine, and what stands between it and many requests at once."""

import asyncio
import functools
import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from unibind.engine import Embedded, Engine
from unibind.errors import InvalidInputError, StoreError, UnibindError
from unibind.modalities.registry import installed
from unibind.service.batching import Batcher
from unibind.service.contents import Contents
from unibind.service.decoding import DecoderPool, n_decoders
from unibind.service.observing import Metrics
from unibind.service.refusals import Detail, Refusal, refusal_of, without_paths
from unibind.service.writing import StoreWriter
from unibind.settings import ServiceSettings
from unibind.types import FloatArray, Json, Modality

__all__ = ["AUTO", "Health", "Runtime", "Source"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

Outcome = FloatArray | Refusal
"""What comes of one item: its embedding, shape (D,), or why there is none."""

AUTO = "auto"
"""In the place of a modality: whatever the file turns out to be."""

_PROBE = "is the model still there?"
_PROBE_S = 10.0
_PROBE_AGE_S = 2.0
_STUCK_S = 60.0
_RELOAD_AGE_S = 30.0
_MAX_SAMPLE = 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to embed, as it came.

    Attributes:
        modality: What it is.
        content: A file's content, or an item that is a str itself.
        options: What it does not say of itself.
    """

    modality: str
    content: bytes | str
    options: Mapping[str, Json] = field(default_factory=dict)

    def key(self) -> bytes:
        """Return the hash of all that decides its embedding."""
        told = json.dumps([self.modality, self.options], sort_keys=True).encode()
        digest = hashlib.sha256(told + b"\0")
        content = self.content
        digest.update(b"s" + content.encode() if isinstance(content, str) else b"b" + content)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Health:
    """What the last look at the service found.

    Attributes:
        faults: What is wrong, by part; empty if all is well.
        checked_at: When, by `time.monotonic`.
    """

    faults: Mapping[str, str]
    checked_at: float


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
        self._open = open_engine
        self._engine = open_engine()
        self._known = _Known(settings.cache_bytes)
        self._decoders = DecoderPool(
            n_decoders(settings.decoders),
            memory_bytes=settings.decode_memory_bytes,
            time_s=settings.decode_timeout_s,
            on_death=metrics.decoder_deaths.inc,
        )
        self._decoding: Batcher[Any] = Batcher(
            "files to decode",
            self._decode,
            max_wait_s=settings.max_wait_s,
            max_items=settings.max_items,
            n_runners=self._decoders.n,
            max_batch=1,
            cost=lambda work: 4096.0 + len(work.content),
        )
        self._batchers: dict[str, Batcher[FloatArray]] = {}
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="work")
        self._probes = ThreadPoolExecutor(4, thread_name_prefix="probe")
        self._samples: dict[str, Any] = {}
        self._failed: dict[str, str] = {}
        self._unavailable: dict[str, str] = {}
        self._is_warm = False
        self._health = Health({}, -1e9)
        self._probing = asyncio.Lock()
        self._reloading = threading.Lock()
        self._reloaded_at = -1e9
        self._generation = 0  # of the engine: what an earlier one embedded is not known any more
        self.contents = Contents(self._engine.root / "contents")
        self.writer = StoreWriter(lambda: self._engine.store)

    @property
    def engine(self) -> Engine:
        """The engine as it is now; it is another one after an alignment."""
        return self._engine

    @property
    def text(self) -> str:
        """Name of the modality of plain strings."""
        return self._engine.modalities[0]

    @property
    def decoder_pids(self) -> list[int]:
        """Process ids of the decoders."""
        return self._decoders.pids

    def warm(self) -> None:
        """Open every tower, so that no request waits for it; what cannot be opened is noted."""
        every = self._engine.modalities
        for name in every if self.settings.warm_up else every[:1]:
            try:
                self._engine.encoder(name)
                self._engine.head(name)
                self._unavailable.pop(name, None)
            except UnibindError as error:
                _log.warning("%s cannot be embedded: %s", name, error)
                self._unavailable[name] = refusal_of(error).message
        self._is_warm = True

    def modality(self, name: str, *, param: str = "type") -> Modality:
        """Return an installed modality, whether or not the space embeds it yet.

        Raises:
            Refusal: None is called so.
        """
        found = installed().get(name)
        if found is None:
            raise Refusal(
                400,
                "unknown_modality",
                f"no modality {name!r:.60} here; there are {', '.join(installed())}",
                param,
            )
        return found

    def reaches(self, name: str) -> bool:
        """Return whether items of a modality can be embedded."""
        if name not in self._engine.modalities or name in self._unavailable:
            return False
        try:
            return self._engine.senses.reaches(name)
        except UnibindError:
            return False

    def why_unavailable(self, name: str) -> str | None:
        """Return why a modality of the space cannot be embedded now, None if it can."""
        return self._unavailable.get(name)

    async def embed_each(self, sources: Sequence[Source], *, deadline: float) -> list[Outcome]:
        """Return what comes of each source, in their order; a bad one fails alone.

        Args:
            sources: What to embed, of any modalities.
            deadline: By `time.monotonic`, when nobody wants the answer any more.

        Raises:
            Refusal: Too much is waiting already, or the deadline passed.
        """
        generation = b"%d:" % self._generation
        keys = [generation + source.key() for source in sources]
        found: dict[bytes, Outcome] = {}
        unknown: dict[bytes, Source] = {}
        for key, source in zip(keys, sources, strict=True):
            known = self._known.get(key)
            self.metrics.cache.labels("miss" if known is None else "hit").inc()
            if known is None:
                unknown[key] = source
            else:
                found[key] = known
        if unknown:
            left_s = deadline - time.monotonic()
            try:
                async with asyncio.timeout(left_s):
                    found |= await self._embed_unknown(unknown, deadline)
            except TimeoutError:
                raise Refusal(
                    504, "deadline", f"not done within {max(left_s, 0):.1f} s; ask for less at once"
                ) from None
        return [found[key] for key in keys]

    async def embed(self, sources: Sequence[Source], *, deadline: float) -> FloatArray:
        """Return the embeddings of sources, unit length, shape (N, D).

        Raises:
            Refusal: As in `embed_each`, or a source is bad; it names each.
        """
        outcomes = await self.embed_each(sources, deadline=deadline)
        refusals = {
            row: outcome for row, outcome in enumerate(outcomes) if isinstance(outcome, Refusal)
        }
        if refusals:
            raise _joint(refusals, len(sources))
        if not outcomes:
            return np.empty((0, self._engine.space.dim), dtype=np.float32)
        return np.stack([each for each in outcomes if not isinstance(each, Refusal)])

    async def read(self, source: Source, *, deadline: float) -> Any:
        """Return the item of a source.

        Raises:
            Refusal: It is not what it should be.
        """
        (item,) = await self._items([source], deadline)
        if isinstance(item, Refusal):
            raise item
        return item

    async def draw(self, source: Source, *, deadline: float) -> bytes:
        """Return a small PNG of a source.

        Raises:
            Refusal: It is not what it should be, or its modality draws no pictures.
        """
        if self.modality(source.modality).draw is None:
            raise Refusal(
                404, "no_preview", f"{source.modality} has no picture of its items", "type"
            )
        content = source.content
        content = content.encode() if isinstance(content, str) else content
        work = _Work("draw", source.modality, content, source.options)
        (png,) = await self._decoding.submit([work], deadline=deadline)
        if isinstance(png, Refusal):
            raise png
        return bytes(png)

    async def tell(self, content: bytes, called: str, *, deadline: float) -> str:
        """Return what a file is, by the ending of its name and its content.

        Args:
            content: The file.
            called: Its name, "" if it is not known.
            deadline: As in `embed_each`.

        Raises:
            Refusal: No modality reads it, or several do.
        """
        work = _Work("tell", AUTO, content, {"called": called})
        (kind,) = await self._decoding.submit([work], deadline=deadline)
        if isinstance(kind, Refusal):
            raise kind
        return str(kind)

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
        async with self._probing:
            if time.monotonic() - self._health.checked_at > _PROBE_AGE_S:
                faults = await self._faults()
                self._health = Health(faults, time.monotonic())
                self.metrics.ready.set(0 if faults else 1)
        return self._health

    def note_queues(self) -> None:
        """Bring the metrics that are levels up to date."""
        for name, batcher in self._batchers.items():
            self.metrics.waiting.labels(name).set(batcher.n_waiting)
        self.metrics.waiting.labels("(files to decode)").set(self._decoding.n_waiting)
        for name in self._engine.modalities:
            try:
                self.metrics.stored.labels(name).set(self._engine.count(name))
            except StoreError:
                continue

    def reload(self) -> None:
        """Open the space anew: its heads or centers changed on disk, or its model failed.

        What is being answered goes on with the engine that it began with.
        """
        with self._reloading:
            if self._reloaded_at < 0 or time.monotonic() - self._reloaded_at > 1:
                before, self._engine = self._engine, self._open()
                self._generation += 1
                self.warm()
                self._reloaded_at = time.monotonic()
                timer = threading.Timer(self.settings.request_timeout_s + 5, before.close)
                timer.daemon = True
                timer.start()

    def close(self) -> None:
        """Finish what was accepted and release everything."""
        self._decoding.close()
        for batcher in self._batchers.values():
            batcher.close()
        self.writer.close()
        self._decoders.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._probes.shutdown(wait=False, cancel_futures=True)
        self.contents.close()
        self._engine.close()

    async def _embed_unknown(
        self, sources: Mapping[bytes, Source], deadline: float
    ) -> dict[bytes, Outcome]:
        keys = list(sources)
        items = await self._items(list(sources.values()), deadline)
        found: dict[bytes, Outcome] = {}
        waiting: dict[str, list[tuple[bytes, Any]]] = {}
        for key, item in zip(keys, items, strict=True):
            if isinstance(item, Refusal):
                found[key] = item
            else:
                waiting.setdefault(sources[key].modality, []).append((key, item))
        groups = await asyncio.gather(
            *(
                self._batcher(name).submit([item for _, item in pairs], deadline=deadline)
                for name, pairs in waiting.items()
            )
        )
        for pairs, outcomes in zip(waiting.values(), groups, strict=True):
            for (key, item), outcome in zip(pairs, outcomes, strict=True):
                found[key] = outcome
                if not isinstance(outcome, Refusal):
                    self._known.put(key, outcome)
                    self._remember(sources[key].modality, item)
        return found

    async def _items(self, sources: Sequence[Source], deadline: float) -> list[Any]:
        """Return the item of each source, or a refusal; files are decoded side by side."""
        items: list[Any] = [None] * len(sources)
        works: dict[int, _Work] = {}
        for row, source in enumerate(sources):
            try:
                modality = self.modality(source.modality).with_options(source.options)
                if isinstance(source.content, str):
                    items[row] = modality.accept(source.content)
                else:
                    works[row] = _Work("read", source.modality, source.content, source.options)
            except UnibindError as error:
                items[row] = refusal_of(error)
            except Refusal as refusal:
                items[row] = refusal
        if works:
            read = await self._decoding.submit(list(works.values()), deadline=deadline)
            for row, item in zip(works, read, strict=True):
                items[row] = item
        return items

    def _decode(self, works: "Sequence[_Work]") -> list[Any]:
        (work,) = works
        with self.metrics.timed(work.modality, "decode"):
            try:
                return [self._decoded(work)]
            except Refusal as refusal:
                return [refusal]

    def _decoded(self, work: "_Work") -> Any:
        if work.verb == "tell":
            named = str(work.options["called"])
            embedded = [name for name in self._engine.modalities if self.reaches(name)]
            return self._decoders.tell(work.content, named, embedded)
        ask = self._decoders.read if work.verb == "read" else self._decoders.draw
        return ask(work.modality, work.content, work.options)

    def _batcher(self, modality: str) -> Batcher[FloatArray]:
        if modality not in self._batchers:
            self._batchers[modality] = Batcher(
                modality,
                functools.partial(self._forward, modality),
                max_wait_s=self.settings.max_wait_s,
                max_items=4 * self.settings.max_items,
                on_batch=functools.partial(self.metrics.observe_batch, modality),
            )
        return self._batchers[modality]

    def _forward(self, modality: str, items: Sequence[Any]) -> list[Outcome]:
        try:
            embedded = self._embedded(modality, items)
        except UnibindError as error:
            _log.warning("%s cannot be embedded: %s", modality, error)
            return [refusal_of(error)] * len(items)
        except Exception as error:
            self.metrics.model_failures.labels(modality).inc()
            self._failed[modality] = repr(error)
            raise
        self._failed.pop(modality, None)
        outcomes: list[Outcome] = [_NOTHING] * len(items)
        for row, vector in zip(embedded.rows.tolist(), embedded.embeddings, strict=True):
            outcomes[row] = vector
        for failure in embedded.failures:
            outcomes[failure.row] = Refusal(400, "invalid_input", without_paths(failure.error))
        return outcomes

    def _embedded(self, modality: str, items: Sequence[Any]) -> Embedded:
        """Return what the engine's `embed_each` does, with its two halves timed apart."""
        engine = self._engine
        with self.metrics.timed(modality, "encode", n_items=len(items)):
            encoded = engine.encode(modality, items)
        with self.metrics.timed(modality, "head", n_items=len(items)):
            embeddings = engine.senses.place(modality, encoded.features)
        return Embedded(embeddings, encoded.rows, encoded.failures)

    def _remember(self, modality: str, item: Any) -> None:
        """Keep one small good item of each modality: the model is tried with it."""
        if modality not in self._samples and getattr(item, "nbytes", 0) <= _MAX_SAMPLE:
            self._samples[modality] = item

    async def _faults(self) -> dict[str, str]:
        if not self._is_warm:
            return {"start": "the towers are being opened"}
        faults: dict[str, str] = {}
        if not self._decoders.is_whole:
            faults["decoders"] = f"{len(self._decoders.pids)} of {self._decoders.n} run"
        for name, batcher in self._batchers.items():
            if not batcher.is_alive or batcher.stuck_s > _STUCK_S:
                faults[name] = f"a batch has been in the model for {batcher.stuck_s:.0f} s"
        loop = asyncio.get_running_loop()
        for name, item in {self.text: _PROBE, **self._samples}.items():
            probe = loop.run_in_executor(self._probes, self._probe, name, item)
            try:
                await asyncio.wait_for(probe, _PROBE_S)
                self._failed.pop(name, None)
            except TimeoutError:
                faults[name] = f"a forward pass takes longer than {_PROBE_S:g} s"
            # The model may fail in any way; that is what is looked for.
            except Exception as error:  # noqa: BLE001
                _log.error("the model of %s fails: %r", name, error)
                faults[name] = "a forward pass fails"
        faults |= {name: "the model failed" for name in self._failed if name not in faults}
        await self._check_store(faults)
        if set(faults) & set(self._engine.modalities):
            self._reload_soon()
        return faults

    async def _check_store(self, faults: dict[str, str]) -> None:
        try:
            await self.in_thread(self._engine.count)
        except Refusal as refusal:
            faults["store"] = refusal.message

    def _probe(self, modality: str, item: Any) -> None:
        features = self._engine.encoder(modality).encode([item])
        if not np.isfinite(features).all():
            raise ArithmeticError("its features are not finite")

    def _reload_soon(self) -> None:
        if time.monotonic() - self._reloaded_at > _RELOAD_AGE_S:
            _log.warning("the model failed; the space is opened again")
            self._threads.submit(self.reload)


@dataclass(frozen=True, slots=True)
class _Work:
    """One file for a decoder."""

    verb: str
    modality: str
    content: bytes
    options: Mapping[str, Json]


class _Known:
    """Embeddings by what they are of, the least recently used forgotten first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._vectors: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._n_bytes = 0

    def get(self, key: bytes) -> FloatArray | None:
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, key: bytes, vector: FloatArray) -> None:
        if key in self._vectors:
            return
        # A row of a batch would keep the whole batch alive.
        self._vectors[key] = vector = vector.copy()
        self._n_bytes += vector.nbytes + _ROW_BYTES
        while self._n_bytes > self._max_bytes and self._vectors:
            _, oldest = self._vectors.popitem(last=False)
            self._n_bytes -= oldest.nbytes + _ROW_BYTES


_ROW_BYTES = 300  # of a dictionary's entry, a key and an array, roughly
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
