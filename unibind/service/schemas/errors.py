"""The one shape of errors, and which of many faults of a request is told."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

__all__ = ["Error", "ErrorResponse", "first_fault"]


class _ErrorDetail(BaseModel):
    param: str
    message: str


class Error(BaseModel):
    """Why a request was not answered as asked."""

    message: str = Field(description="What was found, what was needed, what to do.")
    type: str
    param: str | None
    code: str | None
    request_id: str | None = None
    details: list[_ErrorDetail] | None = None


class ErrorResponse(BaseModel):
    """The shape of every error."""

    error: Error


def first_fault(errors: Sequence[Any]) -> tuple[str | None, str]:
    """Return where and what is wrong, of pydantic's list of errors: the most telling one.

    Of a union each arm complains. One that only says that it is another type was not meant; of the
    others, the deepest complaint is about what was.
    """
    telling = [each for each in errors if not str(each["type"]).endswith("_type")] or errors
    chosen = max(telling, key=lambda each: len(each["loc"]))
    place = [part for part in chosen["loc"] if isinstance(part, int) or _is_field(part)]
    return _joined(place), str(chosen["msg"]).removeprefix("Value error, ")


_ARMS = frozenset({"str", "int", "float", "bool", "list", "dict", "none"})


def _is_field(part: str) -> bool:
    """Return whether part of a location is a field, and not the name of a union's arm."""
    return part.isidentifier() and part[0].islower() and part not in _ARMS


def _joined(place: list[Any]) -> str | None:
    joined = ""
    for part in place:
        joined += f"[{part}]" if isinstance(part, int) else f".{part}" if joined else str(part)
    return joined or None
