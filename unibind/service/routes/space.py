"""What the space is: ``/v1/modalities``, ``/v1/models``, ``/v1/map``."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from unibind.errors import UnibindError
from unibind.modalities.registry import installed
from unibind.service.intake import runtime_of
from unibind.service.looking import Chart
from unibind.service.openapi import REFUSALS
from unibind.service.runtime import Runtime
from unibind.service.schemas import MapResponse, ModalityList, ModelList
from unibind.types import Json, Modality

__all__ = ["router"]

router = APIRouter(prefix="/v1", responses=REFUSALS, tags=["space"])


@router.get("/modalities", response_model=ModalityList)
async def list_modalities(request: Request) -> Json:
    """Return what the space reads: formats, units, limits and options of each modality."""
    runtime = runtime_of(request)
    return await runtime.in_thread(_listed, runtime)


@router.get("/models", response_model=ModelList)
async def list_models(request: Request) -> Json:
    """Return the space, as OpenAI lists its models."""
    runtime = runtime_of(request)
    names = (runtime.engine.root.name, *runtime.settings.model_aliases)
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "unibind"} for name in names
        ],
    }


@router.get("/map", response_model=MapResponse)
async def get_map(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=5000, description="Points at most.")] = 1000,
) -> Json:
    """Return a sample of the stored items on a plane, to be drawn."""
    runtime = runtime_of(request)
    chart: Chart = request.app.state.chart
    return await runtime.in_thread(chart.points, runtime, limit=limit)


def _listed(runtime: Runtime) -> Json:
    engine = runtime.engine
    known = installed()
    names = dict.fromkeys((*engine.modalities, *known))
    return {
        "object": "list",
        "model": engine.root.name,
        "dimensions": engine.space.dim,
        "data": [_entry(runtime, known[name]) for name in names if name in known],
    }


def _entry(runtime: Runtime, modality: Modality) -> Json:
    engine, name = runtime.engine, modality.name
    is_embedded = runtime.reaches(name)
    encoders = {runtime.text: engine.space.text_encoder, **engine.space.encoders}
    why = runtime.why_unavailable(name)
    if not is_embedded and why is None:
        why = (
            f"nothing leads from {name} into this space yet; train a head with `unibind align "
            f"--modality {name}`"
        )
    return {
        "type": name,
        "units": modality.units,
        "formats": list(modality.suffixes),
        "takes_text": modality.str_is_item,
        "options": dict(modality.options),
        "limits": {limit: float(value) for limit, value in modality.limits.items()},
        "encoder": encoders.get(name, ""),
        "has_head": is_embedded and _has_head(runtime, name),
        "draws": modality.draw is not None,
        "available": is_embedded,
        "unavailable_because": why,
        "stored": engine.count(name),
    }


def _has_head(runtime: Runtime, name: str) -> bool:
    try:
        return runtime.engine.head(name) is not None
    except UnibindError:
        return False
