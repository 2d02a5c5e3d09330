"""From what a server answered to unibind's own values and errors."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from unibind.client.steps import Answer
from unibind.errors import InvalidInputError, StoreError, UnibindError
from unibind.types import FloatArray, Hit, Json, Prediction, Reason

__all__ = ["check", "hit_of", "json_of", "lines_of", "predictions_of", "vector_of"]

_OF_THE_INPUT = frozenset({400, 404, 413, 415, 422})


def check(answer: Answer) -> None:
    """Raise what the server's refusal is in unibind's own errors.

    Raises:
        InvalidInputError: Something in the request is not as needed.
        StoreError: The server has no room.
        UnibindError: The server cannot be reached, or refuses for another reason.
    """
    if answer.failure:
        raise UnibindError(
            f"the server cannot be reached: {answer.failure}; see that it runs and the address is "
            "right"
        )
    if answer.status < 400:
        return
    try:
        error = json.loads(answer.content)["error"]
        told, request_id = str(error["message"]), error.get("request_id")
    except (ValueError, KeyError, TypeError):
        told, request_id = f"it answered {answer.status}", answer.headers.get("x-request-id")
    named = f" (request {request_id})" if request_id else ""
    if answer.status in _OF_THE_INPUT:
        raise InvalidInputError(f"{told}{named}")
    if answer.status == 507:
        raise StoreError(f"{told}{named}")
    raise UnibindError(f"{told}{named}")


def json_of(answer: Answer) -> Any:
    """Return the JSON of an answer.

    Raises:
        UnibindError: As in `check`.
    """
    check(answer)
    return json.loads(answer.content)


def lines_of(answer: Answer) -> list[Any]:
    """Return the JSON of each line of an answer.

    Raises:
        UnibindError: As in `check`.
    """
    check(answer)
    return [json.loads(line) for line in answer.content.splitlines() if line.strip()]


def vector_of(told: Mapping[str, Json]) -> FloatArray:
    """Return an embedding that was sent as base64, shape (D,)."""
    return np.frombuffer(base64.b64decode(told["embedding"]), dtype="<f4").astype(np.float32)


def predictions_of(result: Mapping[str, Json]) -> list[Prediction]:
    """Return the classes of one item."""
    return [
        Prediction(
            each["label"],
            each["score"],
            each["probability"],
            tuple(Reason(**reason) for reason in each["reasons"]),
        )
        for each in result["predictions"]
    ]


def hit_of(told: Mapping[str, Json]) -> Hit:
    """Return a stored item; one that was asked for by its key has score 1."""
    return Hit(told["key"], told["type"], told.get("score", 1.0), told["metadata"])
