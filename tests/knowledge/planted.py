"""Plants faults into a clean base and remembers where: what lint must find.

Every kind is planted equally often, on rows and from texts that a seed chooses. There are two
halves that share nothing: two halves of the classes of a base, and two sets of texts. Lint was made
while looking at the first of each; what it is worth is told by the second.
"""

import random
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from unibind.knowledge.names import NameFinder, words_of
from unibind.knowledge.values import KnowledgeBase, Line

Half = Literal["tuning", "held_out"]

_TEXTS: Final = tomllib.loads(
    Path(__file__).with_name("fault_texts.toml").read_text(encoding="utf-8")
)
_LOOKALIKES: Final = {"a": "\u0430", "e": "\u0435", "o": "\u043e"}  # Cyrillic
_TEMPLATED: Final = (
    *("refusal", "chat-debris", "placeholder", "wrong-language", "gibberish", "repetition"),
    *("markup", "url", "instruction", "too-short", "outlier"),
)
KINDS: Final = (
    *_TEMPLATED,
    *("control-character", "mixed-script", "encoding", "too-long", "over-length"),
    *("duplicate", "near-duplicate", "misplaced", "names-other-class", "classes-too-close"),
)
"""Kinds of faults, as lint calls them."""


@dataclass(frozen=True)
class Planted:
    """A base with faults.

    Attributes:
        base: The base.
        kinds: Row (1-based) to the kind of its fault. Of two classes that are one, the row is the
            first of the class that stands first.
        forms: Row to the form of its fault, where a kind has several.
    """

    base: KnowledgeBase
    kinds: dict[int, str]
    forms: dict[int, str]


def half_of(base: KnowledgeBase, half: Half) -> KnowledgeBase:
    """Return the base with one half of its classes, drawn once and for all."""
    names = random.Random(2026).sample(base.classes, len(base.classes))
    middle = len(names) // 2
    chosen = set(names[:middle] if half == "tuning" else names[middle:])
    return replace(
        base,
        classes=tuple(name for name in base.classes if name in chosen),
        lines=tuple(line for line in base.lines if line.class_name in chosen),
    )


def plant(
    base: KnowledgeBase,
    *,
    half: Half = "held_out",
    n_each: int = 17,
    seed: int = 0,
    is_within_group: bool = False,
) -> Planted:
    """Return the base with so many faults of each kind.

    Args:
        base: A clean base.
        half: Which texts are planted.
        n_each: Faults of each kind.
        seed: Chooses rows, texts and partners.
        is_within_group: Whether misplaced lines come from classes of the same group only.
    """
    planter = _Planter(base, _TEXTS[half], random.Random(seed), is_within_group=is_within_group)
    planter.split_classes(n_each)
    for number in range(n_each):
        for kind in _TEMPLATED:
            planter.put_text(kind, number)
        planter.put("control-character", planter.hidden(number))
        planter.put("mixed-script", planter.lookalike)
        planter.put("encoding", planter.wrongly_decoded)
        planter.put("too-long", planter.too_long)
        planter.put("over-length", planter.over_length)
        planter.put("duplicate", planter.copied)
        planter.put("near-duplicate", planter.nearly_copied)
        planter.put("misplaced", planter.of_another_class)
        planter.put("names-other-class", planter.moved if number % 2 else planter.renamed)
    return planter.planted()


