"""`unibind quickstart`: the whole idea on public pictures, in a few minutes."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.output import AsJson, emit, progress, warn
from unibind.types import ProgressCallback

if TYPE_CHECKING:
    from rich.table import Table

    from unibind.evaluation.arms import Row
    from unibind.quickstart import Quickstart

__all__ = ["quickstart"]


def quickstart(
    space: Annotated[
        Path, typer.Option("--space", help="Folder in which the space is built.")
    ] = Path("indexes/mini"),
    again: Annotated[
        bool, typer.Option("--again", help="Measure again even if nothing has changed.")
    ] = False,
    all_senses: Annotated[
        bool,
        typer.Option("--all", help="Add sounds, shapes, traces and clips, and search across them."),
    ] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Over how many random splits to measure.")
    ] = 5,
    as_json: AsJson = False,
) -> None:
    """Build space mini on public pictures, measure it, and show what it finds.

    Fetches 120 MB of weights and 170 MB of pictures the first time; takes a few minutes.
    """
    from unibind.quickstart import quickstart as run

    outcome = run(
        space, reporter=_Terminal(), seeds=range(seeds), again=again, all_senses=all_senses
    )
    value = {
        "table": outcome.table,
        "tables": outcome.tables,
        "searches": outcome.crossed,
        "seconds": outcome.seconds,
        "is_new": outcome.is_new,
        "report": str(outcome.folder / "report.md"),
        "pictures": [str(picture) for picture in outcome.pictures],
    }
    emit(value, as_json=as_json, people=lambda: _print(outcome, space))


class _Terminal:
    """Tells a person at a terminal what is going on, on stderr."""

    def say(self, message: str) -> None:
        warn(message)

    def progress(
        self, label: str, *, in_bytes: bool = False
    ) -> AbstractContextManager[ProgressCallback]:
        return progress(label, in_bytes=in_bytes)


def _print(outcome: "Quickstart", space: Path) -> None:
    from rich.console import Console

    console = Console()
    console.print(_table("Pictures find their captions; unseen and seen classes", outcome.table))
    console.print(
        "R@k: share of held-out pictures whose right answer is among the first k. "
        "n pictures a seed, among 'of' answers.",
        style="dim",
    )
    for search in outcome.crossed:
        found = ", ".join(f"{hit['caption']} ({hit['modality']})" for hit in search["hits"][:6])
        console.print(f"\n{search['title']}", style="bold", highlight=False, markup=False)
        console.print(f"  {found}", highlight=False, markup=False)
    if outcome.crossed:
        console.print(
            "\nThese searches show what can be asked: their heads were trained on these very sets. "
            "How well it works on items that no head has met stands in docs/modalities.",
            style="dim",
        )
    console.print(f"\nReport and pictures ({outcome.seconds:.0f} s):")
    for file in (outcome.folder / "report.md", *outcome.pictures):
        console.print(f"  {file}", highlight=False, soft_wrap=True)
    flag = "" if space == Path("indexes/mini") else f" --space {space}"
    console.print("\nWhat to type next:")
    for command in (
        f'unibind classify my.jpg --classes "a cat,a dog,a car"{flag}',
        f"unibind classify my.jpg --knowledge everyday{flag}",
        f'unibind search --text "something to eat" --into image --k 5{flag}',
        f"unibind index add my-pictures/{flag}",
        "unibind knowledge show everyday",
    ):
        console.print(f"  {command}", highlight=False, soft_wrap=True, markup=False)


def _table(title: str, rows: "list[Row]") -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("arm")
    for name in ("R@1", "95 % interval", "R@5", "n", "of", "chance"):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = row["interval_r_at_1"]
        table.add_row(
            row["arm"] + (" (default)" if row["default"] else ""),
            f"{row['r_at_1']:.3f}",
            f"{low:.3f}, {high:.3f}",
            f"{row['r_at_5']:.3f}",
            str(row["n"]),
            str(row["gallery"]),
            f"{row['chance']:.3f}",
            style="bold" if row["default"] else "",
        )
    return table
