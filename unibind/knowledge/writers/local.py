"""Writes with a small model on this machine: no server, no network, no key.

llama.cpp (through xllamacpp) runs a GGUF file, SmolLM2-135M-Instruct unless another is named. It is
a very small model: its lines are fluent and often wrong, fit for trying things out and as a start.
"""

import os
import threading
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import xllamacpp

from unibind import weights
from unibind.errors import WriterError, WriterUnavailableError
from unibind.knowledge.chat import answer_of, chat_body
from unibind.types import Json, WriterSettings, WritingRequest, WrittenAnswer

__all__ = ["LocalWriter"]

_WEIGHTS: Final = "smollm2-135m"
_TOKENS_PER_SLOT: Final = 2048  # prompt with examples and answer
_N_ATTEMPTS: Final = 16  # nothing is paid for, and one line in three repeats itself
_LINE_CHARACTERS: Final = {"minLength": 25, "maxLength": 220}


class LocalWriter:
    """A DescriptionWriter in this process.

    Args:
        settings: What a person chose; ``model`` may be the path of a GGUF file.

    Raises:
        FetchError: The weights are not here; the message names the command that brings them.
        WriterUnavailableError: There is no such file.
    """

    def __init__(self, settings: WriterSettings) -> None:
        file = _model_file(settings.model)
        self.model = file.stem
        self.n_in_flight = settings.n_in_flight or 4
        self.lines_per_call = settings.lines_per_call or 1
        self.n_attempts = _N_ATTEMPTS
        self.sampling: dict[str, Json] = {
            "temperature": 0.6 if settings.temperature is None else settings.temperature,
            "top_p": 0.95 if settings.top_p is None else settings.top_p,
            "max_tokens": settings.max_tokens or 80 * self.lines_per_call,
            "seed": settings.seed,
        }
        self._file = file
        self._loading = threading.Lock()

    @property
    def address(self) -> str:
        """The OpenAI-compatible server that llama.cpp opens on this machine, up to ``/v1``."""
        return f"{self._server.listening_address}/v1"

    @cached_property
    def _server(self) -> Any:
        """The model, loaded when the first line is asked for: a dry run does not need it."""
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(self._file)
        parameters.verbosity = 0  # it would tell of every slot on stderr
        parameters.n_parallel = self.n_in_flight
        parameters.n_ctx = self.n_in_flight * _TOKENS_PER_SLOT
        # Half the logical cores: llama.cpp's threads wait for each other at every layer, and one
        # that has lost its core to another process holds up all.
        n_threads = max(1, (os.cpu_count() or 1) // 2)
        parameters.cpuparams.n_threads = n_threads
        parameters.cpuparams_batch.n_threads = n_threads
        try:
            return xllamacpp.Server(parameters)
        except (RuntimeError, ValueError) as error:
            raise WriterUnavailableError(f"{self._file} does not load: {error}") from error

    def write(self, request: WritingRequest) -> WrittenAnswer:
        """Return the model's answer, which follows the schema unless it was cut.

        Raises:
            WriterUnavailableError: The file does not load, or there are pictures or sounds.
            WriterError: The model gave no answer.
        """
        if request.media:
            raise WriterUnavailableError(
                f"{self.model} reads text alone; describe pictures and sounds with --writer "
                "openai and a model that takes them"
            )
        with self._loading:
            server = self._server
        body = chat_body(request, model=self.model, sampling=self.sampling)
        schema = body["response_format"]["json_schema"]["schema"]
        lines = schema.get("properties", {}).get("lines")
        if lines:  # without bounds, so small a model writes "" or never stops
            bounded = {**lines, "items": {**lines["items"], **_LINE_CHARACTERS}}
            schema["properties"] = {**schema["properties"], "lines": bounded}
        try:
            return answer_of(server.handle_chat_completions(body))
        except (RuntimeError, ValueError) as error:
            raise WriterError(f"{self.model} failed: {error}") from error


def _model_file(name: str | None) -> Path:
    if name is not None and name.endswith(".gguf"):
        if not Path(name).is_file():
            raise WriterUnavailableError(f"there is no model file {name}; correct --model")
        return Path(name)
    folder = weights.path(name or _WEIGHTS)
    files = sorted(folder.glob("*.gguf"))
    if not files:
        raise WriterUnavailableError(
            f"the model {name!r} is no GGUF file; name {_WEIGHTS} or the path of one"
        )
    return files[0]
