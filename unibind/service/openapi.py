"""The OpenAPI document: FastAPI writes it of the routes, and here is added what it cannot see."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from unibind.modalities.registry import installed
from unibind.service.examples import ANSWERS, FORMS, PARAMETERS
from unibind.service.schemas import (
    Change,
    ClassifyRequest,
    EmbeddingsRequest,
    ErrorResponse,
    InspectRequest,
    ItemRequest,
    SearchRequest,
)
from unibind.service.sources import AUTO
from unibind.types import Json

__all__ = ["REFUSALS", "body", "document"]

_BODIES: tuple[type[BaseModel], ...] = (
    EmbeddingsRequest,
    ClassifyRequest,
    SearchRequest,
    InspectRequest,
    ItemRequest,
    Change,
)
_REF = "#/components/schemas/{model}"
_WITH_TYPES = ("Part", "ItemRequest")

_REASONS = {
    400: "Something in the request is not as needed.",
    401: "A key is needed, or the key is wrong.",
    403: "The key may not do this, or a page of another site asked.",
    404: "There is no such thing.",
    413: "The body is too large.",
    415: "The body is of an unknown kind.",
    422: "Something in the request is not as needed.",
    429: "Too much is waiting; ask again after Retry-After.",
    503: "A part of the server cannot be used now.",
}

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": reason} for status, reason in _REASONS.items()
} | {"default": {"model": ErrorResponse, "description": "Any other error, in the same shape."}}
"""What every route may answer besides."""


def body(model: type[BaseModel], *, form: bool = False) -> dict[str, Any]:
    """Return the documentation of a route's body, which the route reads itself.

    Args:
        model: What it holds.
        form: Whether files may also be uploaded as multipart/form-data.
    """
    content: dict[str, Json] = {
        "application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}
    }
    if form:
        content["multipart/form-data"] = {"schema": _form_of(model)}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the service."""
    told = get_openapi(
        title="unibind",
        version=version("unibind"),
        summary="One space for pictures, sounds, scans, traces and words.",
        description=_DESCRIPTION,
        routes=app.routes,
    )
    schemas = told.setdefault("components", {}).setdefault("schemas", {})
    _, found = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REF)
    schemas.update(found["$defs"])
    for name in _WITH_TYPES:
        schemas[name]["properties"]["type"]["enum"] = [AUTO, *sorted(installed())]
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            _exemplify(operation, method, path, schemas)
    told["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    # None is needed where the service has no keys.
    told["security"] = [{}, {"bearer": []}, {"header": []}]
    return told


def _exemplify(operation: Json, method: str, path: str, schemas: Json) -> None:
    """Give an operation an example of each parameter, of its body and of its answer."""
    for parameter in operation.get("parameters", ()):
        parameter["example"] = PARAMETERS[parameter["name"]]
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        model = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        named = enumerate(schemas[model]["examples"], 1)
        content["application/json"]["examples"] = {f"{n}": {"value": each} for n, each in named}
    if path in FORMS and "multipart/form-data" in content:
        content["multipart/form-data"]["example"] = FORMS[path]
    answer = ANSWERS.get((method, path))
    if answer is None:
        return
    for status in ("200", "202"):
        for media in operation["responses"].get(status, {}).get("content", {}).values():
            media["example"] = answer


_DESCRIPTION = (
    "Errors have one shape, and every answer has an `X-Request-Id`. "
    "`X-Request-Timeout` (seconds) says how long an answer is of use; what waits longer is "
    "dropped. 429 comes with `Retry-After`."
)


def _form_of(model: type[BaseModel]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "Uploaded files become the parts of the request; each other field is one "
        f"of {model.__name__}, as JSON where it is no plain text.",
        "properties": {
            "file": {
                "type": "array",
                "items": {"type": "string", "format": "binary"},
                "description": "One or several files.",
            },
            "type": {
                "type": "string",
                "enum": [AUTO, *sorted(installed())],
                "description": "What the files are; auto by default.",
            },
        },
        "required": ["file"],
    }
