"""Takes lines that were written elsewhere as the answers of a build.

Unlike ``knowledge import``, which takes a file as it is, the lines go through the build's own
checks, fill its places, and can be completed by another writer.
"""

import json
from pathlib import Path
from typing import Final

from unibind.artifact import sha256_of
from unibind.errors import WriterError, WriterUnavailableError
from unibind.knowledge.importing import read_descriptions
from unibind.types import Json, WriterSettings, WritingRequest, WrittenAnswer

__all__ = ["FileWriter"]

_ANY_VIEW: Final = "general"


class FileWriter:
    """A DescriptionWriter that reads ``--from FILE`` (JSONL, CSV, text or a folder of these).

    Args:
        settings: ``files["from"]`` is the file.

    Raises:
        WriterUnavailableError: No file is named.
        InvalidInputError: The file is not readable.
    """

    def __init__(self, settings: WriterSettings) -> None:
        path = settings.files.get("from")
        if path is None:
            raise WriterUnavailableError("name the file with the lines: --from lines.jsonl")
        self._lines: dict[tuple[str, str], list[str]] = {}
        for row in read_descriptions(Path(path), view=_ANY_VIEW):
            self._lines.setdefault((row["class_name"], row["view"]), []).append(row["text"])
        self.model = settings.model or Path(path).name
        # Another content is another source, as another model would be.
        content = sha256_of(Path(path))[:12] if Path(path).is_file() else "folder"
        self.sampling: dict[str, Json] = {"content": content}
        self.lines_per_call = settings.lines_per_call or 16
        self.n_in_flight = 1

    def write(self, request: WritingRequest) -> WrittenAnswer:
        """Return the lines that the file has for the request's class, view and places.

        Raises:
            WriterError: It has none.
        """
        class_name = str(request.facts["class_name"])
        key = (class_name, request.view)
        lines = self._lines.get(key) or self._lines.get((class_name, _ANY_VIEW), [])
        found = [lines[place] for place in request.places if place < len(lines)]
        if not found:
            raise WriterError(f"{self.model} has {len(lines)} lines of {key}, more were needed")
        return WrittenAnswer(json.dumps({"lines": found}))
