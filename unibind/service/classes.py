"""Which class an item is, and why: what ``/v1/classify`` answers."""

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unibind.alignment.centers import ClassCenters
from unibind.engine import Engine
from unibind.engine.measuring import Measured, instruments_of, measure
from unibind.errors import InvalidInputError
from unibind.knowledge.values import KnowledgeBase, Line
from unibind.service.knowledge import read_base
from unibind.service.refusals import Refusal
from unibind.service.runtime import Runtime, Source
from unibind.service.schemas import ClassifyRequest, NamedClass
from unibind.types import FloatArray, Json, Prediction

__all__ = ["CenterShelf", "Chosen", "classified"]

_MOST_SHELVED = 64
_N_REASONS = 3
_MAX_LINES = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The classes of one call.

    Attributes:
        centers: As the engine made them.
        base: Their sentences and ranges; None if the call gave only names.
        lines: For each class its texts in the order of its centers: the name, then its sentences.
    """

    centers: ClassCenters
    base: KnowledgeBase | None
    lines: Sequence[Sequence[str]]


class CenterShelf:
    """Class centers that were made before, by what they were made of."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[Any, ...], Chosen] = OrderedDict()
        self._making = asyncio.Lock()

    async def get(self, runtime: Runtime, told: ClassifyRequest) -> Chosen:
        """Return the classes of a call.

        Raises:
            Refusal: There is no such knowledge base or class, or a class is there twice.
        """
        base = await runtime.in_thread(_base_of, told)
        names = _names_of(told, base)
        key = (id(runtime.engine), _identity(told, base), tuple(names))
        async with self._making:  # of two that want the same, the second finds it made
            if key not in self._made:
                self._made[key] = await runtime.in_thread(_make, runtime.engine, base, names)
            self._made.move_to_end(key)
            while len(self._made) > _MOST_SHELVED:
                self._made.popitem(last=False)
            return self._made[key]


async def classified(
    runtime: Runtime, told: ClassifyRequest, chosen: Chosen, sources: Sequence[Source],
    *, deadline: float,
) -> list[Json]:  # fmt: skip
    """Return for each source what it is, as JSON.

    Raises:
        Refusal: A source is bad, or too much is waiting.
    """
    results: list[Json] = [None] * len(sources)
    for modality in dict.fromkeys(source.modality for source in sources):
        places = [n for n, source in enumerate(sources) if source.modality == modality]
        own = [sources[n] for n in places]
        items = await _measurable_items(runtime, modality, chosen, own, deadline)
        rows = None
        if not items or runtime.reaches(modality):
            rows = await runtime.embed(own, deadline=deadline)
        decided = await runtime.in_thread(
            _decide, runtime.engine, modality, rows, items, chosen, told
        )
        for place, result in zip(places, decided, strict=True):
            results[place] = {"index": place, "type": modality, **result}
    return results


async def _measurable_items(
    runtime: Runtime, modality: str, chosen: Chosen, sources: Sequence[Source], deadline: float
) -> list[Any]:
    """Return the items, if an instrument can compare them with ranges of the classes."""
    if chosen.base is None or not chosen.base.attributes:
        return []
    if not await runtime.in_thread(instruments_of, modality):
        return []
    return [await runtime.read(source, deadline=deadline) for source in sources]


def _decide(
    engine: Engine,
    modality: str,
    rows: FloatArray | None,
    items: Sequence[Any],
    chosen: Chosen,
    told: ClassifyRequest,
) -> list[dict[str, Json]]:
    measured: Measured | None = None
    if items and chosen.base is not None:
        labels = chosen.centers.labels
        measured = measure(modality, items, chosen.base, classes=labels)
        if measured is not None and measured.failures:
            raise InvalidInputError(measured.failures[0].error)
        if measured is not None and not measured.says_anything:
            measured = None
    if rows is None and measured is None:
        raise InvalidInputError(
            f"nothing leads from {modality} into this space yet, and no instrument measured what "
            "the knowledge base has ranges for; train a head with `unibind align`"
        )
    ranked = engine.decide(modality, rows, chosen.centers, measured=measured, top=told.top)
    return [
        {
            "label": listed[0].label,
            "is_unknown": False,
            "predictions": [
                _told(each, _reasons(each, n, rows, measured, chosen) if told.explain else [])
                for each in listed
            ],
        }
        for n, listed in enumerate(ranked)
    ]


def _told(prediction: Prediction, reasons: Sequence[Json]) -> Json:
    return {
        "label": prediction.label,
        "score": prediction.score,
        "probability": prediction.probability,
        "reasons": list(reasons),
    }


def _reasons(
    prediction: Prediction,
    row: int,
    rows: FloatArray | None,
    measured: Measured | None,
    chosen: Chosen,
) -> list[Json]:
    """Return the sentences of a class that are nearest to an item, and its measurements."""
    reasons: list[Json] = []
    if rows is not None:
        c = chosen.centers.labels.index(prediction.label)
        lines = chosen.lines[c]
        near = chosen.centers.vectors[c, : len(lines)] @ rows[row]
        for place in np.argsort(-near, kind="stable")[:_N_REASONS].tolist():
            share = float(near[place]) / len(lines)
            reasons.append({"text": lines[place], "share": share, "source": "description"})
    if measured is not None:
        reasons += [
            {"text": each.text, "share": each.share, "source": each.source}
            for each in measured.reasons(row, prediction.label)[:_N_REASONS]
        ]
    return reasons


def _base_of(told: ClassifyRequest) -> KnowledgeBase | None:
    if told.knowledge is not None:
        return read_base(told.knowledge)
    named = [each for each in told.classes or () if isinstance(each, NamedClass)]
    lines = [Line(each.name, "given", text) for each in named for text in each.descriptions]
    if len(lines) > _MAX_LINES:
        raise InvalidInputError(f"{len(lines):,} descriptions; at most {_MAX_LINES:,} are taken")
    if not lines:
        return None
    names = [each if isinstance(each, str) else each.name for each in told.classes or ()]
    return KnowledgeBase("call", tuple(dict.fromkeys(names)), tuple(lines))


def _names_of(told: ClassifyRequest, base: KnowledgeBase | None) -> list[str]:
    if told.classes is not None:
        return [each if isinstance(each, str) else each.name for each in told.classes]
    if base is None:
        raise Refusal(
            400, "invalid_request", "give classes or the name of a knowledge base", "classes"
        )
    return list(base.classes)


def _identity(told: ClassifyRequest, base: KnowledgeBase | None) -> str:
    if base is None:
        return ""
    if base.content_id:
        return base.content_id
    lines = [[line.class_name, line.text] for line in base.lines]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _make(engine: Engine, base: KnowledgeBase | None, names: Sequence[str]) -> Chosen:
    centers = engine.centers(classes=names, knowledge=base)
    lines = [[name, *(base.texts(name) if base is not None else ())] for name in names]
    return Chosen(centers, base, lines)
