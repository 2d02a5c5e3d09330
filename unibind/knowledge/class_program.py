"""How the lines of one class come about: ask, sort out, ask again for what is missing.

It is a generator that yields requests and is sent their answers, and it knows nothing of threads,
files or networks. The same answers always give the same lines, so the program that asks a server
is run once more, from the journal, when the table is written; a build that was killed in between
runs it from the start, and answers that are stored are not asked for again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from unibind.knowledge.answers import texts_of
from unibind.knowledge.calls import Program
from unibind.knowledge.faults import masked, normalised, text_faults
from unibind.knowledge.plan import Wish
from unibind.knowledge.prompts import Ask, request_of
from unibind.knowledge.values import Line, Source

__all__ = ["SUPERSEDED", "ClassProgram", "ClassResult", "Missing", "class_program"]

SUPERSEDED: Final = "superseded"
"""How the reason of a line begins that a newer prompt or model replaced."""

_REFUSED_KINDS = frozenset({"too-short", "repetition", "truncated"})
_N_REMINDED = 12  # lines that the model is shown so that it does not repeat them


@dataclass(frozen=True, slots=True)
class Missing:
    """A place that nothing was found for.

    Attributes:
        class_name: The class.
        prompt: Id of the prompt.
        index: The place.
        against: The other class of a contrastive prompt, else "".
        reason: Why the last answer was not taken.
    """

    class_name: str
    prompt: str
    index: int
    against: str
    reason: str


@dataclass(frozen=True)
class ClassResult:
    """What became of one class.

    Attributes:
        lines: Its lines, those without a place first, then by prompt and place.
        aside: Its lines in quarantine, old and new.
        missing: Places that nothing was found for.
        refused: Kind of fault to number of answers that had it.
        n_new: Lines that were not there before.
    """

    lines: tuple[Line, ...]
    aside: tuple[Line, ...]
    missing: tuple[Missing, ...]
    refused: Mapping[str, int]
    n_new: int


ClassProgram = Program[ClassResult]


@dataclass
class _Place:
    """The places of one wish, and what fills them; private to a running program."""

    wish: Wish
    filled: dict[int, Line]
    tried: dict[int, int]  # number of the call's part of the places -> answers it has had
    given_up: set[int] = field(default_factory=set)  # parts whose call got no answer
    spare: list[Line] = field(default_factory=list)
    reason: str = "no answer"

    @property
    def missing(self) -> list[int]:
        return [index for index in range(self.wish.n_lines) if index not in self.filled]


def class_program(
    class_name: str,
    wishes: Sequence[Wish],
    *,
    stored: Sequence[Line],
    aside: Sequence[Line],
    sources: Mapping[str, Source],
    group: str = "",
    lines_per_call: int,
    n_attempts: int,
    base_seed: int,
    language: str = "en",
    media: tuple[tuple[str, bytes], ...] = (),
) -> ClassProgram:
    """Yield the requests of each round, be sent their answers, return the class's lines.

    Args:
        class_name: The class.
        wishes: What is wanted.
        stored: Lines that are there.
        aside: Lines in quarantine.
        sources: Provenance of stored lines.
        group: The class's group.
        lines_per_call: Sentences in one request.
        n_attempts: Rounds before a place is given up.
        base_seed: Seed that the calls' own seeds come from.
        language: The language of the lines.
        media: What shall be described, if the class stands for a file.
    """
    aside = list(aside)
    places = [_open_places(wish, stored, aside, sources, lines_per_call) for wish in wishes]
    kept = [line for line in stored if not _is_stale(line, wishes, sources)]
    filled_before = [line for place in places for line in place.filled.values()]
    seen = {normalised(line.text) for line in (*kept, *filled_before)}
    seen |= {normalised(row["line"]) for wish in wishes for row in wish.prompt.examples}
    refused: Counter[str] = Counter()
    before = {line.text for line in stored}

    for _ in range(n_attempts):
        asks = [
            (place, ask)
            for place in places
            for ask in _asks(place, class_name, group, lines_per_call, media)
        ]
        if not asks:
            break
        requests = [request_of(place.wish.prompt, ask, base_seed=base_seed) for place, ask in asks]
        answers = yield requests
        for (place, ask), request in zip(asks, requests, strict=True):
            answer = answers.get(request.key)
            part = ask.indices[0] // lines_per_call
            if answer is None:
                # Asked again by this run, the same answers could come in another order than
                # they will from the journal, and lead elsewhere.
                place.given_up.add(part)
                place.reason = "no answer"
                continue
            place.tried[part] = ask.attempt + 1
            good = []
            candidates = texts_of(answer.content)
            if not candidates:
                refused["empty answer"] += 1
                place.reason = "empty answer"
            for text in candidates:
                line = Line(
                    class_name,
                    place.wish.prompt.view,
                    text,
                    source=ask.source,
                    group=group,
                    against=ask.against,
                    index=ask.indices[0],
                    attempt=ask.attempt,
                    seed=request.seed,
                )
                reason = _reason_against(line, seen, place.wish.prompt.min_words, language)
                if reason:
                    refused[reason.partition(":")[0]] += 1
                    place.reason = reason
                    aside.append(replace(line, reason=reason))
                else:
                    seen.add(normalised(text))
                    good.append(line)
            for index, line in zip(ask.indices, good, strict=False):
                place.filled[index] = replace(line, index=index)
            place.spare += good[len(ask.indices) :]
        for place in places:
            for index, line in zip(place.missing, place.spare, strict=False):
                place.filled[index] = replace(line, index=index)
            place.spare.clear()

    replaced = [line for line in stored if _is_replaced(line, places, sources)]
    aside += [replace(line, reason=f"{SUPERSEDED} by a newer prompt or model") for line in replaced]
    filled = [place.filled[index] for place in places for index in sorted(place.filled)]
    elsewhere = {id(line) for line in (*filled, *replaced)}
    others = [line for line in stored if id(line) not in elsewhere]
    missing = [
        Missing(class_name, place.wish.prompt.id, index, place.wish.against, place.reason)
        for place in places
        for index in place.missing
    ]
    return ClassResult(
        lines=tuple(_ordered([*others, *filled], sources, wishes)),
        aside=tuple(aside),
        missing=tuple(missing),
        refused=dict(refused),
        n_new=sum(line.text not in before for line in filled),
    )


def _open_places(
    wish: Wish,
    stored: Sequence[Line],
    aside: list[Line],
    sources: Mapping[str, Source],
    lines_per_call: int,
) -> _Place:
    filled = {
        line.index: line
        for line in stored
        if line.index is not None
        and _is_of(line, wish, sources)
        and (line.source == wish.source or line.is_reviewed)
    }
    tried: dict[int, int] = {}
    for line in list(aside):
        if (line.source, line.against) != (wish.source, wish.against) or line.index is None:
            continue
        if line.reason.startswith(SUPERSEDED):
            if line.index not in filled:  # the prompt or model of before is wanted again
                filled[line.index] = replace(line, reason="")
                aside.remove(line)
        else:
            part = line.index // lines_per_call
            tried[part] = max(tried.get(part, 0), line.attempt + 1)
    return _Place(wish, filled, tried)


def _asks(
    place: _Place,
    class_name: str,
    group: str,
    lines_per_call: int,
    media: tuple[tuple[str, bytes], ...],
) -> list[Ask]:
    """Return the calls for what is missing.

    The places are parted by a fixed grid, so that a call keeps its key whatever came before it.
    """
    parts: dict[int, list[int]] = {}
    for index in place.missing:
        if (part := index // lines_per_call) not in place.given_up:
            parts.setdefault(part, []).append(index)
    written = [place.filled[index].text for index in sorted(place.filled)][-_N_REMINDED:]
    return [
        Ask(
            class_name=class_name,
            group=group,
            against=place.wish.against,
            source=place.wish.source,
            indices=tuple(indices),
            attempt=place.tried.get(part, 0),
            already_written=tuple(written) if part in place.tried else (),
            media=media,
        )
        for part, indices in parts.items()
    ]


def _reason_against(line: Line, seen: set[str], min_words: int, language: str) -> str:
    if normalised(line.text) in seen:
        return "duplicate: of a line of its class, or of an example"
    return _fault_in(line.text, line.class_name, min_words, language)


@lru_cache(maxsize=1 << 15)  # the table is written from the same answers a moment later
def _fault_in(text: str, class_name: str, min_words: int, language: str) -> str:
    for fault in text_faults(masked(text, class_name), language=language, min_words=min_words):
        if fault.severity == "error" or fault.kind in _REFUSED_KINDS:
            if fault.kind == "truncated" and min_words < 4:
                continue  # a phrase needs no full stop
            return f"{fault.kind}: {fault.evidence}"
    return ""


def _is_of(line: Line, wish: Wish, sources: Mapping[str, Source]) -> bool:
    source = sources.get(line.source)
    return source is not None and source.prompt == wish.prompt.id and line.against == wish.against


def _is_stale(line: Line, wishes: Sequence[Wish], sources: Mapping[str, Source]) -> bool:
    return not line.is_reviewed and any(
        _is_of(line, wish, sources) and line.source != wish.source for wish in wishes
    )


def _is_replaced(line: Line, places: Sequence[_Place], sources: Mapping[str, Source]) -> bool:
    return not line.is_reviewed and any(
        _is_of(line, place.wish, sources)
        and line.source != place.wish.source
        and line.index in place.filled
        for place in places
    )


def _ordered(
    lines: Sequence[Line], sources: Mapping[str, Source], wishes: Sequence[Wish]
) -> list[Line]:
    prompts = [source.prompt for source in sources.values()]
    prompts += [wish.prompt.id for wish in wishes]
    rank = {prompt: at for at, prompt in enumerate(dict.fromkeys(filter(None, prompts)))}

    def place_of(line: Line) -> tuple[int, str, int]:
        source = sources.get(line.source)
        prompt = source.prompt if source else line.source.partition("-")[0]
        if line.index is None or prompt not in rank:
            return (-1, "", 0)
        return (rank[prompt], line.against, line.index)

    return sorted(lines, key=place_of)
