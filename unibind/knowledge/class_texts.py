"""What can stand for a class: its name, its name in templates, or a language model's sentences.

Which of them does is no matter of taste: `unibind ablate` measures it, and a recipe names what it
found (`unibind.engine.recipes`). Its arms are made by the same functions as the centers in use.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from unibind.errors import InvalidInputError

__all__ = ["KINDS", "LLM", "NAME", "TEMPLATES", "WORD", "ClassTexts", "templated", "with_domain"]

NAME, TEMPLATES, WORD, LLM = "class name", "hand templates", "domain word", "LLM"

KINDS = (NAME, TEMPLATES, WORD, LLM)
"""What can stand for a class, the plainest first."""

_TEMPLATES = (
    "{medium} of {name}.",
    "a good {medium} of {name}.",
    "a bad {medium} of {name}.",
    "a clear {medium} of {name}.",
    "a small {medium} of {name}.",
    "a large {medium} of {name}.",
    "one {medium} of one {bare}.",
    "{medium} of the {bare}.",
    "an example of {name}.",
    "a typical {bare}.",
    "{medium} that shows {name}.",
    "a close {medium} of {name}.",
    "a distant {medium} of {name}.",
    "a simple {medium} of {name}.",
    "a strange {medium} of {name}.",
    "this is {name}.",
)
_ARTICLE = re.compile(r"^(a|an|the)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ClassTexts:
    """Which texts stand for a class.

    Attributes:
        kind: One of `KINDS`.
        medium: What an item is called in templates: ``"picture"``, ``"recording"``.
        domain: What the classes are, in a word: ``"thing"``, ``"sound"``.
    """

    kind: str = LLM
    medium: str = "example"
    domain: str = "thing"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInputError(
                f"no text of a class is called {self.kind!r}; there are {', '.join(KINDS)}"
            )

    def of(self, name: str, lines: Sequence[str]) -> list[str]:
        """Return the texts of a class, at least one.

        Args:
            name: Of the class.
            lines: What a language model wrote of it; its name stands beside them.
        """
        if self.kind == LLM:
            return [name, *lines]
        if self.kind == NAME:
            return [name]
        told = templated(name, self.medium)
        return told if self.kind == TEMPLATES else with_domain(told, self.domain)


def templated(name: str, medium: str) -> list[str]:
    """Return a class's name in 16 sentences that fit any class: "a picture of an apple."."""
    bare = _ARTICLE.sub("", name.strip())
    called = name.strip() if bare != name.strip() else _with_article(bare)
    return [
        _begun(each, medium).format(medium=medium, name=called, bare=bare) for each in _TEMPLATES
    ]


def with_domain(sentences: Sequence[str], domain: str) -> list[str]:
    """Return sentences that say what kind of thing they are of."""
    return [f"{each.rstrip('.')}, a kind of {domain}." for each in sentences]


def _begun(template: str, medium: str) -> str:
    return (
        template.replace("{medium}", _with_article(medium), 1) if template[0] == "{" else template
    )


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1].casefold() in tuple('aeiou') else 'a'} {noun}"
