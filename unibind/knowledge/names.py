"""Which classes a sentence names."""

import re
from collections.abc import Sequence

__all__ = ["NameFinder", "words_of"]

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")


def words_of(text: str) -> list[str]:
    """Return the words of a text, lower case, plural and possessive endings taken off."""
    return [_stem(word.lower().replace("\u2019", "'")) for word in _WORD.findall(text)]


def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("'")
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
