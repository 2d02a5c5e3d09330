"""A client of a served space: the verbs of `unibind.Engine`, over HTTP.

    client = unibind.Client("http://127.0.0.1:8000", key="ub_read_...")
    client.classify("image", ["cat.jpg"], classes=["a cat", "a dog"])

    async with unibind.AsyncClient("http://127.0.0.1:8000") as client:
        await client.embed("text", ["a red kettle"])

Both drive the same generators, which yield what is to be sent and are told what came: so there is
one place that knows the API, splits long lists, and tries again.
"""

import asyncio
import base64
import json
import os
import random
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import numpy as np

from unibind.errors import (
    InvalidInputError,
    PluginError,
    StoreError,
    UnibindError,
)
from unibind.types import FloatArray, Hit, Json, Prediction, ProgressCallback, Reason

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")

_TEXT = "text"
_BATCH = 64
_BATCH_BYTES = 16 * 2**20
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_RETRIED = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class _Call:
    """One request."""

    method: str
    path: str
    body: Json = None
    lines: Sequence[Json] | None = None


@dataclass(frozen=True, slots=True)
class _Wait:
    """A pause before the next try."""

    seconds: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came: a status and a body, or why nothing came."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""


_Steps = Generator[_Call | _Wait, _Answer, T]
"""Yields what is to be done, is sent what came of it, and returns a result."""


