"""``unibind search``: what is stored in a space and means the same as a text or a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.items import ModalityOption, SpaceOption, gather, tell_bad
from unibind.cli.output import AsJson, emit, printable
from unibind.errors import InvalidInputError
from unibind.types import Hit, Json

if TYPE_CHECKING:
    from unibind.cli.items import Item
    from unibind.engine import Engine

__all__ = ["condition_of", "search"]

_SHOWN_CHARACTERS = 200  # of metadata; --json gives all of it


def search(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="What to search by, or - for stdin.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Or a text to search by.")] = None,
    into: Annotated[
        list[str] | None, typer.Option(help="Only among these modalities: image,audio")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="How many hits at most.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only what has this metadata: licence=CC0, or a condition in JSON."),
    ] = None,
    modality: ModalityOption = None,
    space: SpaceOption = "mini",
    as_json: AsJson = False,
) -> None:
    """Find what is stored and nearest to a text or a file.

    What is found may be of any modality, and so may the file. This is the short way; `unibind
    index search` also finds by a stored item's key or by words in the metadata, with scores'
    limits and groups.
    """
    if (file is None) == (text is None):
        raise typer.BadParameter("give either a FILE or --text", param_hint="FILE")
    condition = condition_of(where or ())
    modalities = _modalities(into)
    import unibind

    with unibind.open(space) as engine:
        _check_stored(engine, space, modalities)
        query = _query(engine, file, text, modality)
        (hits,) = engine.search(
            query.modality, [query.source], into=modalities, k=k, where=condition
        )
    result = {
        "space": space,
        "query": {"modality": query.modality, ("file" if text is None else "text"): query.name},
        "hits": [_row(hit) for hit in hits],
    }
    emit(result, as_json=as_json, people=lambda: _print(hits))


def _modalities(into: Sequence[str] | None) -> list[str] | None:
    if into is None:
        return None
    names = [name.strip() for given in into for name in given.split(",")]
    if not all(names):
        raise typer.BadParameter("a modality has no name", param_hint="--into")
    return list(dict.fromkeys(names))


def condition_of(given: Sequence[str]) -> dict[str, Json] | None:
    """Return the condition that all of --where make together."""
    conditions = [_one_condition(each) for each in given]
    if len(conditions) < 2:
        return conditions[0] if conditions else None
    return {"$and": conditions}


def _one_condition(given: str) -> dict[str, Json]:
    hint = "--where"
    if given.lstrip().startswith("{"):
        try:
            condition: dict[str, Json] = json.loads(given)
        except ValueError as error:
            raise typer.BadParameter(f"not JSON: {error}", param_hint=hint) from None
        return condition
    name, equals, value = given.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(
            f'{given!r} is neither name=value nor JSON such as {{"width": {{"$gte": 100}}}}',
            param_hint=hint,
        )
    return {name.strip(): {"$in": _readings(value)}}


def _readings(value: str) -> list[Json]:
    """Return what a value without a type may be: its text, and the number or truth it spells."""
    try:
        read = json.loads(value)
    except ValueError:
        return [value]
    return [value, read] if isinstance(read, bool | int | float) else [value]


def _check_stored(engine: "Engine", space: str, modalities: Sequence[str] | None) -> None:
    if not engine.count():
        raise InvalidInputError(
            f"nothing is stored in space {space}; add files with `unibind index add FILE... "
            f"--space {space}`"
        )
    for name in modalities or ():
        if not engine.count(name):
            raise InvalidInputError(
                f"nothing of modality {name!r} is stored in space {space}, which has "
                f"{engine.count():,} items of others; correct --into, or add some with "
                "`unibind index add`"
            )


def _query(engine: "Engine", file: str | None, text: str | None, modality: str | None) -> "Item":
    if file is not None and Path(file).is_dir():
        raise InvalidInputError(f"{file} is a folder; search by one file of it")
    items = gather(
        engine,
        [] if file is None else [file],
        texts=[] if text is None else [text],
        modality=modality,
    )
    tell_bad(items.bad, 1)
    return items.found[0]


def _row(hit: Hit) -> dict[str, Json]:
    return {
        "key": hit.key,
        "modality": hit.modality,
        "score": hit.score,
        "metadata": dict(hit.metadata),
    }


def _told(metadata: Mapping[str, Json]) -> str:
    return ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in metadata.items()
    )


def _shortened(told: str) -> str:
    return told if len(told) <= _SHOWN_CHARACTERS else f"{told[: _SHOWN_CHARACTERS - 4]} ..."


def _print(hits: Sequence[Hit]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not hits:
        print("nothing found: no stored item fulfils the condition")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("score", justify="right")
    table.add_column("modality")
    table.add_column("key, and metadata", overflow="fold")
    for rank, hit in enumerate(hits, start=1):
        table.add_row(
            str(rank),
            f"{hit.score:.3f}",
            hit.modality,
            Text(printable(hit.key)),
        )
        if hit.metadata:
            table.add_row("", "", "", Text(_shortened(printable(_told(hit.metadata))), style="dim"))
    Console().print(table)
