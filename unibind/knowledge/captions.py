"""Instance descriptions: one caption or more for each picture or sound, as training text.

A base of captions is a knowledge base whose classes are files: the same build, cache, checks,
review and diff serve it. `caption_rows` turns it into a manifest that the data readers take.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from unibind.errors import InvalidInputError
from unibind.knowledge.plan import Plan
from unibind.knowledge.prompts import special_prompt
from unibind.knowledge.values import KnowledgeBase
from unibind.types import Json

__all__ = ["caption_plan", "caption_rows"]

_KINDS: Final = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".wav": "audio/wav",
    ".mp3": "audio/mp3",
}
_MOST_BYTES: Final = 20_000_000  # what the usual servers take


def caption_plan(
    paths: Sequence[Path], *, n_lines: int = 1, n_attempts: int = 4, language: str = "en"
) -> Plan:
    """Return the plan that has files described.

    Args:
        paths: Files, or folders of files; the folder that a file lies in becomes its group.
        n_lines: Captions for each file.
        n_attempts: How often a caption is asked for before it is reported as missing.
        language: The language of the captions.

    Raises:
        InvalidInputError: A path is missing, nothing can be described, or a file is too large.
    """
    files = list(dict.fromkeys(file for path in paths for file in _files(path)))
    if not files:
        raise InvalidInputError(
            f"no picture or sound to describe; files that end in {', '.join(_KINDS)} are taken"
        )
    for file in files:
        if file.stat().st_size > _MOST_BYTES:
            raise InvalidInputError(
                f"{file} has {file.stat().st_size:,} bytes, servers take {_MOST_BYTES:,}; shrink it"
            )
    return Plan(
        classes=tuple(file.as_posix() for file in files),
        groups={file.as_posix(): file.parent.name for file in files if file.parent.name},
        prompts=((special_prompt("caption"), n_lines),),
        n_attempts=n_attempts,
        language=language,
        media_of=_media,
    )


def caption_rows(base: KnowledgeBase) -> Iterator[dict[str, Json]]:
    """Yield a base of captions as rows of a data manifest: path, caption, label."""
    for line in base.lines:
        row = {"path": line.class_name, "caption": line.text}
        yield row | ({"label": line.group} if line.group else {})


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = (file for file in path.rglob("*") if file.is_file())
        return sorted(file for file in found if file.suffix.lower() in _KINDS)
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}; correct the path")
    if path.suffix.lower() not in _KINDS:
        raise InvalidInputError(
            f"{path} ends in {path.suffix!r}; files that end in {', '.join(_KINDS)} are taken"
        )
    return [path]


def _media(name: str) -> tuple[tuple[str, bytes], ...]:
    path = Path(name)
    return ((_KINDS[path.suffix.lower()], path.read_bytes()),)
