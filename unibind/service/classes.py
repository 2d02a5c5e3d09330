"""Which class an item is, and why: what ``/v1/classify`` answers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from unibind.alignment.decision import UNKNOWN
from unibind.engine import Engine
from unibind.errors import InvalidInputError
from unibind.knowledge.class_texts import LLM
from unibind.knowledge.values import KnowledgeBase, Line
from unibind.service.knowledge import read_base
from unibind.service.refusals import Refusal, without_paths
from unibind.service.runtime import Runtime
from unibind.service.schemas import ClassifyRequest, NamedClass
from unibind.service.sources import Source
from unibind.types import Json, Prediction

__all__ = ["classified"]

FALSE_ALARMS = 0.05
"""Share of items of the listed classes that may wrongly be called unknown."""

_MAX_LINES = 20_000


async def classified(
    runtime: Runtime, told: ClassifyRequest, sources: Sequence[Source], *, deadline: float
) -> list[Json]:
    """Return for each source what it is, as JSON.

    Raises:
        Refusal: A source is bad, there is no such knowledge base or class, or too much is waiting.
    """
    base = await runtime.in_thread(_base_of, told)
    names = _names_of(told)
    results: list[Json] = [None] * len(sources)
    for modality in dict.fromkeys(source.modality for source in sources):
        places = [n for n, source in enumerate(sources) if source.modality == modality]
        own = [sources[n] for n in places]
        if runtime.reaches(modality):  # together with others; the engine then finds it done
            await runtime.embed(own, deadline=deadline)
        items = [await runtime.read(source, deadline=deadline) for source in own]
        decided = await runtime.in_thread(
            _decided, runtime.engine, modality, items, names, base, told
        )
        for place, result in zip(places, decided, strict=True):
            results[place] = {"index": place, "type": modality, **result}
    return results


def _decided(
    engine: Engine,
    modality: str,
    items: Sequence[Any],
    names: Sequence[str] | None,
    base: KnowledgeBase | None,
    told: ClassifyRequest,
) -> list[dict[str, Json]]:
    ask = partial(
        engine.classify_each,
        modality,
        items,
        classes=names,
        knowledge=base,
        top=told.top,
        explain=told.explain,
        # Sentences that the call itself gives are meant, whatever was measured of a base's own.
        texts=LLM if base is not None and told.knowledge is None else None,
    )
    try:
        found = ask(unknown=FALSE_ALARMS if told.unknown else None)
    except InvalidInputError:
        if not told.unknown:
            raise
        found = ask(unknown=None)  # no head has learned what else there is
    if found.failures:
        first = found.failures[0]
        raise Refusal(400, "invalid_input", without_paths(first.error), f"input[{first.row}]")
    listed = set(names or (base.classes if base is not None else ()))
    return [_told(ranked, listed) for ranked in found.predictions]


def _told(ranked: Sequence[Prediction], listed: set[str]) -> dict[str, Json]:
    is_unknown = ranked[0].label == UNKNOWN and UNKNOWN not in listed
    return {
        "label": None if is_unknown else ranked[0].label,
        "is_unknown": is_unknown,
        "predictions": [
            {
                "label": each.label,
                "score": each.score,
                "probability": each.probability,
                "reasons": [
                    {"text": reason.text, "share": reason.share, "source": reason.source}
                    for reason in each.reasons
                ],
            }
            for each in ranked
        ],
    }


def _base_of(told: ClassifyRequest) -> KnowledgeBase | None:
    if told.knowledge is not None:
        return read_base(told.knowledge)
    named = [each for each in told.classes or () if isinstance(each, NamedClass)]
    lines = [Line(each.name, "given", text) for each in named for text in each.descriptions]
    if len(lines) > _MAX_LINES:
        raise InvalidInputError(f"{len(lines):,} descriptions; at most {_MAX_LINES:,} are taken")
    names = _names_of(told)
    if not lines or names is None:
        return None
    return KnowledgeBase("call", tuple(dict.fromkeys(names)), tuple(lines))


def _names_of(told: ClassifyRequest) -> list[str] | None:
    if told.classes is not None:
        return [each if isinstance(each, str) else each.name for each in told.classes]
    if told.knowledge is None:
        raise Refusal(
            400, "invalid_request", "give classes or the name of a knowledge base", "classes"
        )
    return None
