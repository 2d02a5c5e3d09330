"""How ``--help`` looks: a flag takes nothing, so no type is told of it."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group", "tidy"]


class Command(TyperCommand):
    """A command whose help tells no type of flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; flags have an empty type."""
        return _with_bare_flags(super().get_params(ctx))


class Group(TyperGroup):
    """The same for a group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; flags have an empty type."""
        return _with_bare_flags(super().get_params(ctx))


def tidy(app: typer.Typer) -> None:
    """Make all commands of an app, and of the groups in it, ours."""
    app.info.cls = Group
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        group.cls = Group
        if group.typer_instance is not None:
            tidy(group.typer_instance)


def _with_bare_flags(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters
