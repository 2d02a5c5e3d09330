"""One request and its answer as they pass the edge: headers, the body as it comes, the answer."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from unibind.service.refusals import Refusal
from unibind.settings import ServiceSettings
from unibind.types import Json

__all__ = ["Answer", "App", "Body", "Headers", "Held", "Receive", "Scope", "Send", "rendered"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

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
class Held:
    """Bytes of bodies that are held now, of all requests together."""

    n_bytes: int = 0


class Headers:
    """Request headers, by name."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, name: str) -> str | None:
        """Return the first value of a name in small letters."""
        values = self._values.get(name.encode())
        return values[0].decode("latin-1") if values else None

    def count(self, name: str) -> int:
        """Return how often a name stands among them."""
        return len(self._values.get(name.encode(), ()))

    def key(self) -> str | None:
        """Return the key that the request came with."""
        scheme, _, token = (self.get("authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        return self.get("x-api-key")


class Body:
    """The body of a request, counted and timed as it comes.

    Args:
        receive: What it comes from.
        headers: Of the request.
        limit: How many bytes it may have.
        held: Those of all requests, to which it adds.
        settings: Of the deployment.
    """

    def __init__(
        self,
        receive: Receive,
        headers: Headers,
        *,
        limit: int,
        held: Held,
        settings: ServiceSettings,
    ) -> None:
        self._receive = receive
        self._headers = headers
        self._limit = limit
        self._held = held
        self._settings = settings
        self._n_come = 0
        self._n_held = 0
        self._is_whole = False
        self._began = time.monotonic()

    def announce(self) -> None:
        """Refuse what says of itself that it is too large.

        Raises:
            Refusal: It does.
        """
        length = self._headers.get("content-length")
        if length is not None and length.isdigit():
            self._check_size(int(length))

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next message of the body.

        Raises:
            Refusal: It is too large, too slow, or too much together with others.
        """
        if self._is_whole:  # what comes now is only that the client has gone
            return await self._receive()
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise _SLOW.at(None) from None
        if message["type"] != "http.request":
            return message
        self._n_come += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        self._check_size(self._n_come)
        self._hold(len(message.get("body", b"")))
        slowest = self._settings.body_timeout_s + self._n_come / _SLOWEST_BODY
        if not self._is_whole and time.monotonic() - self._began > slowest:
            raise _SLOW.at(None)
        return message

    def release(self) -> None:
        """Hold it no longer."""
        self._held.n_bytes -= self._n_held
        self._n_held = 0

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self._limit:
            raise Refusal(
                413,
                "body_too_large",
                f"the body has more than {self._limit / _MIB:g} MiB; send less at once",
            )

    def _hold(self, n_bytes: int) -> None:
        if self._limit != self._settings.max_body_bytes:
            return  # a stream, which is not held
        self._n_held += n_bytes
        self._held.n_bytes += n_bytes
        if self._held.n_bytes > max(self._settings.max_held_bytes, self._n_held):
            raise Refusal(
                429,
                "overloaded",
                "the bodies of all requests together are too large; ask again later",
                retry_after_s=2,
            )


_SLOW = Refusal(408, "body_too_slow", "the body did not come in time; send it again")


class Answer:
    """The answer as it goes out, with the headers that every answer has.

    Args:
        send: Where it goes.
        request_id: Its request's.
        is_api: Whether a program reads it, and not a browser.
        traceparent: Of its trace, if it has one.

    Attributes:
        status: HTTP status, 0 before it began.
        code: Of the refusal, if it is one.
    """

    def __init__(self, send: Send, request_id: str, *, is_api: bool, traceparent: str = "") -> None:
        self._send = send
        self._request_id = request_id
        self._is_api = is_api
        self._traceparent = traceparent
        self.status = 0
        self.code = ""

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Pass a message on, with the headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"x-request-id", self._request_id.encode()), *_HEADERS]
            own.append((b"content-security-policy", _API_POLICY if self._is_api else _PAGE_POLICY))
            if self._is_api:
                own.append((b"cache-control", b"no-store"))
            if self._traceparent:
                own.append((b"traceparent", self._traceparent.encode()))
            kept = []
            for name, value in message.get("headers", ()):
                if name == _CODE:
                    self.code = value.decode()
                else:
                    kept.append((name, value))
            message = {**message, "headers": [*kept, *own]}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, unless something else is being answered already."""
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
