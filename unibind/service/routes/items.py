"""``/v1/items``: put, get, delete, many at once as lines of JSON, and what was uploaded."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ConfigDict, Field
from starlette.types import Receive, Scope, Send

from unibind.errors import InvalidInputError, UnibindError
from unibind.retrieval.guard import check_metadata, check_name
from unibind.service.contents import Content
from unibind.service.intake import (
    Upload,
    asked_of,
    parsed,
    runtime_of,
    sources_of,
    unless_gone,
    visit_of,
)
from unibind.service.looking import content_of, inspected
from unibind.service.openapi import REFUSALS, body
from unibind.service.refusals import Refusal, refusal_of
from unibind.service.runtime import Runtime
from unibind.service.schemas import (
    DeleteResponse,
    InspectResponse,
    ItemRequest,
    ItemResponse,
    LineResult,
)
from unibind.service.sources import Source
from unibind.service.writing import Upsert
from unibind.types import FloatArray, Json

__all__ = ["router"]

router = APIRouter(prefix="/v1", responses=REFUSALS, tags=["items"])

KeyPath = Annotated[
    str, Path(min_length=1, max_length=4096, description="Your id of the item; / is written %2F.")
]
_WINDOW = 64  # lines that are worked on at a time
_PAUSE_S = 0.1
_MAX_LINE = 64 * 2**20


class _Line(ItemRequest):
    model_config = ConfigDict(title="ItemLine", json_schema_extra={"examples": []})

    key: Annotated[str, Field(min_length=1, max_length=4096)]


@router.put("/items/{key}", response_model=ItemResponse, openapi_extra=body(ItemRequest, form=True))
async def put_item(request: Request, key: KeyPath) -> Json:
    """Store an item under a key; what was there is replaced. It is durable once this answers."""
    runtime = runtime_of(request)
    key = _key_of(key)
    asked = await asked_of(request, ItemRequest)
    await unless_gone(
        request, _stored(request, key, asked.told, asked.files, deadline=visit_of(request).deadline)
    )
    _audit(request, "put", keys=[key], modality=asked.told.type)
    return await _item(runtime, key, with_embedding=False)


@router.get("/items/{key}", response_model=ItemResponse)
async def get_item(
    request: Request,
    key: KeyPath,
    include: Annotated[
        Literal["embedding"] | None, Query(description="What to return besides.")
    ] = None,
) -> Json:
    """Return a stored item."""
    return await _item(runtime_of(request), _key_of(key), with_embedding=include is not None)


@router.delete("/items/{key}", response_model=DeleteResponse)
async def delete_item(request: Request, key: KeyPath) -> Json:
    """Remove an item. It is never found again once this answers."""
    runtime = runtime_of(request)
    key = _key_of(key)
    n_deleted = await _settled(runtime.writer.delete([key]))
    await runtime.in_thread(runtime.contents.forget, key)
    _audit(request, "delete", keys=[key], n=n_deleted)
    if not n_deleted:
        raise _missing(key)
    return {"object": "item", "key": key, "deleted": True}


@router.get(
    "/items/{key}/preview",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "A picture of the item."}},
)
async def get_preview(request: Request, key: KeyPath) -> Response:
    """Return a small PNG of what was uploaded: the picture, a waveform, a plotted trace, ..."""
    runtime = runtime_of(request)
    source = await runtime.in_thread(content_of, runtime, _key_of(key))
    png = await unless_gone(request, runtime.draw(source, deadline=visit_of(request).deadline))
    return Response(png, media_type="image/png")


@router.get("/items/{key}/inspect", response_model=InspectResponse)
async def inspect_item(
    request: Request,
    key: KeyPath,
    max_values: Annotated[int, Query(ge=16, le=1_000_000)] = 60_000,
) -> Json:
    """Return what was read of what was uploaded: its picture and its arrays, thinned."""
    runtime = runtime_of(request)
    source = await runtime.in_thread(content_of, runtime, _key_of(key))
    deadline = visit_of(request).deadline
    return await unless_gone(
        request, inspected(runtime, source, max_values=max_values, deadline=deadline)
    )


@router.get(
    "/items/{key}/content",
    response_class=Response,
    responses={
        200: {
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
            "description": "The bytes as they came.",
        }
    },
)
async def get_content(request: Request, key: KeyPath) -> Response:
    """Return what was uploaded, byte for byte.

    Always as octets to be saved: what somebody uploaded must not run as a page of this site.
    """
    runtime = runtime_of(request)
    source = await runtime.in_thread(content_of, runtime, _key_of(key))
    content = source.content
    return Response(
        content if isinstance(content, bytes) else content.encode(),
        media_type="application/octet-stream",
        headers={"Content-Disposition": "attachment", "X-Item-Type": source.modality},
    )


@router.post(
    "/items:batch",
    response_class=Response,
    responses={
        200: {
            "description": "A line for each line, in order, as soon as its item is durable.",
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "One JSON object a line: an item with its `key`.",
            "content": {
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": '{"key": "a", "type": "text", "text": "a red kettle"}\n',
                }
            },
        }
    },
)
async def put_items(request: Request) -> Response:
    """Store many items; lines go in and come out one by one, and a bad one fails alone."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-ndjson", "application/jsonl", "application/json-lines"):
        raise Refusal(
            415,
            "unsupported_media_type",
            f"the body is {kind!r:.80}; send application/x-ndjson, one JSON object a line",
        )
    return _Lines(_results(request))


