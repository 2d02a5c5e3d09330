"""``unibind keys``: who may use a served space."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.items import SpaceOption
from unibind.cli.output import AsJson, emit

if TYPE_CHECKING:
    from unibind.service.access import KeyRing

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make and remove the keys of a served space.")

FileOption = Annotated[
    Path | None, typer.Option("--file", help="Where the keys' hashes lie; beside the space.")
]
Name = Annotated[str, typer.Argument(help="What you call the key; it stands in logs.")]


@app.command()
def add(
    name: Name,
    role: Annotated[str, typer.Option(help="read, write or admin.")] = "read",
    space: SpaceOption = "mini",
    file: FileOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, once: only its hash is kept."""
    secret = _ring(space, file).add(name, role)
    emit(
        {"name": name, "role": role, "key": secret},
        as_json=as_json,
        people=lambda: print(secret),
    )


@app.command("list")
def list_keys(
    space: SpaceOption = "mini", file: FileOption = None, as_json: AsJson = False
) -> None:
    """List the keys by name; the keys themselves are not kept."""
    keys = _ring(space, file).keys()

    def people() -> None:
        for key in keys:
            print(f"{key.name:<24} {key.role:<6} {key.created}")

    told = [{k: v for k, v in asdict(key).items() if k != "digest"} for key in keys]
    emit({"keys": told}, as_json=as_json, people=people)


@app.command()
def remove(
    name: Name, space: SpaceOption = "mini", file: FileOption = None, as_json: AsJson = False
) -> None:
    """Remove a key; a running service forgets it within seconds."""
    _ring(space, file).remove(name)
    emit({"removed": name}, as_json=as_json, people=lambda: print(f"removed {name}"))


def _ring(space: str, file: Path | None) -> "KeyRing":
    from unibind import artifact
    from unibind.service.access import KeyRing

    if file is not None:
        return KeyRing(file)
    given = Path(space)
    is_place = artifact.exists(given / "space") or len(given.parts) > 1
    return KeyRing((given if is_place else Path("indexes") / given) / "keys.json")
