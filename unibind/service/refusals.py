"""How the service says no: one exception, one JSON shape, OpenAI's with a request id."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from unibind.errors import (
    ArtifactError,
    FetchError,
    InvalidInputError,
    PluginError,
    SpaceMismatchError,
    StoreError,
    UnibindError,
)
from unibind.types import Json

__all__ = ["Detail", "Refusal", "refusal_of"]

_PATH = re.compile(r"(?<![\w:/.])(?:/[\w.@+-]+){2,}/?|\b[A-Za-z]:\\[^\s'\"]+")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


@dataclass(frozen=True, slots=True)
class Detail:
    """One of several things that are wrong.

    Attributes:
        param: Which part of the request, as ``input[3]``.
        message: What was found, what was needed, what to do.
    """

    param: str
    message: str


class Refusal(Exception):  # noqa: N818 - it refuses; it need not be an error
    """A request, or one item of it, that is not answered as asked.

    Attributes:
        status: HTTP status.
        code: Name of the reason, for programs.
        message: What was found, what was needed, what to do; for people.
        param: Which part of the request, if it is one.
        retry_after_s: When to ask again, if asking again helps.
        details: The single faults, if there are several.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        *,
        retry_after_s: float | None = None,
        details: Sequence[Detail] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.details = details

    def at(self, param: str | None) -> "Refusal":
        """Return the same refusal, of a named part of the request."""
        return Refusal(
            self.status,
            self.code,
            self.message,
            param,
            retry_after_s=self.retry_after_s,
            details=self.details,
        )

    def error(self, request_id: str | None = None) -> dict[str, Json]:
        """Return what stands under ``error`` in an answer."""
        error: dict[str, Json] = {
            "message": self.message,
            "type": _TYPES.get(self.status)
            or ("invalid_request_error" if self.status < 500 else "server_error"),
            "param": self.param,
            "code": self.code,
        }
        if request_id is not None:
            error["request_id"] = request_id
        if self.details:
            error["details"] = [
                {"param": each.param, "message": each.message} for each in self.details
            ]
        return error

    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, ceil(self.retry_after_s)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


_UNAVAILABLE = (
    (StoreError, "store_unavailable", "the store cannot be used now"),
    (ArtifactError, "artifact_unusable", "a part of the space on disk cannot be used"),
    (FetchError, "weights_missing", "weights that this needs are not on the server"),
    (PluginError, "plugin_missing", "a part that this needs is not installed on the server"),
)


def refusal_of(error: UnibindError, *, param: str | None = None) -> Refusal:
    """Return how an error of unibind is told to a client.

    What is wrong with the client's own input is told in full, without paths. What is wrong with
    the server is told in general; its log has the rest.
    """
    if isinstance(error, InvalidInputError | SpaceMismatchError):
        return Refusal(400, "invalid_input", without_paths(str(error)), param)
    for kind, code, told in _UNAVAILABLE:
        if isinstance(error, kind):
            return Refusal(
                503,
                code,
                f"{told}; the server's log says why, look there for this request's id",
                param,
                retry_after_s=5,
            )
    return Refusal(500, "internal_error", "the server failed; its log says why", param)


def without_paths(message: str) -> str:
    """Return a message in which no path of this machine stands."""
    return _PATH.sub("(a file)", message)
