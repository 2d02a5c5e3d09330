"""The client that waits for its answers."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from unibind.client import verbs
from unibind.client.session import Session, answer_of, request_of
from unibind.client.steps import Answer, Steps, Wait, tried
from unibind.types import FloatArray, Hit, Json, Prediction, ProgressCallback

__all__ = ["Client"]

T = TypeVar("T")


class Client(Session):
    """A served space. Threads may share a client.

    Args:
        url: Address of the server.
        key: Its key; ``UNIBIND_API_KEY`` if None.
        timeout_s: How long one request may take; what takes longer, the server drops.
        n_retries: Further tries after 429, 502, 503, 504 or a lost connection, each after a longer
            wait, or after the one that the server names.

    Raises:
        InvalidInputError: The address is none.
        PluginError: httpx is not installed.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", **options: Any) -> None:
        super().__init__(url, **options)
        import httpx

        self._http = httpx.Client(**self._settings)

    def modalities(self) -> list[dict[str, Json]]:
        """Return what the space reads: formats, units, limits, options."""
        return self._run(verbs.modalities())

    def embed(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> FloatArray:
        """Return the embeddings of items, unit length, shape (N, D).

        Args:
            modality: One of `modalities`, or ``"auto"`` for whatever the files are.
            items: Paths, or contents in bytes; str are texts for ``"text"``.
            options: What the items do not say of themselves.
            progress: Called with the items done and their number.

        Raises:
            InvalidInputError: The server refuses an item.
            UnibindError: The server cannot be reached, or refuses for another reason.
        """
        return self._run(verbs.embed(modality, items, options, progress))

    def classify(
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
        """Return for each item the classes, the likeliest first.

        Args:
            modality: As in `embed`.
            items: As in `embed`.
            classes: Names, or ``{"name": ..., "descriptions": [...]}``.
            knowledge: A knowledge base of the server, by name.
            options: As in `embed`.
            top: How many classes are listed of each item.
            explain: Whether the classes come with what spoke for them.
            unknown: Whether an item may be none of the classes.
            progress: As in `embed`.

        Raises:
            InvalidInputError: As in `embed`, or there is no such base.
            UnibindError: As in `embed`.
        """
        asked = {
            "classes": classes,
            "knowledge": knowledge,
            "top": top,
            "explain": explain,
            "unknown": unknown,
        }
        return self._run(verbs.classify(modality, items, options, asked, progress))

    def search(
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
        """Return for each item its k nearest stored ones, best first.

        Args:
            modality: As in `embed`.
            items: As in `embed`.
            into: Modalities to search in; all by default.
            k: How many hits at most.
            where: Only hits whose metadata fulfils this.
            hybrid: Rank texts by the words of the metadata as well.
            words: Rank by these words as well, whatever the items are.
            min_score: Leave out hits below this score.
            group_by: ``"modality"`` or a metadata field: only the best hit of each value.
            options: As in `embed`.

        Raises:
            InvalidInputError: As in `embed`, or a condition is not as needed.
            UnibindError: As in `embed`.
        """
        asked = {
            "into": into,
            "k": k,
            "where": where,
            "hybrid": hybrid,
            "words": words,
            "min_score": min_score,
            "group_by": group_by,
        }
        return self._run(verbs.search(modality, items, options, asked))

    def add(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        keys: Sequence[str],
        metadata: Sequence[Mapping[str, Json]] | None = None,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        """Store items under keys; a key that is there is replaced. Durable once it returns.

        Unlike `Engine.add`, the items before a bad one are stored; the error names the bad ones.

        Args:
            modality: As in `embed`.
            items: As in `embed`.
            keys: Your ids of the items.
            metadata: JSON objects kept beside the items.
            options: As in `embed`.
            progress: As in `embed`.

        Raises:
            InvalidInputError: The server refuses an item, or keys and items are not equally many.
            UnibindError: As in `embed`.
        """
        self._run(verbs.add(modality, items, keys, metadata, options, progress))

    def get(self, key: str) -> Hit | None:
        """Return the item of a key with score 1, or None."""
        return self._run(verbs.get(key))

    def delete(self, key: str) -> bool:
        """Remove an item and return whether it was there."""
        return self._run(verbs.delete(key))

    def count(self, modality: str | None = None) -> int:
        """Return how many items are stored, in all or of one modality."""
        return self._run(verbs.count(modality))

    def align(
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
        """Train the server's head of a modality on labelled items; needs a key that may.

        Returns when the server uses the new head.

        Args:
            modality: Any of `modalities` but text.
            items: As in `embed`.
            labels: Class of each.
            knowledge: A knowledge base whose sentences it learns from; the labels' names if None.
            head: ``"ridge"`` or ``"linear"``; ridge if None.
            options: As in `embed`.
            progress: Called with how far the run is, of 100.

        Returns:
            What ``unibind align --json`` prints: how many items, what it says of held-out classes.

        Raises:
            InvalidInputError: There is not one label each, or the server refuses an item.
            UnibindError: As in `embed`, or the run failed.
        """
        asked = {"knowledge": knowledge, "head": head, "options": options}
        return self._run(verbs.align(modality, items, labels, asked, progress))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        import httpx

        tries = tried(steps, self._n_retries)
        try:
            step = next(tries)
            while True:
                if isinstance(step, Wait):
                    time.sleep(step.seconds)
                    step = next(tries)
                    continue
                try:
                    answer = answer_of(self._http.request(**request_of(step)))
                except httpx.HTTPError as error:
                    answer = Answer(0, b"", failure=str(error) or type(error).__name__)
                step = tries.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result