class _Planter:
    """Changes rows that nothing else was done to; moved lines leave the row they came from."""

    def __init__(
        self,
        base: KnowledgeBase,
        texts: dict[str, list[str]],
        rng: random.Random,
        *,
        is_within_group: bool,
    ) -> None:
        self._base = base
        self._texts = {kind: rng.sample(some, len(some)) for kind, some in texts.items()}
        self._rng = rng
        self._is_within_group = is_within_group
        self._lines = list(base.lines)
        self._kinds: dict[int, str] = {}  # by 0-based place, until `planted`
        self._forms: dict[int, str] = {}
        self._copied: set[int] = set()  # places whose text stands elsewhere too: they stay clean
        self._gone: set[int] = set()
        self._order = iter(rng.sample(range(len(base.lines)), len(base.lines)))
        self._finder = NameFinder(base.classes)

    def planted(self) -> Planted:
        kept = [at for at in range(len(self._lines)) if at not in self._gone]
        row_of = {at: row for row, at in enumerate(kept, start=1)}
        present = {line.class_name for line in self._lines}
        return Planted(
            replace(
                self._base,
                classes=(*self._base.classes, *sorted(present - set(self._base.classes))),
                lines=tuple(self._lines[at] for at in kept),
            ),
            {row_of[at]: kind for at, kind in self._kinds.items()},
            {row_of[at]: form for at, form in self._forms.items()},
        )

    def split_classes(self, n: int) -> None:
        """Give every other line of some classes to a new class, which is the same thing."""
        for name in self._rng.sample(self._base.classes, n):
            places = [at for at, line in enumerate(self._lines) if line.class_name == name]
            for at in places[1::2]:
                self._lines[at] = replace(self._lines[at], class_name=f"typical {name}")
            self._kinds[places[0]] = "classes-too-close"

    def put(self, kind: str, change: Callable[[int], str | None]) -> None:
        """Change a row that is free; a change that cannot be made there is made at another."""
        for at in self._order:
            if at in self._copied or at in self._gone or at in self._kinds:
                continue
            text = change(at)
            if text is not None:
                self._lines[at] = replace(self._lines[at], text=text)
                self._kinds[at] = kind
                return
        raise AssertionError(f"the base is too small for more of {kind}")

    def put_text(self, kind: str, number: int) -> None:
        forms = self._texts[kind]
        form = forms[number % len(forms)]

        def filled(at: int) -> str | None:
            name, text = self._lines[at].class_name, self._lines[at].text
            if kind == "too-short" and " " in name:  # "A hot air balloon." is long enough
                return None
            return form.replace("{c}", name).replace("{t}", text)

        self.put(kind, filled)

    def hidden(self, number: int) -> Callable[[int], str]:
        characters = self._texts["control-character"]

        def change(at: int) -> str:
            text = self._lines[at].text
            cut = self._rng.randrange(1, len(text))
            return text[:cut] + characters[number % len(characters)] + text[cut:]

        return change

    def lookalike(self, at: int) -> str:
        return re.sub("[aeo]", lambda m: _LOOKALIKES[m[0]], self._lines[at].text, count=2)

    def wrongly_decoded(self, at: int) -> str:
        """UTF-8 that was read as an older encoding."""
        words = self._lines[at].text.split(" ")
        words[self._rng.randrange(len(words))] += self._rng.choice(
            ["\u2019s", "\u2026", " caf\u00e9"]
        )
        return " ".join(words).encode().decode("cp1252")

    def too_long(self, at: int) -> str:
        others = self._rng.sample([line.text for line in self._base.lines], 4)
        return " ".join([self._lines[at].text, *others])

    def over_length(self, at: int) -> str:
        name = self._base.lines[at].class_name
        return " ".join(2 * [line.text for line in self._base.lines_by_class[name]])

    def copied(self, at: int) -> str | None:
        source = self._source(at, lambda other: True)
        if source is None:
            return None
        self._copied.add(source)
        text = self._lines[source].text
        forms = [text, text.upper(), f"  {text} ", text.rstrip(".") + "!"]
        return self._rng.choice(forms)

    def nearly_copied(self, at: int) -> str | None:
        """One word of a line of the same class added, left out or moved."""
        source = self._source(at, lambda other: other.class_name == self._lines[at].class_name)
        if source is None:
            return None
        self._copied.add(source)
        words = self._lines[source].text.rstrip(".").split()
        cut = self._rng.randrange(1, len(words) - 1)
        match self._rng.randrange(3):
            case 0:
                words.insert(cut, self._rng.choice(["often", "usually", "mostly"]))
            case 1:
                del words[cut]
            case _:
                words.insert(cut + 1, words.pop(cut))
        return " ".join(words) + "."

    def of_another_class(self, at: int) -> str | None:
        """A line of the same view that was written about another class, and left it."""
        own = self._lines[at]
        group = self._base.groups.get

        def is_other(line: Line) -> bool:
            return (
                line.view == own.view
                and line.class_name != own.class_name
                and (not self._is_within_group or group(line.class_name) == group(own.class_name))
            )

        return self._moved_from(at, is_other)

    def moved(self, at: int) -> str | None:
        """A line about another class that names it."""
        own = self._lines[at].class_name
        self._forms[at] = "moved"
        return self._moved_from(
            at, lambda line: line.class_name != own and self._names(line, line.class_name)
        )

    def renamed(self, at: int) -> str | None:
        """A line that is about its class and calls it by another's name."""
        own = self._lines[at].class_name
        if own.lower() not in self._lines[at].text.lower():
            return None
        shared = set(words_of(own))
        others = [name for name in self._base.classes if not shared & set(words_of(name))]
        other = self._rng.choice(others)
        self._forms[at] = "renamed"
        return re.sub(re.escape(own), other, self._lines[at].text, flags=re.IGNORECASE)

    def _names(self, line: Line, name: str) -> bool:
        return self._base.classes.index(name) in self._finder.named(words_of(line.text))

    def _moved_from(self, at: int, is_wanted: Callable[[Line], bool]) -> str | None:
        source = self._source(at, is_wanted)
        if source is None:
            return None
        self._gone.add(source)
        return self._lines[source].text

    def _source(self, at: int, is_wanted: Callable[[Line], bool]) -> int | None:
        """Return a clean place whose line is as wanted, or None."""
        taken = {at, *self._kinds, *self._copied, *self._gone}
        original = self._base.lines
        free = [
            other
            for other in self._rng.sample(range(len(original)), len(original))
            if other not in taken and original[other].class_name == self._lines[other].class_name
        ]
        return next((other for other in free if is_wanted(self._lines[other])), None)
