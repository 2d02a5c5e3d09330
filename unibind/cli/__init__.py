"""The command line: thin, one file per command group; a command imports its work when it runs."""

import io
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from unibind.cli.help_pages import tidy
from unibind.cli.output import report_errors

__all__ = ["app", "main"]

app = typer.Typer(
    name="unibind",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Panel of `unibind --help` to the modules of its commands, in the order of the help. A module has
# an `app`, a group of commands, or else a function of its own name.
_PANELS = {
    "Begin": ("quickstart",),
    "Use a space": ("classify", "teach", "search", "embed", "show"),
    "Serve a space": ("serve", "keys"),
    "Build a space": ("align", "index", "knowledge"),
    "Measure a space": ("eval", "ablate"),
    "What it needs": ("models", "data", "plugins", "modality"),
}


def main() -> None:
    """Run the command line; the entry point of ``unibind``."""
    # Pillow warns, over two lines, of what our own reader refuses in clear words.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    with report_errors():
        try:
            app()
        finally:
            sys.stdout.flush()  # a reader that has gone away is told of here, not at exit


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"unibind {version('unibind')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """One space for pictures, sounds, scans, traces and words."""


for _panel, _names in _PANELS.items():
    for _name in _names:
        _module = import_module(f"unibind.cli.{_name}")
        if hasattr(_module, "app"):
            app.add_typer(_module.app, name=_name, rich_help_panel=_panel)
        else:
            app.command(rich_help_panel=_panel)(getattr(_module, _name))

tidy(app)
