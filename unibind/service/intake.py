"""From the body of a request to what it asks for, and from its parts to what can be embedded."""

import asyncio
import base64
import binascii
import json
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from unibind.errors import InvalidInputError
from unibind.service.edge import Visit
from unibind.service.fetching import Fetcher
from unibind.service.refusals import Refusal, refusal_of
from unibind.service.runtime import Runtime
from unibind.service.schemas import Part, first_fault
from unibind.service.sources import AUTO, Source
from unibind.types import Json

__all__ = [
    "Asked",
    "Upload",
    "asked_of",
    "invalid",
    "parsed",
    "runtime_of",
    "sources_of",
    "unless_gone",
    "visit_of",
]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_LONG = 2**20
_MAX_FIELDS = 1000
_PLAIN_FIELDS = frozenset(
    {"type", "text", "url", "model", "knowledge", "user", "words", "group_by", "reviewer"}
)


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a form.

    Attributes:
        content: Its bytes.
        called: What the client calls it; "" if it says nothing.
    """

    content: bytes
    called: str = ""


@dataclass(frozen=True, slots=True)
class Asked(Generic[M]):
    """What a request asks for.

    Attributes:
        told: Its fields.
        files: Uploads of a multipart request, by the name that parts call them by.
    """

    told: M
    files: Mapping[str, Upload]


def runtime_of(request: Request) -> Runtime:
    """Return what the application works with."""
    return cast(Runtime, request.app.state.runtime)


def visit_of(request: Request) -> Visit:
    """Return what the edge knows of a request."""
    return cast(Visit, request.state.visit)


async def asked_of(request: Request, model: type[M]) -> Asked[M]:
    """Return what a JSON or multipart body asks for.

    Raises:
        Refusal: The body is neither, or not as the model says.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _of_form(request, model)
    if kind not in ("application/json", ""):
        raise Refusal(
            415,
            "unsupported_media_type",
            f"the body is {kind!r:.80}; send application/json or multipart/form-data",
        )
    body = await request.body()
    if len(body) > _LONG:
        return Asked(await asyncio.to_thread(parsed, body, model), {})
    return Asked(parsed(body, model), {})


def parsed(body: bytes, model: type[M]) -> M:
    """Return the model that a JSON text is of; nesting is limited by its parser.

    Raises:
        Refusal: It is not JSON, or not as the model says.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> Refusal:
    """Return how it is told that a request is not as its model says."""
    param, told = first_fault(error.errors(include_url=False, include_context=False))
    return Refusal(400, "invalid_request", told, param)


async def sources_of(
    request: Request, items: Sequence[str | Part], files: Mapping[str, Upload]
) -> list[Source]:
    """Return what items are, once fetched and decoded from base64.

    Raises:
        Refusal: One is not as needed, or they are too many.
    """
    runtime = runtime_of(request)
    limit = runtime.settings.max_items
    if len(items) > limit:
        raise Refusal(
            400,
            "too_many_items",
            f"{len(items):,} items; at most {limit:,} in one request",
            "input",
        )
    sources = []
    for row, item in enumerate(items):
        if isinstance(item, str):
            sources.append(Source(runtime.text, item))
            continue
        try:
            sources.append(await _source(request, item, files))
        except Refusal as refusal:
            where = f"input[{row}]" if len(items) > 1 else "input"
            raise refusal.at(f"{where}.{refusal.param}" if refusal.param else where) from None
    return sources


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what work returns; if the client goes before, the work is dropped.

    Raises:
        Refusal: The client is gone, so nobody will see it; or what work raises.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Refusal(499, "client_gone", "the client went away before the answer was there")
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _source(request: Request, part: Part, files: Mapping[str, Upload]) -> Source:
    runtime = runtime_of(request)
    if part.type == AUTO:
        if part.text is not None:
            return Source(runtime.text, part.text, part.options)
        upload = await _upload(request, part, files)
        deadline = visit_of(request).deadline
        kind = await runtime.tell(upload.content, upload.called, deadline=deadline)
        _check_options(runtime, kind, part)
        return Source(kind, upload.content, part.options)
    modality = runtime.modality(part.type)
    _check_options(runtime, part.type, part)
    if part.text is None:
        return Source(part.type, (await _upload(request, part, files)).content, part.options)
    if not modality.str_is_item:
        raise Refusal(
            400, "invalid_request", f"{part.type} is no text; give data, url or a file", "text"
        )
    return Source(part.type, part.text, part.options)


def _check_options(runtime: Runtime, kind: str, part: Part) -> None:
    if why := runtime.why_unavailable(kind):
        raise Refusal(503, "modality_unavailable", why, "type")
    try:
        runtime.modality(kind).with_options(part.options)
    except InvalidInputError as error:
        raise refusal_of(error, param="options") from None


async def _upload(request: Request, part: Part, files: Mapping[str, Upload]) -> Upload:
    if part.file is not None:
        if part.file not in files:
            named = ", ".join(map(repr, files)) or "none"
            raise Refusal(
                400,
                "missing_file",
                f"the form has no file {part.file!r:.80}; it has {named}",
                "file",
            )
        return files[part.file]
    if part.url is not None and not part.url.startswith("data:"):
        fetcher: Fetcher = request.app.state.fetcher
        with runtime_of(request).metrics.timed(part.type, "fetch"):
            return Upload(await fetcher.fetch(part.url))
    encoded = part.data if part.data is not None else str(part.url)
    if len(encoded) > _LONG:
        return Upload(await asyncio.to_thread(_decoded, encoded))
    return Upload(_decoded(encoded))


def _decoded(encoded: str) -> bytes:
    if encoded.startswith("data:"):
        head, comma, encoded = encoded.partition(",")
        if not comma or not head.endswith(";base64"):
            raise Refusal(
                400, "invalid_base64", "a data: URL was needed that ends in ;base64,...", "data"
            )
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(
            400, "invalid_base64", f"data is not base64 ({error}); encode the whole file", "data"
        ) from None


async def _of_form(request: Request, model: type[M]) -> Asked[M]:
    try:
        form = await request.form(max_files=_MAX_FIELDS, max_fields=_MAX_FIELDS)
    except (MultiPartException, HTTPException, KeyError) as error:
        told = getattr(error, "detail", None) or getattr(error, "message", None) or str(error)
        raise Refusal(400, "invalid_form", f"the form cannot be read: {told}") from None
    fields: dict[str, Json] = {}
    files: dict[str, Upload] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            called = name if name not in files else f"{name} {len(files) + 1}"
            files[called] = Upload(await value.read(), (value.filename or "")[:256])
        else:
            fields[name] = value if name in _PLAIN_FIELDS else _value_of(value)
    await form.close()
    try:
        return Asked(model.model_validate(_filled(fields, list(files), model)), files)
    except ValidationError as error:
        raise invalid(error) from None


def _filled(
    fields: dict[str, Json], files: Sequence[str], model: type[BaseModel]
) -> dict[str, Json]:
    """Return the fields of a form as the model has them: its files become its parts."""
    if issubclass(model, Part):
        return ({"file": files[0], "type": AUTO} if files else {}) | fields
    shared = {name: fields.pop(name) for name in ("type", "options") if name in fields}
    parts = [{"type": AUTO, "file": called} | shared for called in files]
    if parts and "input" not in fields:
        fields["input"] = parts[0] if len(parts) == 1 else parts
    return fields


def _value_of(text: str) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
