"""Finds the lines of a base that would do harm in a center, before they get there.

Three kinds of rules: what is wrong with a text by itself (`faults`), what shows only beside the
other lines (copies, names of other classes), and what shows only in the text tower's space
(`geometry`; left out if no tower is given).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from unibind.errors import InvalidInputError
from unibind.knowledge.faults import (
    SEVERITIES,
    Fault,
    Severity,
    masked,
    normalised,
    text_faults,
    visible,
)
from unibind.knowledge.geometry import (
    MARGIN_LIMIT,
    MENTION_WEIGHT,
    NAMED_LIMIT,
    STRANGENESS_LIMIT,
    Geometry,
)
from unibind.knowledge.prompts import find_prompts
from unibind.knowledge.twins import P_LIMIT, twins_in
from unibind.knowledge.values import KnowledgeBase, Line
from unibind.protocols import Encoder

__all__ = ["Finding", "lint", "quarantined"]

_NEAR_COSINE: Final = 0.92
_NEAR_OVERLAP: Final = 0.75  # share of words that two lines have in common
_MAX_WORDS: Final = 50
_MIN_WORDS: Final = 4
_NOT_MISPLACED: Final = frozenset({"duplicate", "near-duplicate", "truncated", "too-long"})

TokenCounter = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one line.

    Attributes:
        row: 1-based line of descriptions.jsonl.
        kind: ``"duplicate"``, ``"refusal"``, ...
        severity: ``"note"``, ``"warning"`` or ``"error"``.
        evidence: What was found.
        remedy: What to do.
    """

    row: int
    kind: str
    severity: Severity
    evidence: str
    remedy: str


def lint(
    base: KnowledgeBase,
    *,
    encoder: Encoder | None = None,
    count_tokens: TokenCounter | None = None,
    max_tokens: int | None = None,
    severity: Severity = "warning",
    language: str = "en",
) -> list[Finding]:
    """Return what is wrong with a base's lines, by row.

    Args:
        base: The base; it may be unsealed.
        encoder: The text tower that will read the lines; without it nothing is said about
            misplaced lines, outliers and classes that are too close.
        count_tokens: The tower's tokens of each text.
        max_tokens: How many of them it reads.
        severity: The least that is returned.
        language: The language that the lines should be in.

    Raises:
        InvalidInputError: The severity is not known.
    """
    if severity not in SEVERITIES:
        raise InvalidInputError(f"no severity {severity!r}; there are {', '.join(SEVERITIES)}")
    findings = list(_by_themselves(base, language))
    findings += _copies(base.lines)
    if count_tokens is not None and max_tokens is not None:
        findings += _over_length(base.lines, count_tokens, max_tokens)
    if encoder is not None and len(base.lines) > 1:
        # A line that is already at fault says nothing about where its class lies.
        known = {f.row for f in findings if f.severity != "note" and f.kind not in _NOT_MISPLACED}
        geometry = Geometry.of(base, encoder, readable=visible, distrusted=known)
        findings += _near_copies(geometry, {f.row for f in findings if f.kind == "duplicate"})
        findings += [f for f in _misplaced(base, geometry) if f.row not in known]
        findings += _too_close(base, geometry)
    least = SEVERITIES.index(severity)
    findings = [f for f in findings if SEVERITIES.index(f.severity) >= least]
    return sorted(findings, key=lambda f: (f.row, -SEVERITIES.index(f.severity), f.kind))


def quarantined(
    base: KnowledgeBase, findings: Sequence[Finding], *, severity: Severity = "error"
) -> KnowledgeBase:
    """Return a base whose faulty lines are in quarantine, with what was found as the reason.

    Of lines that are copies of each other the first one stays. Reviewed lines stay: a person
    has seen them.

    Args:
        base: The base that was linted.
        findings: What lint found.
        severity: The least that takes a line out.
    """
    least = SEVERITIES.index(severity)
    reasons: dict[int, str] = {}
    for finding in findings:
        if SEVERITIES.index(finding.severity) >= least:
            reasons.setdefault(finding.row, f"{finding.kind}: {finding.evidence}")
    kept, aside = [], list(base.quarantine)
    for row, line in enumerate(base.lines, start=1):
        if row in reasons and not line.is_reviewed:
            aside.append(replace(line, reason=reasons[row]))
        else:
            kept.append(line)
    return replace(base, lines=tuple(kept), quarantine=tuple(aside))


def _by_themselves(base: KnowledgeBase, language: str) -> Iterator[Finding]:
    shortest = _shortest(base)
    for row, line in enumerate(base.lines, start=1):
        faults = text_faults(
            masked(line.text, line.class_name),
            language=language,
            min_words=shortest.get(line.source, _MIN_WORDS),
            max_words=_MAX_WORDS,
        )
        for fault in faults:
            yield _finding(row, fault)


def _shortest(base: KnowledgeBase) -> dict[str, int]:
    """Return the fewest words of a line by source: a prompt may ask for phrases."""
    known: dict[str, int] = {}
    for key, source in base.sources.items():
        try:
            (prompt,) = find_prompts([source.prompt])
        except InvalidInputError:
            continue  # a person's own prompt, or none
        known[key] = min(prompt.min_words, _MIN_WORDS)
    return known


