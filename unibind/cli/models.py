"""``unibind models``: which weights there are, bring them here, say where they lie."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from unibind.cli.output import AsJson, emit, progress, warn

if TYPE_CHECKING:
    from unibind.weights import Model

app = typer.Typer(help="Weights: pinned, fetched once, checked when used.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the models: what for, how large, whose licence, and whether they are here."""
    from unibind import weights

    rows = [_row(model) for model in weights.MODELS.values()]

    def people() -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for heading in ("name", "state", "MB", "licence", "what for"):
            table.add_column(
                heading, overflow="fold", justify="right" if heading == "MB" else "left"
            )
        for row in rows:
            size = f"{row['bytes'] / 1e6:.1f}"
            table.add_row(row["name"], row["state"], size, row["licence"], row["purpose"])
        Console().print(table)

    emit(rows, as_json=as_json, people=people)


@app.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models; without any, what the space mini needs.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every model of the list.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring models here; those that are whole stay as they are, damaged ones are repaired."""
    from unibind import weights
    from unibind.errors import FetchError

    if names and every:
        raise typer.BadParameter("name models or say --all, not both")
    default = [model.name for model in weights.MODELS.values() if every or model.in_mini]
    rows, failures = [], []
    for name in names or default:
        model = _known(name)
        if weights.state(name) != weights.State.PRESENT:
            warn(f"fetching {name} ({model.n_bytes / 1e6:.1f} MB, {model.licence})")
        try:
            with progress(name, in_bytes=True) as bar:
                folder = weights.fetch(name, progress=bar)
            rows.append(_row(model) | {"path": str(folder)})
        except FetchError as error:
            failures.append(str(error))

    def people() -> None:
        for row in rows:
            print(f"{row['name']}: {row['path']}\n  {row['licence']}; {row['attribution']}")

    emit(rows, as_json=as_json, people=people)
    if failures:
        for failure in failures[:-1]:
            warn(f"error: {failure}")
        raise FetchError(failures[-1])


@app.command()
def path(
    name: Annotated[str, typer.Argument(help="A model of the list.")], as_json: AsJson = False
) -> None:
    """Print the folder of a model's files, once they are checked."""
    from unibind import weights

    folder = weights.path(_known(name).name)
    emit({"name": name, "path": str(folder)}, as_json=as_json, people=lambda: print(folder))


def _known(name: str) -> "Model":
    from unibind.weights import MODELS

    if name not in MODELS:
        raise typer.BadParameter(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]


def _row(model: "Model") -> dict[str, Any]:
    from unibind.weights import state

    return {
        "name": model.name,
        "purpose": model.purpose,
        "bytes": model.n_bytes,
        "licence": model.licence,
        "attribution": model.attribution,
        "state": str(state(model.name)),
    }
