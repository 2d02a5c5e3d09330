"""What a build is asked for: which classes, which prompts, how many lines of each."""

import csv
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from unibind.errors import InvalidInputError
from unibind.knowledge.prompts import Prompt, digest_of
from unibind.knowledge.rows import read_classes
from unibind.knowledge.values import Source
from unibind.protocols import DescriptionWriter
from unibind.types import Json

__all__ = [
    "Plan",
    "Wish",
    "classes_from",
    "pairs_from",
    "source_id",
    "source_of",
    "split_lines",
]

_LONGEST_NAME: Final = 300
_JOINERS: Final = frozenset("\u200d\ufe0f")  # parts of an emoji


@dataclass(frozen=True, slots=True)
class Wish:
    """So many lines of one prompt for one class.

    Attributes:
        prompt: The prompt.
        source: Key of the provenance that the lines will have.
        n_lines: How many.
        against: The other class of a contrastive prompt, else "".
    """

    prompt: Prompt
    source: str
    n_lines: int
    against: str = ""


@dataclass(frozen=True)
class Plan:
    """What a build is asked for.

    Attributes:
        classes: Names, in order.
        groups: Class name to group.
        prompts: (prompt, lines of it for each class).
        pairs: (class, other class) pairs for the contrastive prompt.
        n_per_pair: Lines for each pair.
        contrast: The contrastive prompt; needed if there are pairs.
        n_attempts: How often a place is asked for before it is reported as missing.
        language: The language of the lines.
        media_of: Reads what a class shows, if the classes stand for files.
    """

    classes: tuple[str, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    prompts: tuple[tuple[Prompt, int], ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    n_per_pair: int = 0
    contrast: Prompt | None = None
    n_attempts: int = 4
    language: str = "en"
    media_of: Callable[[str], tuple[tuple[str, bytes], ...]] = lambda class_name: ()

    def wishes(self, class_name: str, writer: DescriptionWriter) -> list[Wish]:
        """Return what is wished for a class."""
        wishes = [
            Wish(prompt, source_id(prompt, writer), n_lines) for prompt, n_lines in self.prompts
        ]
        if self.contrast is not None:
            source = source_id(self.contrast, writer)
            wishes += [
                Wish(self.contrast, source, self.n_per_pair, other)
                for name, other in self.pairs
                if name == class_name
            ]
        return wishes

    def as_json(self) -> dict[str, Json]:
        """Return the plan as it is kept in the manifest; the classes stand in classes.csv."""
        return {
            "prompts": {prompt.id: n_lines for prompt, n_lines in self.prompts},
            "n_attempts": self.n_attempts,
            "language": self.language,
        }


def source_id(prompt: Prompt, writer: DescriptionWriter) -> str:
    """Return the short id of a provenance: prompt, version, hash of prompt, model and sampling."""
    digest = digest_of([prompt.digest, writer.model, dict(writer.sampling)])
    return f"{prompt.id}-{prompt.version}-{digest[:8]}"


def source_of(prompt: Prompt, writer: DescriptionWriter, *, writer_name: str) -> Source:
    """Return the provenance of the lines that a writer writes to a prompt."""
    return Source(
        writer=writer_name,
        generator=writer.model,
        prompt=prompt.id,
        prompt_version=prompt.version,
        sampling=dict(writer.sampling),
        note=f"prompt text {prompt.digest}",
    )


def split_lines(n_lines: int, prompts: Sequence[Prompt]) -> tuple[tuple[Prompt, int], ...]:
    """Return how many of a class's lines each prompt gets: even shares, the first ones one more.

    A larger number never takes a line from a prompt, so a base can grow.

    Raises:
        InvalidInputError: There are fewer lines than prompts, or no prompt.
    """
    if not prompts or n_lines < len(prompts):
        raise InvalidInputError(
            f"{n_lines} lines per class for {len(prompts)} views; at least one line a view is "
            "needed: raise --per-class or name fewer --views"
        )
    share, rest = divmod(n_lines, len(prompts))
    return tuple((prompt, share + (at < rest)) for at, prompt in enumerate(prompts))


def classes_from(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return class names and groups from a CSV file's path or from ``a,b,c``.

    Raises:
        InvalidInputError: The file is missing, the list is empty, or a name is empty, too long,
            has invisible characters, or stands twice (differences of case, width and space do
            not count).
    """
    path = Path(text)
    if len(text) < _LONGEST_NAME and path.suffix.lower() in (".csv", ".txt"):
        if not path.is_file():
            raise InvalidInputError(
                f"there is no file {path}; correct --classes, or list names: a,b,c"
            )
        try:
            names, groups = read_classes(path)
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{path} is not UTF-8 text ({error})") from error
    else:
        names, groups = tuple(next(csv.reader([text], skipinitialspace=True), [])), {}
    cleaned = {name: " ".join(name.split(" ")).strip() for name in names}
    _check_names(tuple(cleaned.values()) if len(cleaned) == len(names) else names)
    return tuple(cleaned.values()), {cleaned[name]: group for name, group in groups.items()}


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise InvalidInputError("the list of classes is empty; name at least one class")
    seen: dict[str, str] = {}
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise InvalidInputError(f"class {number} has an empty name; correct the list")
        if len(name) > _LONGEST_NAME:
            raise InvalidInputError(
                f"class {number} has a name of {len(name)} characters, {name[:40]!r}...; "
                f"at most {_LONGEST_NAME} are taken: shorten it"
            )
        hidden = [c for c in name if unicodedata.category(c)[0] == "C" and c not in _JOINERS]
        if hidden or re.search("[\u2028\u2029]", name):
            raise InvalidInputError(
                f"class {number}, {name!r}, has a line break or an invisible character; "
                "write the name with visible characters on one line"
            )
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if key in seen:
            raise InvalidInputError(
                f"the classes {seen[key]!r} and {name!r} are the same name; keep one"
            )
        seen[key] = name
        if not any(c.isalnum() for c in key) and key.isascii():
            raise InvalidInputError(f"class {number}, {name!r}, has no letter; correct the list")


def pairs_from(text: str, classes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of ``a|b,c|d``, each in both directions.

    Raises:
        InvalidInputError: A part is no pair of two different classes of the base.
    """
    pairs: dict[tuple[str, str], None] = {}
    for part in next(csv.reader([text], skipinitialspace=True), []):
        names = [name.strip() for name in part.split("|")]
        if len(names) != 2 or names[0] == names[1] or not set(names) <= set(classes):
            raise InvalidInputError(
                f"{part!r} is not a pair of two classes of the base; write one as 'crow|raven'"
            )
        pairs |= {(names[0], names[1]): None, (names[1], names[0]): None}
    return tuple(pairs)
