"""What a person does with lines: accept, reject, edit, sign off, and see what changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from unibind.errors import InvalidInputError
from unibind.knowledge.geometry import center_shifts
from unibind.knowledge.values import KnowledgeBase, Line
from unibind.protocols import Encoder

__all__ = ["Difference", "accept", "difference", "edit", "reject", "sign_off"]


@dataclass(frozen=True)
class Difference:
    """What is different in a second base.

    Attributes:
        added: Lines that only the second one has.
        removed: Lines that only the first one has.
        moved: (line as it was, line as it is) where only class or view are different.
        classes_added: Classes that only the second one has.
        classes_removed: Classes that only the first one has.
        shifts: Class to how far its center moved, 1 - cosine; only classes that moved.
    """

    added: tuple[Line, ...]
    removed: tuple[Line, ...]
    moved: tuple[tuple[Line, Line], ...]
    classes_added: tuple[str, ...]
    classes_removed: tuple[str, ...]
    shifts: Mapping[str, float] = field(default_factory=dict)


def accept(base: KnowledgeBase, rows: Sequence[int], *, reviewer: str) -> KnowledgeBase:
    """Return a base in which a person stands for some lines.

    Args:
        base: The base.
        rows: 1-based lines of descriptions.jsonl.
        reviewer: The person.

    Raises:
        InvalidInputError: There is no such line, or no reviewer is named.
    """
    chosen = _chosen(base, rows, reviewer)
    lines = tuple(
        replace(line, status="accepted", reviewer=reviewer)
        if row in chosen and line.status != "edited"
        else line
        for row, line in enumerate(base.lines, start=1)
    )
    return replace(base, lines=lines)


def reject(
    base: KnowledgeBase, rows: Sequence[int], *, reviewer: str, reason: str = ""
) -> KnowledgeBase:
    """Return a base in which some lines are in quarantine, with the person and the reason.

    Raises:
        InvalidInputError: There is no such line, or no reviewer is named.
    """
    chosen = _chosen(base, rows, reviewer)
    told = f"rejected: {reason}" if reason else "rejected"
    out = tuple(
        replace(line, status="unreviewed", reviewer=reviewer, reason=told)
        for row, line in enumerate(base.lines, start=1)
        if row in chosen
    )
    kept = tuple(line for row, line in enumerate(base.lines, start=1) if row not in chosen)
    return replace(base, lines=kept, quarantine=(*base.quarantine, *out))


def edit(base: KnowledgeBase, row: int, text: str, *, reviewer: str) -> KnowledgeBase:
    """Return a base in which a person wrote one line anew.

    Raises:
        InvalidInputError: There is no such line, no reviewer is named, or the text is empty.
    """
    _chosen(base, [row], reviewer)
    if not text.strip():
        raise InvalidInputError("the new text is empty; reject the line instead")
    lines = list(base.lines)
    lines[row - 1] = replace(lines[row - 1], text=text, status="edited", reviewer=reviewer)
    return replace(base, lines=tuple(lines))


def sign_off(base: KnowledgeBase, *, reviewer: str) -> KnowledgeBase:
    """Return a base that takes no unreviewed line from now on; "" withdraws the signature."""
    return replace(base, signed_off_by=reviewer)


def difference(
    before: KnowledgeBase, after: KnowledgeBase, *, encoder: Encoder | None = None
) -> Difference:
    """Return what changed from one base to another.

    Args:
        before: The one.
        after: The other.
        encoder: The text tower; without it, centers are not compared.
    """
    old, new = _counted(before), _counted(after)
    removed, added = list((old - new).elements()), list((new - old).elements())
    moved = []
    gone = {line.text: line for line in removed}
    for line in list(added):
        if line.text in gone:
            was = gone.pop(line.text)
            moved.append((was, line))
            removed.remove(was)
            added.remove(line)
    shifts = {} if encoder is None else center_shifts(before, after, encoder)
    return Difference(
        added=tuple(added),
        removed=tuple(removed),
        moved=tuple(moved),
        classes_added=tuple(name for name in after.classes if name not in before.lines_by_class),
        classes_removed=tuple(name for name in before.classes if name not in after.lines_by_class),
        shifts={name: shift for name, shift in shifts.items() if shift > 0},
    )


def _counted(base: KnowledgeBase) -> Counter[Line]:
    """Return how often each (class, view, text) stands in a base, as bare lines."""
    return Counter(Line(line.class_name, line.view, line.text) for line in base.lines)


def _chosen(base: KnowledgeBase, rows: Sequence[int], reviewer: str) -> set[int]:
    if not reviewer.strip():
        raise InvalidInputError("name the reviewer: --reviewer NAME")
    if wrong := [row for row in rows if not 1 <= row <= len(base.lines)]:
        raise InvalidInputError(
            f"{base.name!r} has lines 1 to {len(base.lines)}, there is no line {wrong[0]}; "
            f"`unibind knowledge show {base.name} --csv` has the numbers"
        )
    return set(rows)
