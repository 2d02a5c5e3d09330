"""The command line: thin, one file per command group; a command imports its work when it runs."""

from importlib import import_module

import typer

from unibind.cli.output import report_errors

__all__ = ["app", "main"]

app = typer.Typer(
    name="unibind",
    help="One space for pictures, sounds, scans, traces and words.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_GROUPS = ("models", "data", "knowledge", "index")


def main() -> None:
    """Run the command line; the entry point of ``unibind``."""
    with report_errors():
        app()


for _name in _GROUPS:
    _module = import_module(f"unibind.cli.{_name}")
    app.add_typer(_module.app, name=_name)
