"""``/v1/embeddings``, ``/v1/classify``, ``/v1/search`` and ``/v1/inspect``: what only reads."""

import base64
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response

from unibind.service.classes import classified
from unibind.service.intake import Asked, asked_of, runtime_of, sources_of, unless_gone, visit_of
from unibind.service.looking import inspected
from unibind.service.openapi import REFUSALS, body
from unibind.service.refusals import Refusal
from unibind.service.runtime import Runtime
from unibind.service.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    InspectRequest,
    InspectResponse,
    Part,
    SearchRequest,
    SearchResponse,
)
from unibind.service.sources import Source
from unibind.types import FloatArray, Hit, Json

__all__ = ["router"]

router = APIRouter(prefix="/v1", responses=REFUSALS)


@router.post(
    "/embeddings",
    response_model=EmbeddingsResponse,
    openapi_extra=body(EmbeddingsRequest, form=True),
    tags=["use"],
)
async def create_embeddings(request: Request) -> Response:
    """Embed texts, or items of any modality. OpenAI's clients work unchanged.

    All items are embedded, or the error names those that cannot be.
    """
    runtime = runtime_of(request)
    asked = await asked_of(request, EmbeddingsRequest)
    told = asked.told
    _check_model(runtime, told.model)
    dim = runtime.engine.space.dim
    if told.dimensions not in (None, dim):
        raise Refusal(
            400,
            "invalid_request",
            f"embeddings of this space have {dim} dimensions, not {told.dimensions}; leave "
            "dimensions out",
            "dimensions",
        )
    sources = await _sources(request, asked, _listed(told.input))
    deadline = visit_of(request).deadline
    found = await unless_gone(request, runtime.embed(sources, deadline=deadline))
    return _json(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": row, "embedding": vector}
                for row, vector in enumerate(_written(found.rows, told.encoding_format))
            ],
            "model": told.model or _name(runtime),
            "usage": {"prompt_tokens": found.n_tokens, "total_tokens": found.n_tokens},
        }
    )


@router.post(
    "/classify",
    response_model=ClassifyResponse,
    openapi_extra=body(ClassifyRequest, form=True),
    tags=["use"],
)
async def classify(request: Request) -> Response:
    """Say which of some classes each item is: classes of the call, or of a knowledge base.

    Probabilities are calibrated; an item may be of none of the classes; and the lines that decided
    are told.
    """
    runtime = runtime_of(request)
    asked = await asked_of(request, ClassifyRequest)
    sources = await _sources(request, asked, _listed(asked.told.input))
    deadline = visit_of(request).deadline
    results = await unless_gone(request, _classified(request, asked.told, sources, deadline))
    return _json({"object": "list", "model": _name(runtime), "results": results})


@router.post(
    "/search",
    response_model=SearchResponse,
    openapi_extra=body(SearchRequest, form=True),
    tags=["use"],
)
async def search(request: Request) -> Response:
    """Find the stored items nearest to a text or a file, in any modality."""
    runtime = runtime_of(request)
    asked = await asked_of(request, SearchRequest)
    sources = await _sources(request, asked, _listed(asked.told.input))
    deadline = visit_of(request).deadline
    results = await unless_gone(request, _found(runtime, asked.told, sources, deadline))
    return _json({"object": "list", "model": _name(runtime), "results": results})


@router.post(
    "/inspect",
    response_model=InspectResponse,
    openapi_extra=body(InspectRequest, form=True),
    tags=["look"],
)
async def inspect(request: Request) -> Response:
    """Show what is read of an item: its picture, and its arrays, thinned."""
    runtime = runtime_of(request)
    asked = await asked_of(request, InspectRequest)
    (source,) = await _sources(request, asked, [asked.told.input])
    shown = inspected(
        runtime, source, max_values=asked.told.max_values, deadline=visit_of(request).deadline
    )
    return _json(await unless_gone(request, shown))


async def _classified(
    request: Request, told: ClassifyRequest, sources: Sequence[Source], deadline: float
) -> list[Json]:
    runtime = runtime_of(request)
    results = await classified(runtime, told, sources, deadline=deadline)
    for result in results:
        confidence = runtime.metrics.confidence.labels(result["type"])
        confidence.observe(result["predictions"][0]["probability"])
    return results


async def _found(
    runtime: Runtime, told: SearchRequest, sources: Sequence[Source], deadline: float
) -> list[Json]:
    for name in told.into or ():
        runtime.modality(name, param="into")
    if told.hybrid and told.words is None:
        _check_texts(sources)
    embedded = await runtime.embed(sources, deadline=deadline)
    found: list[list[Hit]] = [[] for _ in sources]
    for modality in dict.fromkeys(source.modality for source in sources):
        places = [n for n, source in enumerate(sources) if source.modality == modality]
        texts = [told.words or sources[n].content for n in places]
        search = functools.partial(
            runtime.engine.store.search,
            embedded.rows[places],
            k=told.k,
            modalities=told.into,
            where=told.where,
            query_modality=modality,
            **_further(told, texts),
        )
        with runtime.metrics.timed(modality, "search", n_items=len(places)):
            hits = await runtime.in_thread(search)
        for place, listed in zip(places, hits, strict=True):
            found[place] = listed
    return [
        {"index": n, "type": source.modality, "hits": [_hit(hit) for hit in found[n]]}
        for n, source in enumerate(sources)
    ]


def _further(told: SearchRequest, texts: Sequence[Any]) -> dict[str, Any]:
    """Return the arguments of a search that not every store knows, if they were asked for."""
    wanted: dict[str, Any] = {"min_score": told.min_score, "group_by": told.group_by}
    wanted["text"] = texts if told.hybrid or told.words is not None else None
    return {name: value for name, value in wanted.items() if value is not None}


def _check_texts(sources: Sequence[Source]) -> None:
    for row, source in enumerate(sources):
        if not isinstance(source.content, str):
            raise Refusal(
                400,
                "invalid_request",
                f"hybrid ranks by the words of the input, and input {row} is no text; say the "
                "words with `words`",
                "hybrid",
            )


def _hit(hit: Hit) -> Json:
    return {
        "key": hit.key,
        "type": hit.modality,
        "score": hit.score,
        "metadata": dict(hit.metadata),
    }


async def _sources(
    request: Request, asked: Asked[Any], items: Sequence[str | Part]
) -> list[Source]:
    sources = await sources_of(request, items, asked.files)
    visit_of(request).n_items = len(sources)
    return sources


def _listed(given: str | Part | Sequence[str | Part]) -> list[str | Part]:
    return [given] if isinstance(given, str | Part) else list(given)


def _name(runtime: Runtime) -> str:
    return runtime.engine.root.name


def _check_model(runtime: Runtime, asked: str | None) -> None:
    known = (_name(runtime), *runtime.settings.model_aliases)
    if asked is not None and asked not in known:
        raise Refusal(
            404,
            "model_not_found",
            f"no model {asked!r:.80} here; there is {', '.join(known)}. The operator can serve it "
            "under further names with UNIBIND_SERVE_MODEL_ALIASES",
            "model",
        )


def _written(rows: FloatArray, encoding: str) -> list[Any]:
    if encoding == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]
    return list(np.ascontiguousarray(rows))


def _json(value: Json) -> Response:
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")
