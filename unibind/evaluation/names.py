"""Which names mean the same, and which class a caption names."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

__all__ = ["ClassFinder", "plain_name"]

_OPENING = re.compile(
    r"^((a|an|the|some|two|three|four|five)\s+)?((pair|pairs|head|bunch|piece|slice|set)\s+of\s+)?"
    r"((a|an|the)\s+)?"
)
# A hyphen within a word ends nothing: a t-shirt is no t, and who is star-struck is no star.
_CLAUSE_END = re.compile(
    r"\s+(with|in|on|at|of|and|for|used|from|that|who|is|are)\s|[,;:.!?()\u2014]\s?|\s-|$"
)

_FALSE_FRIENDS = frozenset(
    {
        "bento box", "beverage box", "fish cake", "hot dog", "moon cake", "post box", "railway car",
        "sweet potato", "takeout box", "teddy bear", "tram car", "trophy cup",
    }
)  # fmt: skip
"""Compound names whose last word is another class, or the class in another sense."""


def plain_name(name: str) -> str:
    """Return a name without case, article, count, punctuation and plural.

    "Two cats!" is plainly ``"cat"``.
    """
    text = unicodedata.normalize("NFKC", name).casefold().replace("\u2019", "'")
    text = _OPENING.sub("", re.sub(r"[^\w\s'-]+", " ", text).strip())
    words = text.replace("-", " ").split()
    return " ".join([*words[:-1], _singular(words[-1])]) if words else ""


_ALWAYS_PLURAL = frozenset({"binoculars", "glasses", "jeans", "scissors", "sunglasses", "trousers"})
_SINGULAR_OF = {
    "buses": "bus", "canoes": "canoe", "children": "child", "cookies": "cookie", "feet": "foot",
    "geese": "goose", "knives": "knife", "leaves": "leaf", "loaves": "loaf", "men": "man",
    "mice": "mouse", "people": "person", "shoes": "shoe", "teeth": "tooth", "toes": "toe",
    "wolves": "wolf", "women": "woman",
}  # fmt: skip


class ClassFinder:
    """Finds the class that a caption names: its first clause is the class, or ends with it.

    ``"A Sumatran tiger."`` is a tiger, ``"A tiger's cage"`` is not. It is a rule, not a reader:
    compounds that it would get wrong are listed by hand.

    Args:
        classes: Names of the classes.
    """

    def __init__(self, classes: Iterable[str]) -> None:
        self._class_of: Mapping[str, str] = {plain_name(name): name for name in classes}

    def find(self, caption: str) -> str | None:
        """Return the class that the caption names, None if it names none for sure."""
        text = unicodedata.normalize("NFKC", caption).casefold()
        # A pair of shoes is shoes, so the opening goes before "of" can end the clause.
        clause = plain_name(_CLAUSE_END.split(_OPENING.sub("", text.strip()), maxsplit=1)[0])
        words = clause.split()
        if " ".join(words[-2:]) in _FALSE_FRIENDS and clause not in self._class_of:
            return None
        for start in range(len(words)):  # the longest ending that is a class
            found = self._class_of.get(" ".join(words[start:]))
            if found is not None:
                return found
        return None


def _singular(word: str) -> str:
    if word in _ALWAYS_PLURAL:
        return word
    if word in _SINGULAR_OF:
        return _SINGULAR_OF[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "oes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word
