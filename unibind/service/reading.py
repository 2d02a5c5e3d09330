"""From sources to items: files are read beside the model, in decoders that can be killed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unibind.errors import UnibindError
from unibind.modalities.registry import installed
from unibind.service.batching import Batcher
from unibind.service.decoding import DecoderPool, n_decoders
from unibind.service.observing import Metrics
from unibind.service.refusals import Refusal, refusal_of
from unibind.service.sources import AUTO, Source
from unibind.settings import ServiceSettings
from unibind.types import Json, Modality

__all__ = ["Reader", "modality_called"]


def modality_called(name: str, *, param: str = "type") -> Modality:
    """Return an installed modality.

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


@dataclass(frozen=True, slots=True)
class _Work:
    """One file for a decoder."""

    verb: str
    modality: str
    content: bytes
    options: Mapping[str, Json]


class Reader:
    """The decoders and the queue before them.

    Args:
        settings: Of the deployment.
        metrics: Where it is noted how long decoding takes, and which decoders die.
        reached: Names of the modalities that can be embedded now.
    """

    def __init__(
        self, settings: ServiceSettings, metrics: Metrics, reached: Callable[[], Sequence[str]]
    ) -> None:
        self._metrics = metrics
        self._reached = reached
        self._decoders = DecoderPool(
            n_decoders(settings.decoders),
            memory_bytes=settings.decode_memory_bytes,
            time_s=settings.decode_timeout_s,
            on_death=metrics.decoder_deaths.inc,
        )
        self._queue: Batcher[Any] = Batcher(
            "files to decode",
            self._decode,
            max_wait_s=settings.max_wait_s,
            max_items=settings.max_items,
            n_runners=self._decoders.n,
            max_batch=1,
            cost=lambda work: 4096.0 + len(work.content),
        )

    @property
    def pids(self) -> list[int]:
        """Process ids of the decoders."""
        return self._decoders.pids

    @property
    def n_waiting(self) -> int:
        """Files that wait."""
        return self._queue.n_waiting

    def fault(self) -> str | None:
        """Return what is wrong with the decoders, None if nothing is."""
        if self._decoders.is_whole:
            return None
        return f"{len(self._decoders.pids)} of {self._decoders.n} run"

    async def items(self, sources: Sequence[Source], *, deadline: float) -> list[Any]:
        """Return the item of each source, or a refusal; files are decoded side by side.

        Raises:
            Refusal: Too much is waiting already.
        """
        items: list[Any] = [None] * len(sources)
        works: dict[int, _Work] = {}
        for row, source in enumerate(sources):
            try:
                modality = modality_called(source.modality).with_options(source.options)
                if isinstance(source.content, str):
                    items[row] = modality.accept(source.content)
                else:
                    works[row] = _Work("read", source.modality, source.content, source.options)
            except UnibindError as error:
                items[row] = refusal_of(error)
            except Refusal as refusal:
                items[row] = refusal
        if works:
            read = await self._queue.submit(list(works.values()), deadline=deadline)
            for row, item in zip(works, read, strict=True):
                items[row] = item
        return items

    async def draw(self, source: Source, *, deadline: float) -> bytes:
        """Return a small PNG of a source.

        Raises:
            Refusal: It is not what it should be, or its modality draws no pictures.
        """
        if modality_called(source.modality).draw is None:
            raise Refusal(
                404, "no_preview", f"{source.modality} has no picture of its items", "type"
            )
        content = source.content
        content = content.encode() if isinstance(content, str) else content
        work = _Work("draw", source.modality, content, source.options)
        return bytes(await self._one(work, deadline))

    async def tell(self, content: bytes, called: str, *, deadline: float) -> str:
        """Return what a file is, by the ending of its name and its content.

        Args:
            content: The file.
            called: Its name, "" if it is not known.
            deadline: By `time.monotonic`, when nobody wants the answer any more.

        Raises:
            Refusal: No modality reads it, or several do.
        """
        return str(await self._one(_Work("tell", AUTO, content, {"called": called}), deadline))

    def finish(self) -> None:
        """Finish what was begun, and take no more."""
        self._queue.close()

    def close(self) -> None:
        """End the decoders."""
        self._decoders.close()

    async def _one(self, work: _Work, deadline: float) -> Any:
        (found,) = await self._queue.submit([work], deadline=deadline)
        if isinstance(found, Refusal):
            raise found
        return found

    def _decode(self, works: Sequence[_Work]) -> list[Any]:
        (work,) = works
        with self._metrics.timed(work.modality, "decode"):
            try:
                return [self._decoded(work)]
            except Refusal as refusal:
                return [refusal]

    def _decoded(self, work: _Work) -> Any:
        if work.verb == "tell":
            return self._decoders.tell(work.content, str(work.options["called"]), self._reached())
        ask = self._decoders.read if work.verb == "read" else self._decoders.draw
        return ask(work.modality, work.content, work.options)
