"""Writes through any server that speaks OpenAI's chat completions.

The client's own retries take rate limits (honouring Retry-After), time-outs, resets and server
errors. The key comes from the environment variable OPENAI_API_KEY alone and is kept out of every
message; a server on this machine needs none.
"""

import os
import time
from typing import Final

import openai

from unibind.errors import WriterError, WriterUnavailableError
from unibind.knowledge.chat import answer_of, chat_body
from unibind.types import Json, WriterSettings, WritingRequest, WrittenAnswer

__all__ = ["OpenAIWriter"]

_KEY_VARIABLE: Final = "OPENAI_API_KEY"
_CLIENT_WAIT_S: Final = 120.0  # what the client itself is ready to wait
_LONGEST_WAIT_S: Final = 600.0  # a longer Retry-After is a failure, not a pause


class OpenAIWriter:
    """A DescriptionWriter over HTTP.

    Args:
        settings: What a person chose.

    Raises:
        WriterUnavailableError: The address is wrong, or no model is named and the server does
            not offer exactly one.
    """

    def __init__(self, settings: WriterSettings) -> None:
        self._key = os.environ.get(_KEY_VARIABLE, "")
        is_public = settings.base_url is None and not os.environ.get("OPENAI_BASE_URL")
        self._lacks_key = is_public and not self._key
        self._n_retries = 6 if settings.n_retries is None else settings.n_retries
        try:
            self._client = openai.OpenAI(
                api_key=self._key or "none",
                base_url=settings.base_url,
                timeout=settings.timeout_s or 120.0,
                max_retries=self._n_retries,
            )
        except (openai.OpenAIError, ValueError) as error:
            raise WriterUnavailableError(self._told(error)) from error
        self.n_in_flight = settings.n_in_flight or 16
        self.lines_per_call = settings.lines_per_call or 8
        self.sampling: dict[str, Json] = {
            "temperature": 1.0 if settings.temperature is None else settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens or 120 * self.lines_per_call + 80,
            "seed": settings.seed,
        }
        self._is_structured = True
        self.model = settings.model or self._only_model()

    def write(self, request: WritingRequest) -> WrittenAnswer:
        """Return the server's answer.

        Raises:
            WriterUnavailableError: The key is missing, or key, model or address are wrong.
            WriterError: The server gave no answer after all retries, or one without text.
        """
        self._need_key()
        for attempt in range(self._n_retries + 1):
            try:
                return self._ask(request)
            except openai.RateLimitError as error:
                wait_s = _long_wait_s(error)
                if getattr(error, "code", None) == "insufficient_quota":
                    raise WriterUnavailableError(self._told(error)) from error
                if wait_s is None or attempt == self._n_retries:
                    raise WriterError(self._told(error)) from error
                time.sleep(wait_s)
            except (
                openai.AuthenticationError,
                openai.PermissionDeniedError,
                openai.NotFoundError,
            ) as error:
                raise WriterUnavailableError(self._told(error)) from error
            except (openai.OpenAIError, ValueError) as error:
                # ValueError: a body that is not JSON although the status was 200.
                raise WriterError(self._told(error)) from error
        raise WriterError("the server asked to wait, again and again")

    def _ask(self, request: WritingRequest) -> WrittenAnswer:
        structured = self._is_structured
        try:
            return self._post(request, structured=structured)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            if not structured:
                raise
        # Perhaps the server takes no JSON schema: ask in words alone; if that works, remember.
        answer = self._post(request, structured=False)
        self._is_structured = False
        return answer

    def _post(self, request: WritingRequest, *, structured: bool) -> WrittenAnswer:
        body = chat_body(request, model=self.model, sampling=self.sampling, structured=structured)
        # Not `chat.completions.create`: its typed messages and models cost as much as the call.
        return answer_of(self._client.post("/chat/completions", body=body, cast_to=object))

    def _need_key(self) -> None:
        if self._lacks_key:  # only now: a dry run needs none
            raise WriterUnavailableError(
                f"no key: set {_KEY_VARIABLE} in the environment, or name a server that needs "
                "none (--base-url http://127.0.0.1:8000/v1), or use --writer local"
            )

    def _only_model(self) -> str:
        self._need_key()
        try:
            names = [model.id for model in self._client.models.list()]
        except (openai.OpenAIError, ValueError) as error:
            raise WriterUnavailableError(
                f"no --model was named and the server does not list any: {self._told(error)}"
            ) from error
        if len(names) != 1:
            raise WriterUnavailableError(
                f"name a model with --model; the server has {', '.join(sorted(names)[:20])}"
            )
        return names[0]

    def _told(self, error: Exception) -> str:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        return text.replace(self._key, "***") if self._key else text


def _long_wait_s(error: openai.RateLimitError) -> float | None:
    """Return a wait that the server asks for and the client's retries do not grant, in seconds."""
    try:
        wait_s = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return wait_s if _CLIENT_WAIT_S < wait_s <= _LONGEST_WAIT_S else None
