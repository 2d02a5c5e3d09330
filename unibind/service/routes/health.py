"""``/healthz``, ``/readyz`` and ``/metrics``: for those who run the service."""

from fastapi import APIRouter, Request, Response

from unibind.service.intake import runtime_of
from unibind.service.observing import CONTENT_TYPE
from unibind.service.schemas import ReadyResponse
from unibind.types import Json

__all__ = ["router"]

router = APIRouter(tags=["operation"])


@router.get("/healthz", response_model=ReadyResponse)
async def is_alive() -> Json:
    """Answer, which is all that is asked: the process is there."""
    return {"status": "alive", "faults": {}}


@router.get(
    "/readyz",
    response_model=ReadyResponse,
    responses={503: {"model": ReadyResponse, "description": "Something does not work."}},
)
async def is_ready(request: Request, response: Response) -> Json:
    """Say whether everything works, by a real forward pass through each model in use."""
    health = await runtime_of(request).health()
    if health.faults:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return {"status": "not ready" if health.faults else "ready", "faults": dict(health.faults)}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus's text format."}},
)
async def show_metrics(request: Request) -> Response:
    """Return metrics for Prometheus."""
    runtime = runtime_of(request)
    await runtime.in_thread(runtime.note_queues)
    return Response(runtime.metrics.text(), media_type=CONTENT_TYPE)
