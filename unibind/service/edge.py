"""The edge: what happens to every request before and after its route, as one ASGI layer.

Refused here, before any of the body is read: hosts that are not ours, pages of other sites, two
lengths of one body, no or too weak a key, too many requests, too large a body.
"""

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect

from unibind.service.access import ANYBODY, Access, Caller, Role, role_for
from unibind.service.observing import Metrics
from unibind.service.refusals import Refusal
from unibind.settings import ServiceSettings
from unibind.types import Json

__all__ = ["Edge", "Visit"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("unibind.service.access")
_errors = logging.getLogger("unibind.service")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TIMEOUT = "x-request-timeout"
_MIB = 2**20
_SLOWEST_BODY = 32 * 1024  # bytes per second, over the whole body

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_API_POLICY = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    b"media-src 'self' data: blob:; font-src 'self'; connect-src 'self'; worker-src 'self' blob:; "
    b"manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


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
    """

    def __init__(
        self, app: App, *, settings: ServiceSettings, access: Access, metrics: Metrics
    ) -> None:
        self._app = app
        self._settings = settings
        self._access = access
        self._metrics = metrics
        self._n_open = 0
        self._n_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        began = time.monotonic()
        headers = _Headers(scope["headers"])
        visit = Visit(_request_id(headers), ANYBODY, began + self._settings.request_timeout_s)
        scope.setdefault("state", {})["visit"] = visit
        answer = _Answer(send, visit.request_id, is_api=_is_api(scope["path"]))
        _keep_slashes(scope)
        body = _Body(self, receive, headers, self._limit_of(scope["path"]), visit)
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

    def _check(self, scope: Scope, headers: "_Headers", visit: Visit) -> None:
        _check_framing(headers)
        self._check_host(headers)
        _check_origin(scope["method"], headers)
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

    def _check_host(self, headers: "_Headers") -> None:
        host = headers.get("host")
        if host is None:
            raise Refusal(400, "missing_host", "the request has no Host header")
        name = (urlsplit(f"//{host}").hostname or "").lower()
        allowed = self._settings.allowed_hosts
        if _is_loopback(name) or name in {self._settings.host.lower(), *map(str.lower, allowed)}:
            return
        if not allowed and self._access.has_keys:
            return
        raise Refusal(
            421,
            "wrong_host",
            "the server does not answer for this host; its operator can allow it with "
            "UNIBIND_SERVE_ALLOWED_HOSTS",
        )

    def _timeout_s(self, headers: "_Headers") -> float:
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

    def _note(self, scope: Scope, visit: Visit, answer: "_Answer", took: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "(none)"
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
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


class _Headers:
    """Request headers, each name once."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, name: str) -> str | None:
        values = self._values.get(name.encode())
        return values[0].decode("latin-1") if values else None

    def count(self, name: str) -> int:
        return len(self._values.get(name.encode(), ()))

    def key(self) -> str | None:
        scheme, _, token = (self.get("authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        return self.get("x-api-key")


class _Body:
    """The body of a request, counted and timed as it comes."""

    def __init__(
        self, edge: Edge, receive: Receive, headers: _Headers, limit: int, visit: Visit
    ) -> None:
        self._edge = edge
        self._receive = receive
        self._headers = headers
        self._limit = limit
        self._visit = visit
        self._n_come = 0
        self._n_held = 0
        self._is_whole = False
        self._began = time.monotonic()

    def announce(self) -> None:
        """Refuse what says of itself that it is too large."""
        length = self._headers.get("content-length")
        if length is not None and length.isdigit():
            self._check_size(int(length))

    async def receive(self) -> MutableMapping[str, Any]:
        if self._is_whole:  # what comes now is only that the client has gone
            return await self._receive()
        try:
            async with asyncio.timeout(self._edge._settings.body_timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise _SLOW.at(None) from None
        if message["type"] != "http.request":
            return message
        self._n_come += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        self._check_size(self._n_come)
        self._hold(len(message.get("body", b"")))
        slowest = self._edge._settings.body_timeout_s + self._n_come / _SLOWEST_BODY
        if not self._is_whole and time.monotonic() - self._began > slowest:
            raise _SLOW.at(None)
        return message

    def release(self) -> None:
        self._edge._n_held -= self._n_held
        self._n_held = 0

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self._limit:
            raise Refusal(
                413,
                "body_too_large",
                f"the body has more than {self._limit / _MIB:g} MiB; send less at once",
            )

    def _hold(self, n_bytes: int) -> None:
        if self._limit != self._edge._settings.max_body_bytes:
            return  # a stream, which is not held
        self._n_held += n_bytes
        self._edge._n_held += n_bytes
        if self._edge._n_held > max(self._edge._settings.max_held_bytes, self._n_held):
            raise Refusal(
                429,
                "overloaded",
                "the bodies of all requests together are too large; ask again later",
                retry_after_s=2,
            )


_SLOW = Refusal(408, "body_too_slow", "the body did not come in time; send it again")


class _Answer:
    """The answer as it goes out, with the headers that every answer has."""

    def __init__(self, send: Send, request_id: str, *, is_api: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._is_api = is_api
        self.status = 0
        self.code = ""

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"x-request-id", self._request_id.encode()), *_HEADERS]
            own.append((b"content-security-policy", _API_POLICY if self._is_api else _PAGE_POLICY))
            if self._is_api:
                own.append((b"cache-control", b"no-store"))
            kept = []
            for name, value in message.get("headers", ()):
                if name == _CODE:
                    self.code = value.decode()
                else:
                    kept.append((name, value))
            message = {**message, "headers": [*kept, *own]}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        if self.status:  # it has begun: the server breaks off what is not finished
            return
        self.code = refusal.code
        status, headers, content = rendered(refusal, self._request_id)
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            }
        )
        await self.send({"type": "http.response.body", "body": content})


_CODE = b"x-unibind-code"


def rendered(refusal: Refusal, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a refusal."""
    told: Mapping[str, Json] = {"error": refusal.error(request_id)}
    content = json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **refusal.headers(),
    }
    return refusal.status, headers, content


def _request_id(headers: _Headers) -> str:
    given = (headers.get("x-request-id") or "").encode("latin-1")
    return given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _is_api(path: str) -> bool:
    return path.startswith("/v1/") or path in {"/healthz", "/readyz", "/metrics", "/openapi.json"}


def _keep_slashes(scope: Scope) -> None:
    """Match keys of items as they came: a slash in a key is written %2F and stays in it."""
    raw = scope.get("raw_path", b"")
    if raw.startswith(b"/v1/items/"):
        scope["path"] = raw.split(b"?", 1)[0].decode("ascii", "replace")


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _check_framing(headers: _Headers) -> None:
    """Refuse a body whose end two servers could see in two places (request smuggling)."""
    lengths, codings = headers.count("content-length"), headers.count("transfer-encoding")
    if lengths + codings > 1 or headers.count("host") > 1:
        raise Refusal(
            400,
            "ambiguous_request",
            "the request has two lengths or two hosts; send Content-Length or Transfer-Encoding, "
            "once",
        )


def _check_origin(method: str, headers: _Headers) -> None:
    """Refuse what a page of another site makes a browser send."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    own = (headers.get("host") or "").lower()
    is_foreign = site is not None and site not in ("same-origin", "none")
    if is_foreign or (origin is not None and urlsplit(origin).netloc.lower() != own):
        raise Refusal(
            403, "cross_site", "a page of another site sent this; call the service from a program"
        )
