"""How knowledge bases are printed for people: tables, one class, CSV."""

import csv
import sys
from collections import Counter

from unibind.cli.output import printable, warn
from unibind.knowledge.gaps import gaps
from unibind.knowledge.values import KnowledgeBase
from unibind.types import Json

_COLUMNS = ("row", "class_name", "group", "view", "text", "source", "status", "reviewer")


def rows_of(
    base: KnowledgeBase, *, class_name: str | None = None, view: str | None = None
) -> list[dict[str, Json]]:
    """Return the lines of a base, of one class or view, with their row in descriptions.jsonl.

    Raises:
        InvalidInputError: The base has no such class or view.
    """
    # Ask first, so that a typing error is told from an empty answer.
    base.texts(class_name or base.classes[0], views=[view] if view else None)
    return [
        {
            "row": row,
            "class_name": line.class_name,
            "group": line.group,
            "view": line.view,
            "text": line.text,
            "source": line.source,
            "status": line.status,
            "reviewer": line.reviewer,
        }
        for row, line in enumerate(base.lines, start=1)
        if class_name in (None, line.class_name) and view in (None, line.view)
    ]


def print_csv(rows: list[dict[str, Json]]) -> None:
    """Print lines as CSV."""
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def print_classes(base: KnowledgeBase, rows: list[dict[str, Json]]) -> None:
    """Print one row a class: how many lines of each view."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    views = list(dict.fromkeys(row["view"] for row in rows))
    counts = Counter((row["class_name"], row["view"]) for row in rows)
    sensors = Counter(entry.class_name for entry in base.attributes)
    table = Table(title=f"{base.name}: {len(rows)} lines, {len(base.classes)} classes")
    for heading in ("class", "group"):
        table.add_column(heading)
    for heading in (*views, "sensors"):
        table.add_column(heading, justify="right")
    for name in base.classes:
        numbers = [str(counts[name, view]) for view in views]
        table.add_row(
            Text(printable(name)), Text(base.groups.get(name, "")), *numbers, str(sensors[name])
        )
    Console().print(table)


def print_class(base: KnowledgeBase, class_name: str, rows: list[dict[str, Json]]) -> None:
    """Print the lines and ranges of one class."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{base.name}: {printable(class_name)}"), title_justify="left")
    for heading in ("row", "view", "text", "source", "review"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        review = f"{row['status']} {row['reviewer']}".strip()
        table.add_row(
            str(row["row"]), row["view"], Text(printable(row["text"])), row["source"], review
        )
    console = Console()
    console.print(table)
    for entry in base.attributes:
        if entry.class_name == class_name:
            ranges = ", ".join(
                f"{name} {low:g} to {high:g}" for name, (low, high) in entry.ranges.items()
            )
            console.print(Text(f"{entry.sensor}: {ranges}"))


def tell_gaps(base: KnowledgeBase) -> None:
    """Tell on stderr which lines a build did not get, and the command that asks for them."""
    missing = gaps(base)
    if not missing:
        return
    shown = ", ".join(f"{gap.class_name!r} {gap.prompt} {gap.n_missing}" for gap in missing[:8])
    rest = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
    n_lines = sum(gap.n_missing for gap in missing)
    writer = base.plan.get("writer", "local")
    warn(
        f"{base.name} is unfinished, {n_lines} lines missing ({printable(shown)}{rest}); to ask "
        f"for them: unibind knowledge build {base.name} --writer {writer}, with the options that "
        "it was built with"
    )
