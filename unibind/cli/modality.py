"""``unibind modality new``: a package of one's own that adds a modality, working from the start."""

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from unibind.cli.output import AsJson, emit

app = typer.Typer(help="Modalities of your own.", no_args_is_help=True)

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TEMPLATES = "modality_template"

# The package's files to their templates; those of the instrument are made on request.
_FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "unibind_$name/__init__.py": "__init__.py.txt",
    "unibind_$name/reader.py": "reader.py.txt",
    "unibind_$name/encoder.py": "encoder.py.txt",
    "tests/test_$name.py": "test.py.txt",
}
_INSTRUMENT_FILES = {"unibind_$name/instrument.py": "instrument.py.txt"}

_INSTRUMENT_ENTRY = """
[project.entry-points."unibind.instruments"]
$dashed = "unibind_$name.instrument:${camel}Instrument"
"""
_INSTRUMENT_TEST = """
def test_the_instrument_keeps_its_promises():
    check_instrument(${camel}Instrument(), ITEMS)

"""


@app.callback()
def _group() -> None:
    """Keep ``new`` a command of the group, although it is the only one."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the modality: lower-case letters, sonar.")],
    into: Annotated[Path, typer.Option(help="The folder to make the package in.")] = Path(),
    instrument: Annotated[
        bool, typer.Option("--instrument", help="With an instrument that measures its items.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a package that adds a modality: reader, encoder, test, ready to install."""
    from unibind.errors import InvalidInputError
    from unibind.plugins import names

    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"a modality cannot be called {name!r}; needed: lower-case letters, digits and single "
            "underscores, a letter first: sonar, eddy_current"
        )
    if name in names("unibind.modalities"):
        raise InvalidInputError(f"a modality {name!r} is installed already; choose another name")
    folder = into / f"unibind-{name.replace('_', '-')}"
    if folder.exists():
        raise InvalidInputError(f"{folder} is there already; remove it or choose another name")
    written = _write(folder, _words(name, instrument), instrument)
    result = {"folder": str(folder), "files": written, "next": _next_steps(folder)}

    def people() -> None:
        print(f"{folder}: {', '.join(written)}")
        print("next:", *_next_steps(folder), sep="\n  ")

    emit(result, as_json=as_json, people=people)


def _words(name: str, instrument: bool) -> Mapping[str, str]:
    words = {
        "name": name,
        "upper": name.upper(),
        "camel": "".join(part.capitalize() for part in name.split("_")),
        "dashed": name.replace("_", "-"),
    }
    import_line = Template("from unibind_$name.instrument import ${camel}Instrument\n")
    return words | {
        "instrument_entry": Template(_INSTRUMENT_ENTRY).substitute(words) if instrument else "",
        "instrument_check_import": ", check_instrument" if instrument else "",
        "instrument_import": import_line.substitute(words) if instrument else "",
        "instrument_test": Template(_INSTRUMENT_TEST).substitute(words) if instrument else "",
    }


def _write(folder: Path, words: Mapping[str, str], instrument: bool) -> list[str]:
    from importlib import resources

    from unibind.errors import ArtifactError

    templates = resources.files("unibind.cli") / _TEMPLATES
    files = _FILES | (_INSTRUMENT_FILES if instrument else {})
    written = []
    for target, template in files.items():
        path = folder / Template(target).substitute(words)
        text = Template((templates / template).read_text(encoding="utf-8")).substitute(words)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
        written.append(path.relative_to(folder).as_posix())
    return written


def _next_steps(folder: Path) -> list[str]:
    return [f"pip install -e {folder}", f"python -m pytest {folder}", "unibind plugins"]
