"""What both clients share: the address, the key, and how a step becomes a request of httpx."""

import json
import os
from typing import TYPE_CHECKING, Any

from unibind.client.steps import Answer, Call
from unibind.errors import InvalidInputError, PluginError

if TYPE_CHECKING:
    import httpx

__all__ = ["Session", "answer_of", "request_of"]


class Session:
    """The address of a server, the key, and how often to try.

    Attributes:
        url: The server's address.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout_s: float = 60.0,
        n_retries: int = 4,
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise PluginError(
                "a client needs httpx, of the extra serve: pip install 'unibind[serve]'"
            ) from error
        if not url.startswith(("http://", "https://")):
            raise InvalidInputError(f"{url!r} is no address; give http://HOST:PORT or https://...")
        self.url = url.rstrip("/")
        self._n_retries = n_retries
        key = key if key is not None else os.environ.get("UNIBIND_API_KEY")
        headers = {"X-Request-Timeout": f"{timeout_s:g}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._settings: dict[str, Any] = {
            "base_url": self.url,
            "headers": headers,
            # The server gives up first, and says why.
            "timeout": httpx.Timeout(timeout_s + 5, connect=10),
        }


def request_of(call: Call) -> dict[str, Any]:
    """Return the arguments with which httpx sends a call."""
    request: dict[str, Any] = {"method": call.method, "url": call.path}
    if call.lines is not None:
        request["content"] = b"".join(json.dumps(line).encode() + b"\n" for line in call.lines)
        request["headers"] = {"Content-Type": "application/x-ndjson"}
    elif call.upload is not None:
        request["data"], request["files"] = dict(call.form or {}), {"file": call.upload}
    elif call.body is not None:
        request["json"] = call.body
    return request


def answer_of(response: "httpx.Response") -> Answer:
    """Return what a client's steps are told of a response."""
    return Answer(response.status_code, response.content, response.headers)
