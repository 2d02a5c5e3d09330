"""The client for asyncio."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from unibind.client import verbs
from unibind.client.session import Session, answer_of, request_of
from unibind.client.steps import Answer, Steps, Wait, tried
from unibind.types import FloatArray, Hit, Json, Prediction, ProgressCallback

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient(Session):
    """A served space, for asyncio. Its methods are those of `Client`, to be awaited."""

    def __init__(self, url: str = "http://127.0.0.1:8000", **options: Any) -> None:
        super().__init__(url, **options)
        import httpx

        self._http = httpx.AsyncClient(**self._settings)

    async def modalities(self) -> list[dict[str, Json]]:
        """As `Client.modalities`."""
        return await self._run(verbs.modalities())

    async def embed(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> FloatArray:
        """As `Client.embed`."""
        return await self._run(verbs.embed(modality, items, options, progress))

    async def classify(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        classes: Sequence[str | Mapping[str, Json]] | None = None,
        knowledge: str | None = None,
        options: Mapping[str, Json] | None = None,
        top: int = 5,
        explain: bool = True,
        unknown: bool = True,
        progress: ProgressCallback | None = None,
    ) -> list[list[Prediction]]:
        """As `Client.classify`."""
        asked = {
            "classes": classes,
            "knowledge": knowledge,
            "top": top,
            "explain": explain,
            "unknown": unknown,
        }
        return await self._run(verbs.classify(modality, items, options, asked, progress))

    async def search(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        into: Sequence[str] | None = None,
        k: int = 10,
        where: Mapping[str, Json] | None = None,
        hybrid: bool = False,
        words: str | None = None,
        min_score: float | None = None,
        group_by: str | None = None,
        options: Mapping[str, Json] | None = None,
    ) -> list[list[Hit]]:
        """As `Client.search`."""
        asked = {
            "into": into,
            "k": k,
            "where": where,
            "hybrid": hybrid,
            "words": words,
            "min_score": min_score,
            "group_by": group_by,
        }
        return await self._run(verbs.search(modality, items, options, asked))

    async def add(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        keys: Sequence[str],
        metadata: Sequence[Mapping[str, Json]] | None = None,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        """As `Client.add`."""
        await self._run(verbs.add(modality, items, keys, metadata, options, progress))

    async def get(self, key: str) -> Hit | None:
        """As `Client.get`."""
        return await self._run(verbs.get(key))

    async def delete(self, key: str) -> bool:
        """As `Client.delete`."""
        return await self._run(verbs.delete(key))

    async def count(self, modality: str | None = None) -> int:
        """As `Client.count`."""
        return await self._run(verbs.count(modality))

    async def align(
        self,
        modality: str,
        items: Sequence[Any],
        labels: Sequence[str],
        *,
        knowledge: str | None = None,
        head: str | None = None,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, Json]:
        """As `Client.align`."""
        asked = {"knowledge": knowledge, "head": head, "options": options}
        return await self._run(verbs.align(modality, items, labels, asked, progress))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        import httpx

        tries = tried(steps, self._n_retries)
        try:
            step = next(tries)
            while True:
                if isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                    step = next(tries)
                    continue
                try:
                    answer = answer_of(await self._http.request(**request_of(step)))
                except httpx.HTTPError as error:
                    answer = Answer(0, b"", failure=str(error) or type(error).__name__)
                step = tries.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result
