"""Options that several commands share, written once: each field of a group is an option."""

import inspect
import shlex
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import Any, ClassVar, get_type_hints

import typer

__all__ = ["OptionGroup", "with_groups"]


class OptionGroup:
    """Base of frozen dataclasses whose fields are annotated as typer options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def as_arguments(self) -> str:
        """Return what a person would type for it, without what is so by default."""
        given = []
        for option in fields(self):
            value = getattr(self, option.name)
            if value == option.default or value is None:
                continue
            given += [_flag(option.type, option.name)]
            given += [] if value is True else [shlex.quote(str(value))]
        return " ".join(given)


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with one option for each field of its parameters that are groups.

    A group's default in the command's signature gives the defaults of its options.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[OptionGroup]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if not (isinstance(hints[name], type) and issubclass(hints[name], OptionGroup)):
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        groups[name] = hints[name]
        parameters += _options_of(hints[name], parameter.default)

    @wraps(command)
    def flat(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{option.name: given.pop(option.name) for option in fields(group)})
        command(**given)

    # What typer reads: as if the options stood in the command's own signature.
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {each.name: each.annotation for each in parameters}
    return flat


def _options_of(group: type[OptionGroup], defaults: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            option.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=option.default
            if defaults is inspect.Parameter.empty
            else getattr(defaults, option.name),
            annotation=hints[option.name],
        )
        for option in fields(group)
        if option.default is not MISSING
    ]


def _flag(annotation: Any, name: str) -> str:
    for option in getattr(annotation, "__metadata__", ()):
        if isinstance(option, typer.models.OptionInfo) and option.param_decls:
            return option.param_decls[0]
    return f"--{name.replace('_', '-')}"
