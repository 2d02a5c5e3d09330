"""Texts that could stand for a class: a language model's, and what it must be better than."""

from collections.abc import Mapping, Sequence

import numpy as np

from unibind.errors import InvalidInputError
from unibind.evaluation.names import plain_name
from unibind.knowledge.class_texts import LLM, NAME, TEMPLATES, WORD, templated, with_domain

__all__ = ["ARMS", "KEPT_OVER", "MOST_LINES", "RANDOM", "text_arms"]

RANDOM = "shared random words"

ARMS = (
    NAME,
    TEMPLATES,
    WORD,
    RANDOM,
    LLM,
    "LLM of the wrong class",
    "LLM scrambled",
    "LLM without the class's name",
    "LLM + random",
)

KEPT_OVER = (WORD, RANDOM)
"""LLM text is the default only where it beats both of these with an interval above 0."""

MOST_LINES = len(templated("", ""))


def text_arms(
    lines: Mapping[str, Sequence[str]],
    *,
    medium: str,
    domain: str,
    seed: int,
    n_lines: int | None = None,
) -> dict[str, dict[str, list[str]]]:
    """Return for each arm each class's texts, equally many of them in every arm.

    A language model's sentences stand beside the class's name, as they do in use; without the name
    they are an arm of their own.

    Args:
        lines: Of each class, the sentences that a language model wrote.
        medium: What the items are, for templates: ``"picture"``, ``"recording"``.
        domain: What the classes are, in a word: ``"thing"``, ``"bird"``, ``"machine sound"``.
        seed: Of random words, of the wrong class and of scrambling.
        n_lines: K, at least 2, for the name is one of them; by default as many as the class with
            the fewest sentences has, 16 at most.

    Raises:
        InvalidInputError: There are fewer than two classes, or one has too few sentences.
    """
    fewest = min((len(each) for each in lines.values()), default=0)
    most = min(fewest + 1, MOST_LINES)
    k = most if n_lines is None else n_lines
    if len(lines) < 2 or not 2 <= k <= most:
        raise InvalidInputError(
            f"{k} texts of each of {len(lines)} classes; at least 2 classes, and of each its name "
            f"and 1 to {MOST_LINES - 1} sentences were needed: the class with the fewest has "
            f"{fewest}"
        )
    generator = np.random.default_rng(seed)
    names = list(lines)
    written = {name: [name, *lines[name]][:k] for name in names}
    words = sorted({word for each in lines.values() for line in each for word in _words(line)})
    shared = [" ".join(generator.choice(words, size=2)) for _ in range(k)]
    step = int(generator.integers(1, len(names)))  # shifted by any number, no class keeps its own
    in_templates = {name: templated(name, medium)[:k] for name in names}
    random = {
        name: [f"{each[0].rstrip('.')}, {chosen}." for chosen in shared]
        for name, each in in_templates.items()
    }
    half = (k + 1) // 2
    return {
        NAME: {name: [name] * k for name in names},
        TEMPLATES: in_templates,
        WORD: {name: with_domain(each, domain) for name, each in in_templates.items()},
        RANDOM: random,
        LLM: written,
        "LLM of the wrong class": {
            name: written[names[(place + step) % len(names)]] for place, name in enumerate(names)
        },
        "LLM scrambled": {
            name: [" ".join(generator.permutation(line.split())) for line in written[name]]
            for name in names
        },
        "LLM without the class's name": {
            name: [_without(line, name) for line in _round(lines[name], k)] for name in names
        },
        "LLM + random": {name: written[name][:half] + random[name][: k - half] for name in names},
    }


def _round(lines: Sequence[str], k: int) -> list[str]:
    """Return k lines; where there are fewer, the first ones again."""
    return [lines[place % len(lines)] for place in range(k)]


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
