"""What a client does, one step after another, without a socket: what is sent, and what came."""

import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from unibind.types import Json

__all__ = ["Answer", "Call", "Steps", "Wait", "tried"]

T = TypeVar("T")

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_RETRIED = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        method: HTTP's.
        path: Below the server's address.
        body: Sent as JSON.
        lines: Or each sent as a line of JSON.
        form: Or sent as fields of a form,
        upload: with this file: its name and its content.
    """

    method: str
    path: str
    body: Json = None
    lines: Sequence[Json] | None = None
    form: Mapping[str, str] | None = None
    upload: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: a status and a body, or why nothing came."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""


Steps = Generator[Call | Wait, Answer, T]
"""Yields what is to be done, is sent what came of it, and returns a result."""


def tried(steps: Steps[T], n_retries: int) -> Steps[T]:
    """Pass steps on, and repeat a call that a later try may answer."""
    step = next(steps)
    while True:
        if isinstance(step, Wait):
            yield step
            step = next(steps)
            continue
        answer = yield step
        for n_tried in range(n_retries):
            if answer.status not in _RETRIED and not answer.failure:
                break
            yield Wait(_pause_s(answer, n_tried))
            answer = yield step
        try:
            step = steps.send(answer)
        except StopIteration as finished:
            result: T = finished.value
            return result


def _pause_s(answer: Answer, n_tried: int) -> float:
    """Return how long to wait: as the server says, or twice as long each time, not all at once."""
    told = answer.headers.get("retry-after", "")
    if told.isdigit():
        return min(float(told), _LONGEST_WAIT_S)
    longest = min(_FIRST_WAIT_S * 2**n_tried, _LONGEST_WAIT_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret
