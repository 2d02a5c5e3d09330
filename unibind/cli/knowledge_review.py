"""``unibind knowledge accept|reject|edit|sign-off|diff``: what a reviewer does."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.output import AsJson, emit, printable

if TYPE_CHECKING:
    from unibind.knowledge.values import KnowledgeBase, Line
    from unibind.types import Json

Name = Annotated[str, typer.Argument(help="A knowledge base: its name or its folder.")]
Rows = Annotated[
    str, typer.Option(help="Lines of descriptions.jsonl: '3,7-12', 'all', or 'class NAME'.")
]
Reviewer = Annotated[str, typer.Option(help="Your name; it is kept with each line.")]


def accept(name: Name, rows: Rows, reviewer: Reviewer, as_json: AsJson = False) -> None:
    """Stand for lines: they have been read and found right."""
    from unibind.knowledge import review

    _change(name, lambda b: review.accept(b, _rows(b, rows), reviewer=reviewer), as_json)


def reject(
    name: Name,
    rows: Rows,
    reviewer: Reviewer,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Move lines into quarantine; the next build asks again for those that were written."""
    from unibind.knowledge import review

    _change(
        name,
        lambda b: review.reject(b, _rows(b, rows), reviewer=reviewer, reason=reason),
        as_json,
    )


def edit(
    name: Name,
    row: Annotated[int, typer.Argument(help="Line of descriptions.jsonl, from 1.")],
    text: Annotated[str, typer.Argument(help="The new sentence.")],
    reviewer: Reviewer,
    as_json: AsJson = False,
) -> None:
    """Write one line anew; later builds leave it as it is."""
    from unibind.knowledge import review

    _change(name, lambda b: review.edit(b, row, text, reviewer=reviewer), as_json)


def sign_off(
    name: Name,
    reviewer: Annotated[str, typer.Option(help="Your name.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take it back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Vouch for a whole base: from then on it refuses unreviewed lines."""
    from unibind.knowledge import review

    if bool(reviewer) == withdraw:
        raise typer.BadParameter("give --reviewer NAME or --withdraw")
    _change(name, lambda b: review.sign_off(b, reviewer=reviewer), as_json)


def diff(
    before: Annotated[str, typer.Argument(help="A knowledge base: its name or its folder.")],
    after: Annotated[str, typer.Argument(help="Another one.")],
    tower: Annotated[
        str, typer.Option(help="Text tower that centers are compared with; 'none' leaves it out.")
    ] = "minilm-l6",
    as_json: AsJson = False,
) -> None:
    """Show lines added, removed and moved, and how far each class's center moved."""
    from dataclasses import asdict

    from unibind.cli.text_tower import load_tower
    from unibind.knowledge.base import open_base
    from unibind.knowledge.review import difference

    encoder = None if tower == "none" else load_tower(tower).encoder
    changes = difference(open_base(before), open_base(after), encoder=encoder)
    result = {
        "added": [_short(line) for line in changes.added],
        "removed": [_short(line) for line in changes.removed],
        "moved": [{"from": _short(a), "to": _short(b)} for a, b in changes.moved],
        "classes_added": changes.classes_added,
        "classes_removed": changes.classes_removed,
        "center_shifts": asdict(changes)["shifts"],
    }

    def people() -> None:
        for sign, lines in (("-", changes.removed), ("+", changes.added)):
            for line in lines:
                print(f"{sign} {_told(line)}")
        for was, line in changes.moved:
            print(f"> {_told(line)} (was {was.class_name}, {was.view})")
        for name, shift in sorted(changes.shifts.items(), key=lambda item: -item[1]):
            print(f"center of {name} moved by {shift:.3f} (1 - cosine)")
        print(
            f"{len(changes.added)} added, {len(changes.removed)} removed, {len(changes.moved)} "
            f"moved; {len(changes.shifts)} centers moved"
        )

    emit(result, as_json=as_json, people=people)


def _change(name: str, change: "Callable[[KnowledgeBase], KnowledgeBase]", as_json: bool) -> None:
    from unibind.knowledge.base import open_base, own_folder, save_base

    base = save_base(change(open_base(name)), own_folder(name))
    n_reviewed = sum(line.is_reviewed for line in base.lines)
    result = {
        "name": base.name,
        "lines": len(base.lines),
        "reviewed": n_reviewed,
        "quarantine": len(base.quarantine),
        "signed_off_by": base.signed_off_by,
        "content_id": base.content_id,
    }
    signature = f", signed off by {base.signed_off_by}" if base.signed_off_by else ""
    emit(
        result,
        as_json=as_json,
        people=lambda: print(
            f"{base.name}: {n_reviewed} of {len(base.lines)} lines reviewed, "
            f"{len(base.quarantine)} in quarantine{signature}"
        ),
    )


def _rows(base: "KnowledgeBase", text: str) -> list[int]:
    numbered = list(enumerate(base.lines, start=1))
    if text == "all":
        return [row for row, _ in numbered]
    if text.startswith("class "):
        name = text.removeprefix("class ")
        base.texts(name)  # refuses an unknown class
        return [row for row, line in numbered if line.class_name == name]
    rows: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise typer.BadParameter(f"--rows: {part!r} is no line or range; write 3,7-12")
        rows += range(int(first), int(last or first) + 1)
    return rows


def _short(line: "Line") -> "dict[str, Json]":
    return {"class_name": line.class_name, "view": line.view, "text": line.text}


def _told(line: "Line") -> str:
    return printable(f"{line.class_name} ({line.view}): {line.text}")