class _Lines(Response):
    """Lines as they come, while the request is still being read.

    Starlette's own stream watches for the client to go by reading the request, whose lines it
    would take for itself.
    """

    media_type = "application/x-ndjson"

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self.status_code = 200
        self.background = None
        self._lines = lines
        self.init_headers({"cache-control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": [pair for pair in self.raw_headers if pair[0] != b"content-length"],
        }
        await send(head)
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _results(request: Request) -> AsyncIterator[bytes]:
    waiting: list[asyncio.Task[LineResult]] = []
    try:
        number = 0
        async for line in _lines(request):
            number += 1
            waiting.append(asyncio.create_task(_line_result(request, number, line)))
            while len(waiting) >= _WINDOW or (waiting and waiting[0].done()):
                yield _written(await waiting.pop(0))
        while waiting:
            yield _written(await waiting.pop(0))
    finally:
        for task in waiting:
            task.cancel()


async def _lines(request: Request) -> AsyncIterator[bytes]:
    """Yield the lines of a body that have something in them."""
    rest = bytearray()
    async for chunk in request.stream():
        rest += chunk
        *lines, rest = rest.split(b"\n")
        if len(rest) > _MAX_LINE:
            raise Refusal(413, "line_too_long", f"a line has more than {_MAX_LINE:,} bytes")
        for line in lines:
            if line.strip():
                yield bytes(line)
    if rest.strip():
        yield bytes(rest)


async def _line_result(request: Request, number: int, line: bytes) -> LineResult:
    key = None
    try:
        item = parsed(line, _Line)
        key = item.key
        _check_key(key)
        deadline = time.monotonic() + runtime_of(request).settings.request_timeout_s
        await _stored_in_turn(request, key, item, deadline)
        _audit(request, "put", keys=[key], modality=item.type)
    except Refusal as refusal:
        return LineResult(line=number, key=key, status="failed", error=refusal.error())
    except UnibindError as error:
        told = refusal_of(error).error()
        return LineResult(line=number, key=key, status="failed", error=told)
    return LineResult(line=number, key=key, status="stored")


async def _stored_in_turn(request: Request, key: str, item: _Line, deadline: float) -> None:
    """Store an item; while too much is waiting, among it its own neighbours, wait for a place."""
    while True:
        try:
            return await _stored(request, key, item, {}, deadline=deadline)
        except Refusal as refusal:
            if refusal.code != "overloaded" or time.monotonic() + _PAUSE_S > deadline:
                raise
            await asyncio.sleep(_PAUSE_S)


def _written(result: LineResult) -> bytes:
    return result.model_dump_json(exclude_none=True).encode() + b"\n"


async def _stored(
    request: Request,
    key: str,
    item: ItemRequest,
    files: Mapping[str, Upload],
    *,
    deadline: float,
) -> None:
    """Embed and store one item; returns once it is durable."""
    runtime = runtime_of(request)
    try:
        check_metadata([item.metadata])
    except InvalidInputError as error:
        raise refusal_of(error, param="metadata") from None
    (source,) = await sources_of(request, [item], files)
    visit_of(request).n_items += 1
    embedded = await runtime.embed([source], deadline=deadline)
    (vector,) = embedded.rows
    with runtime.metrics.timed(source.modality, "store"):
        if runtime.settings.keep_content:
            await runtime.in_thread(runtime.contents.keep, key, _content(source))
        await _settled(runtime.writer.upsert(Upsert(key, source.modality, vector, item.metadata)))


def _content(source: Source) -> Content:
    content = source.content
    kept = content.encode() if isinstance(content, str) else content
    return Content(source.modality, kept, source.options)


async def _settled(future: Any) -> int:
    """Return what the writer says. What it accepted is written, even if nobody waits any more."""
    try:
        return int(await asyncio.shield(asyncio.wrap_future(future)))
    except UnibindError as error:
        raise refusal_of(error) from error


async def _item(runtime: Runtime, key: str, *, with_embedding: bool) -> Json:
    hit = await runtime.in_thread(_hit, runtime, key)
    content = await runtime.in_thread(runtime.contents.get, key)
    embedding: FloatArray | None = None
    if with_embedding:
        (embedding,) = await runtime.in_thread(_vectors, runtime, [key])
    return {
        "object": "item",
        "key": key,
        "type": hit.modality,
        "metadata": dict(hit.metadata),
        "has_content": content is not None,
        "embedding": None if embedding is None else embedding.tolist(),
    }


def _hit(runtime: Runtime, key: str) -> Any:
    hit = runtime.engine.store.get(key) if runtime.engine.count() else None
    if hit is None:
        raise _missing(key)
    return hit


def _vectors(runtime: Runtime, keys: list[str]) -> FloatArray:
    vectors = getattr(runtime.engine.store, "vectors", None)
    if vectors is None:
        raise Refusal(501, "not_supported", "this kind of store does not give vectors back")
    found: FloatArray = vectors(keys)
    return found


def _key_of(raw: str) -> str:
    try:
        key = unquote(raw, errors="strict")
    except UnicodeDecodeError:
        raise Refusal(400, "invalid_key", "the key is not UTF-8 once decoded", "key") from None
    return _check_key(key)


def _check_key(key: str) -> str:
    try:
        return check_name(key, "key")
    except InvalidInputError as error:
        raise refusal_of(error, param="key") from None


def _missing(key: str) -> Refusal:
    return Refusal(404, "unknown_item", f"no item has the key {key!r:.80}", "key")


def _audit(request: Request, action: str, **told: Json) -> None:
    visit = visit_of(request)
    request.app.state.audit.note(
        action, caller=visit.caller.name, request_id=visit.request_id, **told
    )
