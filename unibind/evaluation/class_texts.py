"""Texts that could stand for a class: a language model's, and what it must be better than."""

from collections.abc import Mapping, Sequence

import numpy as np

from unibind.errors import InvalidInputError
from unibind.evaluation.names import plain_name

__all__ = ["ARMS", "KEPT_OVER", "text_arms"]

ARMS = (
    "class name",
    "hand templates",
    "domain word",
    "shared random words",
    "LLM",
    "LLM of the wrong class",
    "LLM scrambled",
    "LLM without the class's name",
    "LLM + random",
)

KEPT_OVER = ("domain word", "shared random words")
"""LLM text is the default only where it beats both of these with an interval above 0."""

_TEMPLATES = (
    "a {medium} of a {name}.",
    "a good {medium} of a {name}.",
    "a bad {medium} of a {name}.",
    "a clear {medium} of a {name}.",
    "a small {medium} of a {name}.",
    "a large {medium} of a {name}.",
    "one {medium} of one {name}.",
    "a {medium} of the {name}.",
    "an example of a {name}.",
    "a typical {name}.",
    "a {medium} that shows a {name}.",
    "a close {medium} of a {name}.",
    "a distant {medium} of a {name}.",
    "a simple {medium} of a {name}.",
    "a strange {medium} of a {name}.",
    "this is a {name}.",
)


def text_arms(
    lines: Mapping[str, Sequence[str]],
    *,
    medium: str,
    domain: str,
    seed: int,
    n_lines: int | None = None,
) -> dict[str, dict[str, list[str]]]:
    """Return for each arm each class's texts, equally many of them in every arm.

    Args:
        lines: Of each class, the sentences that a language model wrote.
        medium: What the items are, for templates: ``"picture"``, ``"recording"``.
        domain: What the classes are, in a word: ``"thing"``, ``"bird"``, ``"machine sound"``.
        seed: Of random words, of the wrong class and of scrambling.
        n_lines: K; by default as many as the class with the fewest has, 16 at most.

    Raises:
        InvalidInputError: There are fewer than two classes, or one has too few sentences.
    """
    fewest = min((len(each) for each in lines.values()), default=0)
    k = min(fewest, len(_TEMPLATES)) if n_lines is None else n_lines
    if len(lines) < 2 or not 1 <= k <= min(fewest, len(_TEMPLATES)):
        raise InvalidInputError(
            f"{k} lines of each of {len(lines)} classes; at least 2 classes with 1 to "
            f"{min(fewest, len(_TEMPLATES))} lines were needed: the class with the fewest has "
            f"{fewest}"
        )
    generator = np.random.default_rng(seed)
    names = list(lines)
    written = {name: list(lines[name])[:k] for name in names}
    words = sorted({word for each in lines.values() for line in each for word in _words(line)})
    shared = [" ".join(generator.choice(words, size=2)) for _ in range(k)]
    step = int(
        generator.integers(1, len(names))
    )  # a shift by any number of places has no fixed one
    random = {name: [f"a {medium} of a {name}, {each}." for each in shared] for name in names}
    half = (k + 1) // 2
    return {
        "class name": {name: [name] * k for name in names},
        "hand templates": {
            name: [t.format(medium=medium, name=name) for t in _TEMPLATES[:k]] for name in names
        },
        "domain word": {
            name: [
                f"{t.format(medium=medium, name=name).rstrip('.')}, a kind of {domain}."
                for t in _TEMPLATES[:k]
            ]
            for name in names
        },
        "shared random words": random,
        "LLM": written,
        "LLM of the wrong class": {
            name: written[names[(place + step) % len(names)]] for place, name in enumerate(names)
        },
        "LLM scrambled": {
            name: [" ".join(generator.permutation(line.split())) for line in written[name]]
            for name in names
        },
        "LLM without the class's name": {
            name: [_without(line, name) for line in written[name]] for name in names
        },
        "LLM + random": {name: written[name][:half] + random[name][: k - half] for name in names},
    }


def _words(line: str) -> list[str]:
    return [
        word
        for word in line.casefold().replace(".", " ").replace(",", " ").split()
        if word.isalpha()
    ]


def _without(line: str, name: str) -> str:
    """Return a line without the words of a name, in any number; "it" if nothing is left."""
    banned = set(plain_name(name).split()) | set(name.casefold().split())
    kept = [word for word in line.split() if plain_name(word.strip(".,;:!?\"'()")) not in banned]
    return " ".join(kept) or "it"
