"""Labelled sets as commands ask for them: read, named by classes, and encoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from unibind.cli.items import named_bad, tell_bad
from unibind.cli.output import progress
from unibind.cli.supervision import Supervision, by_class, by_label
from unibind.errors import InvalidInputError
from unibind.evaluation.names import ClassFinder

if TYPE_CHECKING:
    from unibind.datasets import LabelledItem
    from unibind.engine import Engine
    from unibind.evaluation.labelled import LabelledItems
    from unibind.knowledge.base import KnowledgeBase
    from unibind.types import FloatArray

__all__ = ["Pooled", "by_found_class", "encoded", "labelled_items", "named", "pooled"]

MAX_BAD_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Pooled:
    """Labelled sets as one.

    Attributes:
        name: Of each, with where it is from.
        items: Of all.
    """

    name: str
    items: "tuple[LabelledItem, ...]"


def pooled(data: Sequence[str], modality: str, *, group_column: str | None = None) -> Pooled:
    """Return labelled sets as one.

    Args:
        data: Public sets, folders of classes, manifests.
        modality: What their items are.
        group_column: What an item belongs together with, if it is not the column ``group``.

    Raises:
        InvalidInputError: There is no such set or column.
    """
    from unibind.cli.align import column_of, opened

    sets = [opened(each, modality) for each in data]
    items = [item for each in sets for item in each.items]
    if group_column is not None:
        items = [
            replace(item, group=value)
            for each in sets
            for item, value in zip(each.items, column_of(each, group_column), strict=True)
        ]
    return Pooled(" + ".join(f"{each.name} ({each.source})" for each in sets), tuple(items))


def named(
    items: "Sequence[LabelledItem]", base: "KnowledgeBase | None", *, captions: bool
) -> Supervision:
    """Return the items that have a class: their label, or what their caption names."""
    if base is None:
        return by_label(items)
    return by_found_class(items, base) if captions else by_class(items, base)


def by_found_class(items: "Sequence[LabelledItem]", base: "KnowledgeBase") -> Supervision:
    """Return the items whose caption names a class of a knowledge base."""
    finder = ClassFinder(base.classes)
    pairs = [(item, finder.find(item.caption or "")) for item in items]
    kept = [(item, name) for item, name in pairs if name is not None]
    return Supervision(
        f"classes of {base.name} in captions",
        tuple(item for item, _ in kept),
        tuple(name for _, name in kept),
        {"caption names no class": len(items) - len(kept)} if len(kept) < len(items) else {},
    )


def encoded(
    engine: "Engine", modality: str, found: Supervision, options: dict[str, object]
) -> "tuple[Supervision, FloatArray]":
    """Return the items that could be read, and their features.

    Raises:
        SystemExit: More than a tenth cannot be read.
    """
    paths = [item.path for item in found.items]
    with progress(f"encoding {modality}") as bar:
        done = engine.encode(modality, paths, options=options, progress=bar)
    bad = [named_bad(failure.source, failure.error) for failure in done.failures]
    if len(bad) > MAX_BAD_SHARE * len(paths):
        tell_bad(bad, len(paths), outcome="more than a tenth, so nothing was measured")
    return found.of(done.rows.tolist()), done.features


def labelled_items(
    engine: "Engine",
    modality: str,
    found: Supervision,
    features: "FloatArray",
    *,
    grouped: bool,
) -> "LabelledItems":
    """Return the items with all that heads read of them.

    Args:
        engine: Of the space.
        modality: What they are.
        found: The items and their classes.
        features: Theirs, shape (N, F).
        grouped: Whether groups (persons, devices) are kept apart.

    Raises:
        InvalidInputError: Groups were asked for and an item has none, or there are too few classes.
    """
    from unibind.evaluation.labelled import LabelledItems

    groups = [item.group for item in found.items]
    if grouped and any(group is None for group in groups):
        raise InvalidInputError("--by-group, but not all items of the set have a group")
    prior = engine.senses.prior(modality)
    return LabelledItems.of(
        found.names,
        engine.senses.head_inputs(modality, np.asarray(features)),
        None if prior is None else prior.embed(features),
        space=engine.space.id,
        encoder=engine.encoder(modality).fingerprint,
        groups=[str(group) for group in groups] if grouped else None,
    )
