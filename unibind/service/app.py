"""The application: routes around one runtime, within the edge."""

import asyncio
import contextlib
import mimetypes
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from unibind.engine import Engine
from unibind.engine import open as open_engine
from unibind.errors import UnibindError
from unibind.service.access import Access, KeyRing
from unibind.service.aligning import Runs
from unibind.service.edge import Edge
from unibind.service.exchange import rendered
from unibind.service.fetching import Fetcher
from unibind.service.intake import visit_of
from unibind.service.logs import Audit
from unibind.service.looking import Chart
from unibind.service.observing import Metrics
from unibind.service.openapi import document
from unibind.service.refusals import Refusal, refusal_of
from unibind.service.routes import alignments, embedding, health, items, knowledge, space
from unibind.service.runtime import Runtime
from unibind.service.schemas import first_fault
from unibind.service.tracing import open_traces
from unibind.settings import ServiceSettings

__all__ = ["AUDIT", "KEYS", "create_app"]

KEYS = "keys.json"
AUDIT = "audit.jsonl"
_CONSOLE = Path(__file__).parent / "console"
_STATUS_CODES = {404: "not_found", 405: "method_not_allowed"}


def create_app(
    settings: ServiceSettings,
    *,
    open_space: Callable[[], Engine] | None = None,
    fetcher: Fetcher | None = None,
) -> Edge:
    """Return the service of a space as an ASGI application.

    The space is opened at once, so that a wrong name or a missing weight is told at the start.

    Args:
        settings: Of the deployment.
        open_space: How the space is opened; by its name in the settings if None.
        fetcher: What fetches URLs.

    Raises:
        ArtifactError: There is no such space, or the keys cannot be read.
        FetchError: The weights of its text tower are not here yet.
        InvalidInputError: Others could reach it without a key.
        PluginError: Traces are to be sent, and OpenTelemetry is not installed.
    """
    traces = open_traces(settings)
    opened = open_space or (lambda: open_engine(settings.space))
    metrics = Metrics()
    first = opened()
    root = first.root
    ring = KeyRing(settings.keys_file or root / KEYS)
    master = settings.api_key.get_secret_value() if settings.api_key is not None else None
    access = Access(ring, master=master, rate_per_minute=settings.rate_per_minute)
    settings.check_access(has_key=access.has_keys)
    runtime = Runtime(_first_then(first, opened), settings, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(asyncio.to_thread(runtime.warm))
        try:
            yield
        finally:
            await warming
            app.state.runs.close()
            await asyncio.to_thread(runtime.close)
            app.state.audit.close()
            if traces is not None:
                await asyncio.to_thread(traces.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.state.runtime = runtime
    app.state.fetcher = fetcher or Fetcher(settings)
    app.state.chart = Chart()
    app.state.audit = Audit(settings.audit_file or root / AUDIT)
    app.state.runs = Runs(root, runtime.reload)
    for each in (embedding, items, space, knowledge, alignments, health):
        app.include_router(each.router)
    _serve_console(app)
    _answer_errors(app)
    _document(app)
    return Edge(app, settings=settings, access=access, metrics=metrics, traces=traces)


def _first_then(first: Engine, opened: Callable[[], Engine]) -> Callable[[], Engine]:
    """Return an opener that returns the engine that is open already, and then opens new ones."""
    ready = [first]
    return lambda: ready.pop() if ready else opened()


def _serve_console(app: FastAPI) -> None:
    """Serve the files of the console, read once: nothing in a request names a path."""
    files = {
        path.relative_to(_CONSOLE).as_posix(): path.read_bytes()
        for path in sorted(_CONSOLE.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    if "index.html" in files:
        files[""] = files["index.html"]

    async def page(request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        if name not in files:
            raise Refusal(404, "not_found", "there is nothing here; the API is under /v1/")
        kind, _ = mimetypes.guess_type(name or "index.html")
        return Response(
            files[name],
            media_type=kind or "application/octet-stream",
            headers={"Cache-Control": "no-cache"},
        )

    app.add_api_route("/{path:path}", page, methods=["GET", "HEAD"], include_in_schema=False)


def _answer_errors(app: FastAPI) -> None:
    """Give every error the one shape."""

    async def refuse(request: Request, error: Exception) -> Response:
        refusal = _refusal(error)
        status, headers, content = rendered(refusal, visit_of(request).request_id)
        return Response(content, status, headers | {"X-Unibind-Code": refusal.code})

    for kind in (Refusal, UnibindError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, refuse)


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UnibindError):
        return refusal_of(error)
    if isinstance(error, RequestValidationError):
        param, told = first_fault(list(error.errors()))
        place = (param or "").partition(".")[2] or param
        return Refusal(400, "invalid_request", told, place)
    assert isinstance(error, HTTPException)
    code = _STATUS_CODES.get(error.status_code, "http_error")
    return Refusal(error.status_code, code, str(error.detail))


def _document(app: FastAPI) -> None:
    """Let the document be written once, when it is first asked for."""
    written: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not written:
            written.append(document(app))
        return written[0]

    cast(Any, app).openapi = openapi
