"""The edge: what happens to every request before and after its route, as one ASGI layer.

Refused here, before any of the body is read: hosts that are not ours, pages of other sites, two
lengths of one body, no or too weak a key, too many requests, too large a body.
"""

import logging
import re
import time
import uuid
from dataclasses import dataclass

from starlette.requests import ClientDisconnect

from unibind.service.access import ANYBODY, Access, Caller, Role, role_for
from unibind.service.exchange import (
    Answer,
    App,
    Body,
    Headers,
    Held,
    Receive,
    Scope,
    Send,
)
from unibind.service.guards import check_framing, check_host, check_origin
from unibind.service.observing import Metrics
from unibind.service.refusals import Refusal
from unibind.service.stages import collected
from unibind.service.tracing import Trace, Traces
from unibind.settings import ServiceSettings

__all__ = ["Edge", "Visit"]

_log = logging.getLogger("unibind.service.access")
_errors = logging.getLogger("unibind.service")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TIMEOUT = "x-request-timeout"


@dataclass(slots=True)
class Visit:
    """One request, as routes know it: ``request.state.visit``.

    Attributes:
        request_id: Its name in logs and answers.
        caller: Who asks.
        deadline: By `time.monotonic`, when nobody wants the answer any more.
        n_items: How many items it had, for the log.
    """

    request_id: str
    caller: Caller
    deadline: float
    n_items: int = 0


class Edge:
    """Wraps an ASGI application.

    Args:
        app: What answers.
        settings: Of the deployment.
        access: Who may ask.
        metrics: Where requests are counted.
        traces: What sends spans of them; None sends none.
    """

    def __init__(
        self,
        app: App,
        *,
        settings: ServiceSettings,
        access: Access,
        metrics: Metrics,
        traces: Traces | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._access = access
        self._metrics = metrics
        self._traces = traces
        self._n_open = 0
        self._held = Held()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope["headers"])
        trace = self._trace(scope["path"], headers)
        if trace is None:
            await self._answer(scope, receive, send, headers)
            return
        with collected() as stages:
            visit, answer = await self._answer(scope, receive, send, headers, trace.parent)
        trace.end(
            stages,
            name=f"{_method_of(scope)} {_route_of(scope)}",
            status=answer.status,
            code=answer.code,
            told={
                "http.request.method": _method_of(scope),
                "http.route": _route_of(scope),
                "unibind.request_id": visit.request_id,
                "unibind.items": visit.n_items,
            },
        )

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, traceparent: str = ""
    ) -> tuple[Visit, Answer]:
        began = time.monotonic()
        visit = Visit(_request_id(headers), ANYBODY, began + self._settings.request_timeout_s)
        scope.setdefault("state", {})["visit"] = visit
        answer = Answer(
            send, visit.request_id, is_api=_is_api(scope["path"]), traceparent=traceparent
        )
        _keep_slashes(scope)
        body = Body(
            receive,
            headers,
            limit=self._limit_of(scope["path"]),
            held=self._held,
            settings=self._settings,
        )
        self._n_open += 1
        try:
            self._check(scope, headers, visit)
            body.announce()
            await self._app(scope, body.receive, answer.send)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except ClientDisconnect:
            answer.code = "client_gone"
        # The edge of the service: whatever went wrong in it, the client gets an answer in the
        # one shape, without a trace, and the log gets the rest.
        except Exception:  # noqa: BLE001
            _errors.exception("a request failed", extra={"request_id": visit.request_id})
            await answer.refuse(
                Refusal(500, "internal_error", "the server failed; its log says why")
            )
        finally:
            self._n_open -= 1
            body.release()
            self._note(scope, visit, answer, time.monotonic() - began)
        return visit, answer

    def _trace(self, path: str, headers: Headers) -> Trace | None:
        """Return the trace of a request; None if none is wanted, or it only watches the service."""
        if self._traces is None or not path.startswith("/v1/"):
            return None
        return self._traces.begin(
            traceparent=headers.get("traceparent"), tracestate=headers.get("tracestate")
        )

    def _check(self, scope: Scope, headers: Headers, visit: Visit) -> None:
        check_framing(headers)
        self._check_host(headers)
        check_origin(scope["method"], headers)
        needed = role_for(scope["method"], scope["path"])
        if needed is None:
            return
        peer = (scope.get("client") or ("unknown", 0))[0]
        visit.caller = self._access.caller(headers.key(), str(peer))
        if visit.caller.role < needed:
            raise Refusal(
                403,
                "forbidden",
                f"this needs a key of the role {needed.name.lower()}; "
                f"{visit.caller.name!r} is of the role {visit.caller.role.name.lower()}",
            )
        self._access.admit(visit.caller)
        visit.deadline = time.monotonic() + self._timeout_s(headers)
        if self._n_open > self._settings.max_requests and needed is not Role.ADMIN:
            raise Refusal(
                429,
                "overloaded",
                f"{self._n_open - 1} requests are being worked on; ask again later",
                retry_after_s=1,
            )

    def _check_host(self, headers: Headers) -> None:
        allowed = self._settings.allowed_hosts
        check_host(
            headers,
            {self._settings.host.lower(), *map(str.lower, allowed)},
            takes_any=not allowed and self._access.has_keys,
        )

    def _timeout_s(self, headers: Headers) -> float:
        given = headers.get(_TIMEOUT)
        if given is None:
            return self._settings.request_timeout_s
        try:
            seconds = float(given)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < 1e6:
            raise Refusal(
                400, "invalid_timeout", f"{_TIMEOUT} is {given!r:.40}; seconds above 0 were needed"
            )
        return min(seconds, self._settings.request_timeout_s)

    def _limit_of(self, path: str) -> int:
        limits = {
            "/v1/items:batch": self._settings.max_stream_bytes,
            "/v1/alignments": self._settings.max_upload_bytes,
        }
        return limits.get(path, self._settings.max_body_bytes)

    def _note(self, scope: Scope, visit: Visit, answer: Answer, took: float) -> None:
        route, method = _route_of(scope), _method_of(scope)
        self._metrics.requests.labels(route, method, str(answer.status)).inc()
        self._metrics.seconds.labels(route).observe(took)
        if answer.code:
            self._metrics.rejections.labels(answer.code).inc()
        _log.info(
            "request",
            extra={
                "request_id": visit.request_id,
                "method": method,
                "route": route,
                "status": answer.status,
                "ms": round(1000 * took, 1),
                "caller": visit.caller.name,
                "items": visit.n_items,
                **({"code": answer.code} if answer.code else {}),
            },
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"})


def _route_of(scope: Scope) -> str:
    """Return the route as it is declared: no path, in which keys of items stand."""
    return getattr(scope.get("route"), "path", None) or "(none)"


def _method_of(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "(other)"


def _request_id(headers: Headers) -> str:
    given = (headers.get("x-request-id") or "").encode("latin-1")
    return given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _is_api(path: str) -> bool:
    return path.startswith("/v1/") or path in {"/healthz", "/readyz", "/metrics", "/openapi.json"}


def _keep_slashes(scope: Scope) -> None:
    """Match keys of items as they came: a slash in a key is written %2F and stays in it."""
    raw = scope.get("raw_path", b"")
    if raw.startswith(b"/v1/items/"):
        scope["path"] = raw.split(b"?", 1)[0].decode("ascii", "replace")
