"""Which classes a sentence names, and how much it says that it names them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Mentions", "NameFinder", "words_of"]

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_IRREGULAR: Final = {
    **{"leaves": "leaf", "knives": "knife", "wolves": "wolf", "shelves": "shelf"},
    **{"loaves": "loaf", "scarves": "scarf", "hooves": "hoof", "calves": "calf"},
    **{"mice": "mouse", "geese": "goose", "feet": "foot", "teeth": "tooth", "oxen": "ox"},
    **{"children": "child", "men": "man", "women": "woman", "people": "person"},
}


def words_of(text: str) -> list[str]:
    """Return the words of a text, lower case, plural and possessive endings taken off."""
    return [_stem(word.lower().replace("\u2019", "'")) for word in _WORD.findall(text)]


def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("'")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


class NameFinder:
    """Finds class names in sentences, whatever their number and case.

    Args:
        classes: The names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._names: dict[str, list[tuple[int, list[str]]]] = {}
        for at, name in enumerate(classes):
            words = words_of(name)
            if words:
                self._names.setdefault(words[0], []).append((at, words))

    def named(self, words: Sequence[str]) -> set[int]:
        """Return the numbers of the classes that the words of a sentence name in full."""
        found = set()
        for start, word in enumerate(words):
            for at, name in self._names.get(word, ()):
                if list(words[start : start + len(name)]) == name:
                    found.add(at)
        return found


@dataclass(frozen=True, slots=True)
class Mentions:
    """The classes that the lines of a base name.

    Attributes:
        others: Numbers of the classes that each line names, if it names none of its own words.
        weights: Of each class, log of (lines of its own that name it + 1) over the lines of other
            classes that name it and not themselves: a line about a shoe may well name a box, and
            hardly a violin.
    """

    others: tuple[frozenset[int], ...]
    weights: tuple[float, ...]

    @classmethod
    def of(
        cls, classes: Sequence[str], class_of: Sequence[int], lines: Sequence[Sequence[str]]
    ) -> "Mentions":
        """Find the names in lines, given as their words.

        Args:
            classes: Names, C of them.
            class_of: Number of each line's class.
            lines: Words of each line, as `words_of` gives them.
        """
        finder = NameFinder(classes)
        name_words = [set(words_of(name)) for name in classes]
        n_own, n_foreign = [1] * len(classes), [0] * len(classes)
        others = []
        for own, words in zip(class_of, lines, strict=True):
            named = finder.named(words)
            names_itself = bool(name_words[own] & set(words))
            for other in named:
                if other == own:
                    n_own[own] += 1
                elif not names_itself:
                    n_foreign[other] += 1
            others.append(frozenset() if names_itself else frozenset(named - {own}))
        odds = zip(n_own, n_foreign, strict=True)
        return cls(tuple(others), tuple(math.log(own / max(foreign, 1)) for own, foreign in odds))