def _copies(lines: Sequence[Line]) -> Iterator[Finding]:
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, line in enumerate(lines, start=1):
        if text := normalised(line.text):
            rows_of[text].append(row)
    for rows in rows_of.values():
        for at, row in enumerate(rows if len(rows) > 1 else ()):
            others = ", ".join(str(other) for other in rows[:6] if other != row)
            yield Finding(
                row,
                "duplicate",
                "error" if at else "warning",
                f"the same text as line {others}",
                "keep one of them" if at else "keep this one, drop the copies",
            )


def _over_length(
    lines: Sequence[Line], count_tokens: TokenCounter, max_tokens: int
) -> Iterator[Finding]:
    counts = count_tokens([visible(line.text) for line in lines])
    for row, count in enumerate(counts, start=1):
        if count > max_tokens:
            yield Finding(
                row,
                "over-length",
                "error",
                f"{count} tokens, the text tower reads {max_tokens}",
                "shorten it: the rest would not count",
            )


def _near_copies(geometry: Geometry, copies: set[int]) -> Iterator[Finding]:
    seen: set[int] = set()
    pairs = [(a, b, f"cosine {c:.2f}") for a, b, c in geometry.near_pairs(_NEAR_COSINE)]
    pairs += [(a, b, f"{share:.0%} of the words") for a, b, share in _overlaps(geometry.words)]
    for first, second, evidence in pairs:
        if {first + 1, second + 1} <= copies:
            continue
        for row, other in ((second + 1, first + 1), (first + 1, second + 1)):
            if row not in seen:
                seen.add(row)
                told = f"nearly line {other}: {evidence}"
                yield Finding(row, "near-duplicate", "warning", told, "keep one, or write it anew")


def _overlaps(words: Sequence[Sequence[str]]) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of lines that share most of their words, found through pairs of words."""
    by_shingle: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, line in enumerate(words):
        for shingle in set(pairwise(line)):
            by_shingle[shingle].append(row)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for rows in by_shingle.values():
        if 1 < len(rows) <= 20:  # "of the" says nothing
            for at, first in enumerate(rows):
                for second in rows[at + 1 :]:
                    shared[first, second] += 1
    for (first, second), count in shared.items():
        a, b = set(words[first]), set(words[second])
        overlap = len(a & b) / max(len(a), len(b))
        if count >= 2 and overlap >= _NEAR_OVERLAP:
            yield first, second, overlap


def _misplaced(base: KnowledgeBase, geometry: Geometry) -> Iterator[Finding]:
    for at in np.flatnonzero(geometry.is_settled).tolist():
        margin, rival = float(geometry.margins[at]), base.classes[geometry.rivals[at]]
        if geometry.strangeness[at] > STRANGENESS_LIMIT:
            yield Finding(
                at + 1,
                "outlier",
                "warning",
                f"far from every other line ({geometry.strangeness[at]:.1f} deviations, limit "
                f"{STRANGENESS_LIMIT})",
                "drop it unless it is about the class: it would drag the center",
            )
        elif margin > MARGIN_LIMIT:
            yield Finding(
                at + 1,
                "misplaced",
                "warning",
                f"nearer to {rival!r} ({margin:.1f} deviations, limit {MARGIN_LIMIT})",
                f"drop it, or move it to {rival!r}",
            )
        yield from _names_another(base, geometry, at)


def _names_another(base: KnowledgeBase, geometry: Geometry, at: int) -> Iterator[Finding]:
    mentions = geometry.mentions
    evidence = {
        other: geometry.margin_to(at, other) + MENTION_WEIGHT * mentions.weights[other]
        for other in mentions.others[at]
    }
    if evidence:
        other = max(evidence, key=lambda name: evidence[name])
        own = base.lines[at].class_name
        yield Finding(
            at + 1,
            "names-other-class",
            "warning" if evidence[other] > NAMED_LIMIT else "note",
            f"names {base.classes[other]!r} and not {own!r} ({evidence[other]:.1f} deviations "
            f"nearer, limit {NAMED_LIMIT})",
            f"say what holds of {own!r} without naming another class",
        )


def _too_close(base: KnowledgeBase, geometry: Geometry) -> Iterator[Finding]:
    first_row: dict[str, int] = {}
    for row, line in enumerate(base.lines, start=1):
        first_row.setdefault(line.class_name, row)
    for twins in twins_in(geometry):
        p_value = f"{twins.p_value:.2f}, limit {P_LIMIT}"
        yield Finding(
            first_row[twins.first],
            "classes-too-close",
            "warning" if twins.is_one else "note",
            f"{twins.first!r} and {twins.second!r}: their means have cosine {twins.likeness:.2f}; "
            f"lines shared out at random are as far apart with p = {p_value}",
            "ask what tells them apart: unibind knowledge build NAME --contrast 4",
        )


def _finding(row: int, fault: Fault) -> Finding:
    return Finding(row, fault.kind, fault.severity, fault.evidence, fault.remedy)