class _Session:
    """What both clients share: the address, the key, how often to try."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout_s: float = 60.0,
        n_retries: int = 4,
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise PluginError(
                "a client needs httpx, of the extra serve: pip install 'unibind[serve]'"
            ) from error
        if not url.startswith(("http://", "https://")):
            raise InvalidInputError(f"{url!r} is no address; give http://HOST:PORT or https://...")
        self.url = url.rstrip("/")
        self._n_retries = n_retries
        key = key if key is not None else os.environ.get("UNIBIND_API_KEY")
        headers = {"X-Request-Timeout": f"{timeout_s:g}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._settings: dict[str, Any] = {
            "base_url": self.url,
            "headers": headers,
            # The server gives up first, and says why.
            "timeout": httpx.Timeout(timeout_s + 5, connect=10),
        }


class Client(_Session):
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
        return self._run(_modalities())

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
        return self._run(_embed(modality, items, options, progress))

    def classify(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        classes: Sequence[str | Mapping[str, Json]] | None = None,
        knowledge: str | None = None,
        options: Mapping[str, Json] | None = None,
        top: int = 5,
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
            progress: As in `embed`.

        Raises:
            InvalidInputError: As in `embed`, or there is no such base.
            UnibindError: As in `embed`.
        """
        asked = {"classes": _plain(classes), "knowledge": knowledge, "top": top}
        return self._run(_classify(modality, items, options, asked, progress))

    def search(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        into: Sequence[str] | None = None,
        k: int = 10,
        where: Mapping[str, Json] | None = None,
        hybrid: bool = False,
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
            options: As in `embed`.

        Raises:
            InvalidInputError: As in `embed`, or a condition is not as needed.
            UnibindError: As in `embed`.
        """
        asked = {"into": _plain(into), "k": k, "where": where, "hybrid": hybrid}
        return self._run(_search(modality, items, options, asked))

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
        self._run(_add(modality, items, keys, metadata, options, progress))

    def get(self, key: str) -> Hit | None:
        """Return the item of a key with score 1, or None."""
        return self._run(_get(key))

    def delete(self, key: str) -> bool:
        """Remove an item and return whether it was there."""
        return self._run(_delete(key))

    def count(self, modality: str | None = None) -> int:
        """Return how many items are stored, in all or of one modality."""
        return self._run(_count(modality))

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

    def _run(self, steps: _Steps[T]) -> T:
        import httpx

        tries = _tried(steps, self._n_retries)
        try:
            step = next(tries)
            while True:
                if isinstance(step, _Wait):
                    time.sleep(step.seconds)
                    step = next(tries)
                    continue
                try:
                    answer = _answer_of(self._http.request(**_request_of(step)))
                except httpx.HTTPError as error:
                    answer = _Answer(0, b"", failure=str(error) or type(error).__name__)
                step = tries.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result


class AsyncClient(_Session):
    """A served space, for asyncio. Its methods are those of `Client`, to be awaited."""

    def __init__(self, url: str = "http://127.0.0.1:8000", **options: Any) -> None:
        super().__init__(url, **options)
        import httpx

        self._http = httpx.AsyncClient(**self._settings)

    async def modalities(self) -> list[dict[str, Json]]:
        """As `Client.modalities`."""
        return await self._run(_modalities())

    async def embed(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> FloatArray:
        """As `Client.embed`."""
        return await self._run(_embed(modality, items, options, progress))

    async def classify(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        classes: Sequence[str | Mapping[str, Json]] | None = None,
        knowledge: str | None = None,
        options: Mapping[str, Json] | None = None,
        top: int = 5,
        progress: ProgressCallback | None = None,
    ) -> list[list[Prediction]]:
        """As `Client.classify`."""
        asked = {"classes": _plain(classes), "knowledge": knowledge, "top": top}
        return await self._run(_classify(modality, items, options, asked, progress))

    async def search(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        into: Sequence[str] | None = None,
        k: int = 10,
        where: Mapping[str, Json] | None = None,
        hybrid: bool = False,
        options: Mapping[str, Json] | None = None,
    ) -> list[list[Hit]]:
        """As `Client.search`."""
        asked = {"into": _plain(into), "k": k, "where": where, "hybrid": hybrid}
        return await self._run(_search(modality, items, options, asked))

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
        await self._run(_add(modality, items, keys, metadata, options, progress))

    async def get(self, key: str) -> Hit | None:
        """As `Client.get`."""
        return await self._run(_get(key))

    async def delete(self, key: str) -> bool:
        """As `Client.delete`."""
        return await self._run(_delete(key))

    async def count(self, modality: str | None = None) -> int:
        """As `Client.count`."""
        return await self._run(_count(modality))

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

    async def _run(self, steps: _Steps[T]) -> T:
        import httpx

        tries = _tried(steps, self._n_retries)
        try:
            step = next(tries)
            while True:
                if isinstance(step, _Wait):
                    await asyncio.sleep(step.seconds)
                    step = next(tries)
                    continue
                try:
                    answer = _answer_of(await self._http.request(**_request_of(step)))
                except httpx.HTTPError as error:
                    answer = _Answer(0, b"", failure=str(error) or type(error).__name__)
                step = tries.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result


# The API, as generators that know nothing of sockets.


def _modalities() -> _Steps[list[dict[str, Json]]]:
    answer = yield _Call("GET", "/v1/modalities")
    return list(_json_of(answer)["data"])


def _embed(
    modality: str,
    items: Sequence[Any],
    options: Mapping[str, Json] | None,
    progress: ProgressCallback | None,
) -> _Steps[FloatArray]:
    rows: list[FloatArray] = []
    for parts in _batches(modality, items, options):
        answer = yield _Call(
            "POST", "/v1/embeddings", {"input": parts, "encoding_format": "base64"}
        )
        rows += [
            np.frombuffer(base64.b64decode(each["embedding"]), dtype="<f4").astype(np.float32)
            for each in _json_of(answer)["data"]
        ]
        _report(progress, len(rows), len(items))
    if not rows:
        answer = yield _Call("GET", "/v1/modalities")
        return np.empty((0, _json_of(answer)["dimensions"]), dtype=np.float32)
    return np.stack(rows)


def _classify(
    modality: str,
    items: Sequence[Any],
    options: Mapping[str, Json] | None,
    asked: Mapping[str, Json],
    progress: ProgressCallback | None,
) -> _Steps[list[list[Prediction]]]:
    found: list[list[Prediction]] = []
    for parts in _batches(modality, items, options):
        answer = yield _Call("POST", "/v1/classify", {"input": parts, **_given(asked)})
        found += [
            [
                Prediction(
                    each["label"],
                    each["score"],
                    each["probability"],
                    tuple(Reason(**reason) for reason in each["reasons"]),
                )
                for each in result["predictions"]
            ]
            for result in _json_of(answer)["results"]
        ]
        _report(progress, len(found), len(items))
    return found


def _search(
    modality: str,
    items: Sequence[Any],
    options: Mapping[str, Json] | None,
    asked: Mapping[str, Json],
) -> _Steps[list[list[Hit]]]:
    found: list[list[Hit]] = []
    for parts in _batches(modality, items, options):
        answer = yield _Call("POST", "/v1/search", {"input": parts, **_given(asked)})
        found += [
            [
                Hit(each["key"], each["type"], each["score"], each["metadata"])
                for each in result["hits"]
            ]
            for result in _json_of(answer)["results"]
        ]
    return found


def _add(
    modality: str,
    items: Sequence[Any],
    keys: Sequence[str],
    metadata: Sequence[Mapping[str, Json]] | None,
    options: Mapping[str, Json] | None,
    progress: ProgressCallback | None,
) -> _Steps[None]:
    described = metadata if metadata is not None else [{}] * len(items)
    if not len(keys) == len(items) == len(described):
        raise InvalidInputError(
            f"{len(items)} items with {len(keys)} keys and {len(described)} metadata; one each is "
            "needed"
        )
    n_done = 0
    failed: list[str] = []
    for parts in _batches(modality, items, options, typed=True):
        lines = [
            part | {"key": keys[n_done + n], "metadata": dict(described[n_done + n])}
            for n, part in enumerate(parts)
        ]
        answer = yield _Call("POST", "/v1/items:batch", lines=lines)
        _check(answer)
        results = [json.loads(line) for line in answer.content.splitlines() if line.strip()]
        if len(results) != len(lines):
            raise StoreError(
                f"the server broke off after {n_done + len(results):,} of {len(items):,} items; "
                "those are stored, add the others again"
            )
        failed += [
            f"{each.get('key')}: {each['error']['message']}"
            for each in results
            if each["status"] != "stored"
        ]
        n_done += len(lines)
        _report(progress, n_done, len(items))
    if failed:
        told = "; ".join(failed[:3]) + (f"; and {len(failed) - 3:,} more" if failed[3:] else "")
        raise InvalidInputError(f"{len(failed):,} of {len(items):,} items were not stored: {told}")


def _get(key: str) -> _Steps[Hit | None]:
    answer = yield _Call("GET", f"/v1/items/{quote(key, safe='')}")
    if answer.status == 404:
        return None
    item = _json_of(answer)
    return Hit(item["key"], item["type"], 1.0, item["metadata"])


def _delete(key: str) -> _Steps[bool]:
    answer = yield _Call("DELETE", f"/v1/items/{quote(key, safe='')}")
    if answer.status == 404:
        return False
    return bool(_json_of(answer)["deleted"])


def _count(modality: str | None) -> _Steps[int]:
    listed = yield from _modalities()
    return sum(each["stored"] for each in listed if modality in (None, each["type"]))


def _tried(steps: _Steps[T], n_retries: int) -> _Steps[T]:
    """Pass steps on, and repeat a call that a later try may answer."""
    step = next(steps)
    while True:
        answer = yield step
        for n_tried in range(n_retries):
            if answer.status not in _RETRIED and not answer.failure:
                break
            yield _Wait(_pause_s(answer, n_tried))
            answer = yield step
        try:
            step = steps.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result


def _pause_s(answer: _Answer, n_tried: int) -> float:
    """Return how long to wait: as the server says, or twice as long each time, not all at once."""
    told = answer.headers.get("retry-after", "")
    if told.isdigit():
        return min(float(told), _LONGEST_WAIT_S)
    longest = min(_FIRST_WAIT_S * 2**n_tried, _LONGEST_WAIT_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret


def _batches(
    modality: str,
    items: Sequence[Any],
    options: Mapping[str, Json] | None,
    *,
    typed: bool = False,
) -> Iterable[list[Any]]:
    """Yield items as parts, in lists that one request can hold."""
    if isinstance(items, str | bytes | os.PathLike):
        raise InvalidInputError("one item was given where a list was needed; write [item]")
    batch: list[Any] = []
    n_bytes = 0
    for item in items:
        part, size = _part(modality, item, options or {})
        if batch and (len(batch) == _BATCH or n_bytes + size > _BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        is_bare = part.keys() == {"type", "text"} and modality == _TEXT and not typed
        batch.append(part["text"] if is_bare else part)
        n_bytes += size
    if batch:
        yield batch


def _part(modality: str, item: Any, options: Mapping[str, Json]) -> tuple[dict[str, Json], int]:
    told = {"options": dict(options)} if options else {}
    if isinstance(item, str) and modality == _TEXT:
        return {"type": modality, "text": item, **told}, len(item)
    if isinstance(item, str | os.PathLike):
        try:
            item = Path(item).read_bytes()
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"cannot read {item}: {error}") from error
    if not isinstance(item, bytes):
        raise InvalidInputError(
            f"an item is a {type(item).__name__}; give the path of a file or its content in bytes"
        )
    encoded = base64.b64encode(item).decode()
    return {"type": modality, "data": encoded, **told}, len(encoded)


def _plain(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _given(asked: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in asked.items() if value is not None}


def _report(progress: ProgressCallback | None, n_done: int, n_total: int) -> None:
    if progress is not None:
        progress(n_done, n_total)


def _request_of(call: _Call) -> dict[str, Any]:
    request: dict[str, Any] = {"method": call.method, "url": call.path}
    if call.lines is not None:
        request["content"] = b"".join(json.dumps(line).encode() + b"\n" for line in call.lines)
        request["headers"] = {"Content-Type": "application/x-ndjson"}
    elif call.body is not None:
        request["json"] = call.body
    return request


def _answer_of(response: "httpx.Response") -> _Answer:
    return _Answer(response.status_code, response.content, response.headers)


def _json_of(answer: _Answer) -> Any:
    _check(answer)
    return json.loads(answer.content)


def _check(answer: _Answer) -> None:
    """Raise what the server's refusal is in unibind's own errors."""
    if answer.failure:
        raise UnibindError(
            f"the server cannot be reached: {answer.failure}; see that it runs and the address is "
            "right"
        )
    if answer.status < 400:
        return
    try:
        error = json.loads(answer.content)["error"]
        told, request_id = str(error["message"]), error.get("request_id")
    except (ValueError, KeyError, TypeError):
        told, request_id = f"it answered {answer.status}", answer.headers.get("x-request-id")
    named = f" (request {request_id})" if request_id else ""
    if answer.status in (400, 404, 413, 415, 422):
        raise InvalidInputError(f"{told}{named}")
    if answer.status == 507:
        raise StoreError(f"{told}{named}")
    raise UnibindError(f"{told}{named}")
