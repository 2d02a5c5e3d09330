"""The other senses of space mini: a head and stored items for each whose public data is at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unibind import datasets, weights
from unibind.alignment.targets import Targets
from unibind.datasets import Dataset, LabelledItem
from unibind.engine import Engine
from unibind.errors import FetchError, InvalidInputError, PluginError
from unibind.evaluation.names import ClassFinder
from unibind.knowledge.base import KnowledgeBase
from unibind.quickstart.reporting import Reporter
from unibind.types import FloatArray, Json

__all__ = ["SENSES", "Added", "Sense", "add_senses"]


@dataclass(frozen=True, slots=True)
class Sense:
    """One sense and the public set that shows it.

    Attributes:
        modality: What the items are.
        dataset: Name of the set.
        learns: Whether a head is trained on it; what is shown to the image tower uses the head of
            pictures.
        models: Weights that its encoder needs beside those of pictures and words.
        options: What the files do not say of themselves.
    """

    modality: str
    dataset: str
    learns: bool = True
    models: tuple[str, ...] = ()
    options: Mapping[str, Json] = field(default_factory=dict)


SENSES = (
    Sense("audio", "stamps-sounds", models=("aisfx",)),
    Sense("pointcloud", "furniture-shapes"),
    Sense("timeseries", "basic-motions"),
    Sense("timeseries", "appliances"),
    Sense("video", "emoji-motion", learns=False),
)
"""Without event cameras and thermal pictures: of those there is no public recording at hand."""


@dataclass(frozen=True, slots=True)
class Added:
    """What came of the sets of one sense.

    Attributes:
        modality: What the items are.
        items: Those that are stored, by key.
        classes: How many classes its head was trained on; 0 if it has none of its own.
    """

    modality: str
    items: Mapping[str, LabelledItem]
    classes: int


def add_senses(
    engine: Engine,
    knowledge: KnowledgeBase,
    *,
    reporter: Reporter,
    senses: Sequence[Sense] = SENSES,
) -> list[Added]:
    """Train the head of each sense and store its items; a sense that cannot be had is told of.

    A head is trained on the items whose label is a class of the knowledge base, towards that
    class's sentences. All items are stored.

    Args:
        engine: Of the space.
        knowledge: Whose sentences heads are trained towards.
        reporter: Hears what is going on.
        senses: Which.

    Raises:
        ArtifactError: The space's folder cannot be written.
        StoreError: The store cannot be written.
    """
    added = []
    for modality in dict.fromkeys(sense.modality for sense in senses):
        kept = [sense for sense in senses if sense.modality == modality]
        try:
            added.append(_add(engine, knowledge, modality, kept, reporter))
        except (FetchError, PluginError, InvalidInputError) as error:
            reporter.say(f"going on without {modality}: {error}")
    return added


@dataclass(frozen=True, slots=True, eq=False)
class _Gathered:
    """What could be read of one set: items, their features, shape (M, F), how they were read."""

    dataset: Dataset
    items: tuple[LabelledItem, ...]
    features: FloatArray
    sense: Sense


def _add(
    engine: Engine,
    knowledge: KnowledgeBase,
    modality: str,
    senses: Sequence[Sense],
    reporter: Reporter,
) -> Added:
    gathered = [_gather(engine, sense, reporter) for sense in senses]
    n_classes = _train(engine, knowledge, modality, gathered, reporter)
    stored: dict[str, LabelledItem] = {}
    for each in gathered:
        keys = [f"{each.dataset.name}/{item.key}" for item in each.items]
        engine.add(
            modality,
            [item.path for item in each.items],
            keys=keys,
            metadata=[_metadata(each.dataset, item) for item in each.items],
            options=each.sense.options,
        )
        stored |= dict(zip(keys, each.items, strict=True))
    reporter.say(f"{modality}: {len(stored)} items stored")
    return Added(modality, stored, n_classes)


def _gather(engine: Engine, sense: Sense, reporter: Reporter) -> _Gathered:
    for name in sense.models:
        with reporter.progress(f"weights {name}", in_bytes=True) as progress:
            weights.fetch(name, progress=progress)
    with reporter.progress(f"data {sense.dataset}", in_bytes=True) as progress:
        dataset = datasets.fetch(sense.dataset, progress=progress)
    reporter.say(f"{dataset.name}: {len(dataset)} items, {dataset.licence}; {dataset.attribution}")
    paths = [item.path for item in dataset.items]
    with reporter.progress(f"encoding {dataset.name}") as progress:
        encoded = engine.encode(sense.modality, paths, options=sense.options, progress=progress)
    items = tuple(dataset.items[row] for row in encoded.rows)
    return _Gathered(dataset, items, encoded.features, sense)


def _train(
    engine: Engine,
    knowledge: KnowledgeBase,
    modality: str,
    gathered: Sequence[_Gathered],
    reporter: Reporter,
) -> int:
    """Train the modality's head on items whose label is a class; return how many classes."""
    finder = ClassFinder(knowledge.classes)
    labels, features = [], []
    for each in gathered:
        if each.sense.learns:
            named = [finder.find(item.label or "") for item in each.items]
            labels += [name for name in named if name is not None]
            features.append(each.features[[name is not None for name in named]])
    n_classes = len(set(labels))
    if not n_classes:
        return 0
    reporter.say(f"training the head of {modality} on {len(labels)} items of {n_classes} classes")
    targets = Targets.from_labels(labels, engine.centers(knowledge=knowledge, modality=modality))
    engine.fit(modality, np.concatenate(features), targets)
    return n_classes


def _metadata(dataset: Dataset, item: LabelledItem) -> dict[str, Json]:
    told = {"caption": item.caption or item.label, "label": item.label, "group": item.group}
    return {name: value for name, value in told.items() if value is not None} | {
        "set": dataset.name
    }
