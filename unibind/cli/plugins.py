"""``unibind plugins``: which parts are installed, whose they are, and whether they load."""

from typing import Annotated

import typer

from unibind import plugins as door
from unibind.cli.output import AsJson, emit, printable
from unibind.errors import PluginError
from unibind.types import Json

__all__ = ["plugins"]


def plugins(
    check: Annotated[
        bool, typer.Option("--check", help="Import each, and fail if one does not load.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the encoders, modalities, writers and stores installed."""
    rows: list[dict[str, Json]] = [
        {"group": group, "name": each.name, "target": each.target, "package": each.package}
        | ({"error": _error(group, each.name)} if check else {})
        for group in door.GROUPS
        for each in door.plugins(group)
    ]
    emit(rows, as_json=as_json, people=lambda: _print(rows))
    broken = [f"{row['name']} ({row['error']})" for row in rows if row.get("error")]
    if broken:
        raise PluginError(f"{len(broken)} of {len(rows)} do not load: {'; '.join(broken)}")


def _error(group: str, name: str) -> str | None:
    """Return why a plug-in does not load, None if it does."""
    try:
        door.load(group, name)
    except PluginError as error:
        return str(error)
    return None


def _print(rows: list[dict[str, Json]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    is_checked = any("error" in row for row in rows)
    for heading in ("group", "name", "package", *(["loads"] if is_checked else [])):
        table.add_column(heading, overflow="fold")
    group = ""
    for row in rows:
        told = "" if row["group"] == group else row["group"].removeprefix("unibind.")
        group = row["group"]
        cells = [told, row["name"], row["package"]]
        if is_checked:
            cells.append("no" if row["error"] else "yes")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)
