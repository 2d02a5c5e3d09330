"""Writes the requests of OpenAI's Batch API to files and reads the results back: half the price.

    unibind knowledge build NAME --writer batch --batch FOLDER ...   # writes requests-001.jsonl
    (upload it, wait, download the output into FOLDER as results-001.jsonl)
    unibind knowledge build NAME --writer batch --batch FOLDER ...   # reads it, goes on

What is missing after the checks goes into the next requests file; requests that are still under
way are not written twice.
"""

import json
import threading
from pathlib import Path
from typing import Final

from unibind.errors import WriterError, WriterUnavailableError
from unibind.knowledge.chat import answer_of, chat_body
from unibind.knowledge.rows import read_jsonl
from unibind.types import Json, WriterSettings, WritingRequest, WrittenAnswer

__all__ = ["BatchWriter"]

_MOST_REQUESTS: Final = 50_000  # of one file; the service's limit
_MOST_BYTES: Final = 190_000_000  # the service's limit is 200 MB


class BatchWriter:
    """A DescriptionWriter whose answers come with a later build.

    Args:
        settings: ``files["batch"]`` is the folder; ``model`` is needed.

    Raises:
        WriterUnavailableError: The folder or the model is not named.
        InvalidInputError: A file in the folder is not JSONL.
    """

    def __init__(self, settings: WriterSettings) -> None:
        folder = settings.files.get("batch")
        if folder is None or settings.model is None:
            raise WriterUnavailableError(
                "a batch needs a folder for its files and a model: --batch FOLDER --model NAME"
            )
        self.model = settings.model
        self.lines_per_call = settings.lines_per_call or 8
        self.n_in_flight = 1
        self.sampling: dict[str, Json] = {
            "temperature": 1.0 if settings.temperature is None else settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens or 120 * self.lines_per_call + 80,
            "seed": settings.seed,
        }
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._results = _read_results(self._folder)
        self._asked = {
            str(row.get("custom_id"))
            for file in sorted(self._folder.glob("requests-*.jsonl"))
            for _, row in read_jsonl(file)
        }
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._n_written = self._n_bytes = 0

    def write(self, request: WritingRequest) -> WrittenAnswer | None:
        """Return the result of a request that came back; else write it down and return None.

        Raises:
            WriterError: The service could not answer it.
        """
        if request.key in self._results:
            return _answer_in(self._results[request.key])
        with self._lock:
            if request.key not in self._asked:
                self._asked.add(request.key)
                self._append(request)
        return None

    def _append(self, request: WritingRequest) -> None:
        row = {
            "custom_id": request.key,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": chat_body(request, model=self.model, sampling=self.sampling),
        }
        line = f"{json.dumps(row)}\n".encode()
        is_full = self._n_written == _MOST_REQUESTS or self._n_bytes + len(line) > _MOST_BYTES
        if self._file is None or is_full:
            number = 1 + len(list(self._folder.glob("requests-*.jsonl")))
            self._file = self._folder / f"requests-{number:03d}.jsonl"
            self._n_written = self._n_bytes = 0
        with self._file.open("ab") as file:
            file.write(line)
        self._n_written += 1
        self._n_bytes += len(line)


def _read_results(folder: Path) -> dict[str, Json]:
    return {
        str(row["custom_id"]): row
        for file in sorted(folder.glob("*.jsonl"))
        if not file.name.startswith("requests-")
        for _, row in read_jsonl(file)
        if "custom_id" in row
    }


def _answer_in(row: Json) -> WrittenAnswer:
    response = row.get("response") or {}
    if row.get("error") or response.get("status_code", 200) != 200:
        raise WriterError(f"the batch could not answer: {str(row.get('error') or response)[:200]}")
    return answer_of(response.get("body"))
