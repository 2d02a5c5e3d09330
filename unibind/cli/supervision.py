"""Supervision: which items of a labelled set have words to learn from, and which words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from unibind.datasets.items import LabelledItem
from unibind.evaluation.names import plain_name
from unibind.knowledge.base import KnowledgeBase

__all__ = ["Supervision", "by_caption", "by_class", "by_label"]


@dataclass(frozen=True, slots=True)
class Supervision:
    """Items and what each of them is called, and how many items were left out.

    Attributes:
        learned_from: What the names are: ``"captions"``, ``"class names"``, ...
        items: Those that have a name, in their order.
        names: What each is to be pulled towards.
        left_out: Reason to how many items have no name for it.
        unknown: Labels that are no class, to how many items have them.
    """

    learned_from: str
    items: tuple[LabelledItem, ...]
    names: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)

    def of(self, rows: Sequence[int]) -> "Supervision":
        """Return the same of some of the items."""
        return replace(
            self,
            items=tuple(self.items[row] for row in rows),
            names=tuple(self.names[row] for row in rows),
        )


def by_caption(items: Sequence[LabelledItem]) -> Supervision:
    """Return items with their captions as names."""
    captions = [item.caption for item in items]
    return _named("captions", items, captions, _lacking("caption", captions))


def by_label(items: Sequence[LabelledItem]) -> Supervision:
    """Return items with their labels as names."""
    labels = [item.label for item in items]
    return _named("class names", items, labels, _lacking("label", labels))


def by_class(items: Sequence[LabelledItem], base: KnowledgeBase) -> Supervision:
    """Return the items whose label is a class of a knowledge base, named by the class.

    Case, articles, punctuation and the plural make no difference: "A frog." is "frog", and so
    is "frogs".
    """
    class_of = {plain_name(name): name for name in reversed(base.classes)}
    labels = [item.label for item in items]
    classes = [None if label is None else class_of.get(plain_name(label)) for label in labels]
    unknown = Counter(
        label
        for label, name in zip(labels, classes, strict=True)
        if name is None and label is not None
    )
    left_out = _lacking("label", labels)
    if unknown:
        left_out[f"label is no class of {base.name}"] = unknown.total()
    found = _named(f"classes of {base.name}", items, classes, left_out)
    return replace(found, unknown=dict(unknown.most_common()))


def _lacking(what: str, values: Sequence[str | None]) -> dict[str, int]:
    n_without = sum(value is None for value in values)
    return {f"no {what}": n_without} if n_without else {}


def _named(
    learned_from: str,
    items: Sequence[LabelledItem],
    names: Sequence[str | None],
    left_out: Mapping[str, int],
) -> Supervision:
    pairs = [(item, name) for item, name in zip(items, names, strict=True) if name is not None]
    return Supervision(
        learned_from, tuple(item for item, _ in pairs), tuple(name for _, name in pairs), left_out
    )
