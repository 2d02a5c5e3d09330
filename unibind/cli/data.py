"""``unibind data``: the public sets, how to bring them here, and what a set of files holds."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.output import AsJson, emit, progress, warn
from unibind.types import Json

if TYPE_CHECKING:
    from unibind.datasets import Dataset, LabelledItem

app = typer.Typer(help="Labelled sets of files, public ones and your own.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the public sets, with their licences and whether they are here."""
    from unibind.datasets import SETS, is_here

    rows: list[dict[str, Json]] = [
        {
            "name": named.name,
            "what": named.what,
            "items": named.n_items,
            "download_bytes": named.n_bytes,
            "licence": named.licence,
            "attribution": named.attribution,
            "packages": [f"{package} ({package.manager})" for package in named.packages],
            "present": is_here(named),
        }
        for named in SETS.values()
    ]

    def people() -> None:
        from shutil import get_terminal_size
        from textwrap import fill

        width = min(get_terminal_size().columns, 100)
        for row in rows:
            state = "here" if row["present"] else f"{_megabytes(row['download_bytes'])} to download"
            print(f"{row['name']}: {row['items']:,} items, {state}")
            for told in (row["what"], f"{row['licence']}; credit: {row['attribution']}"):
                print(fill(told, width, initial_indent="  ", subsequent_indent="  "))

    emit(rows, as_json=as_json, people=people)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Sets, as `unibind data list` names them.")],
    as_json: AsJson = False,
) -> None:
    """Bring public sets here through the package managers of this machine; nothing is installed."""
    from unibind.datasets import fetch as fetch_one
    from unibind.datasets import is_here, named_set
    from unibind.datasets.named import folder_of

    fetched = []
    for named in [named_set(name) for name in dict.fromkeys(names)]:  # all are known, or none comes
        if not is_here(named):
            warn(f"fetching {named.name}: {_megabytes(named.n_bytes)}, licence {named.licence}")
        with progress(named.name) as report:
            dataset = fetch_one(named.name, progress=report)
        fetched.append({**_origin(dataset), "path": str(folder_of(named))})

    def people() -> None:
        for row in fetched:
            print(f"{row['name']}: {row['items']} items in {row['path']}, from {row['source']}")
            print(f"licence: {row['licence']}; credit: {row['attribution']}")

    emit(fetched, as_json=as_json, people=people)


@app.command()
def show(
    name_or_path: Annotated[
        str, typer.Argument(help="A set's name, a folder of classes, or a CSV, JSONL or Parquet.")
    ],
    suffix: Annotated[
        list[str] | None, typer.Option(help="Of a folder, only files that end so: .png")
    ] = None,
    rows: Annotated[int, typer.Option(min=0, help="How many items to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show what a set holds: counts by class, group and split, what is missing, some items."""
    from unibind.datasets import open_dataset

    dataset = open_dataset(name_or_path, suffixes=suffix)
    counts = {
        "labels": _count(item.label for item in dataset.items),
        "groups": _count(item.group for item in dataset.items),
        "splits": _count(item.split for item in dataset.items),
    }
    missing = [item.key for item in dataset.missing()]
    result = {
        **_origin(dataset),
        "skipped": dict(dataset.skipped),
        "missing": missing,
        **counts,
        "rows": [_row(item) for item in dataset.items[:rows]],
    }

    def people() -> None:
        print(f"{dataset.name}: {len(dataset)} items, from {dataset.source}")
        if dataset.licence:
            print(f"licence: {dataset.licence}; credit: {dataset.attribution}")
        for what, n in dataset.skipped.items():
            print(f"left out: {n} ({what})")
        if missing:
            print(f"missing files: {len(missing)}, first {missing[0]}")
        for column, values in counts.items():
            print(f"{column}: {_most(values)}")
        for item in dataset.items[:rows]:
            print(f"  {item.key}  {item.label or '-'}  {item.caption or ''}")

    emit(result, as_json=as_json, people=people)


def _origin(dataset: "Dataset") -> dict[str, Json]:
    return {
        "name": dataset.name,
        "items": len(dataset),
        "licence": dataset.licence,
        "attribution": dataset.attribution,
        "source": dataset.source,
    }


def _row(item: "LabelledItem") -> dict[str, Json]:
    return {
        "key": item.key,
        "path": str(item.path),
        "label": item.label,
        "caption": item.caption,
        "group": item.group,
        "split": item.split,
        "extra": dict(item.extra),
    }


def _count(values: Iterable[str | None]) -> dict[str, int]:
    """Return how often each value is there, the most frequent first; None is not counted."""
    return dict(Counter(value for value in values if value is not None).most_common())


def _most(counts: dict[str, int], n_shown: int = 8) -> str:
    shown = [f"{value} {n}" for value, n in list(counts.items())[:n_shown]]
    rest = len(counts) - len(shown)
    return ", ".join(shown + [f"{rest} more"] * bool(rest)) or "none"


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f} MB"
