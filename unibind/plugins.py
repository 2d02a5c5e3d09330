"""From a name to the object behind it, through entry points; the only dynamic import.

A package offers parts to unibind by declaring entry points in one of `GROUPS`. Our own parts
are declared the same way, in pyproject.toml, so whatever works for them works for a stranger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, reduce
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from unibind.errors import PluginError

__all__ = ["GROUPS", "Plugin", "load", "names", "plugins"]

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "unibind.modalities": "modality",
        "unibind.encoders": "encoder",
        "unibind.instruments": "instrument",
        "unibind.writers": "writer",
        "unibind.stores": "store",
        "unibind.connectors": "connector",
    }
)
"""Entry point group to what one of its parts is called."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One declared part.

    Attributes:
        group: One of `GROUPS`.
        name: How users call it.
        target: Where it lives, ``module:attribute``.
        package: The distribution that declares it, with its version.
    """

    group: str
    name: str
    target: str
    package: str


def plugins(group: str) -> list[Plugin]:
    """Return what is declared in a group, by name; nothing is imported.

    Raises:
        PluginError: The group is not one of `GROUPS`.
    """
    return [Plugin(group, entry.name, entry.value, _package(entry)) for entry in _entries(group)]


def names(group: str) -> list[str]:
    """Return the names declared in a group, sorted.

    Raises:
        PluginError: The group is not one of `GROUPS`.
    """
    return sorted({entry.name for entry in _entries(group)})


@cache
def load(group: str, name: str) -> Any:
    """Import and return what an entry point names. The second call returns the same object.

    Raises:
        PluginError: No package declares the name, two declare it differently, or its import fails.
    """
    entries = [entry for entry in _entries(group) if entry.name == name]
    kind = GROUPS[group]
    if not entries:
        known = ", ".join(names(group)) or "none"
        raise PluginError(
            f"no {kind} is called {name!r}; installed: {known}. Install the package that declares "
            f"it under the entry point group {group!r}, or correct the name"
        )
    if len({entry.value for entry in entries}) > 1:
        owners = ", ".join(sorted(_package(entry) for entry in entries))
        raise PluginError(
            f"several packages declare a {kind} called {name!r}: {owners}; uninstall all but one"
        )
    entry = entries[0]
    owner = _package(entry)
    try:
        module = import_module(entry.module)
    # What a stranger's module does when it is imported is not ours to foresee; most often a
    # library is missing, or was built for another version of what it links to.
    except (
        ImportError,
        OSError,
        SyntaxError,
        RuntimeError,
        ValueError,
        TypeError,
        NameError,
        AttributeError,
    ) as error:
        raise PluginError(
            f"the {kind} {name!r} of {owner} does not import: {error!r}; "
            f"install what is missing (perhaps an extra: pip install 'unibind[...]')"
        ) from error
    try:
        return reduce(getattr, entry.attr.split(".") if entry.attr else [], module)
    except AttributeError as error:
        raise PluginError(
            f"the {kind} {name!r} of {owner} points to {entry.value!r}, "
            f"which is not there: {error}; correct its entry point"
        ) from error


def _entries(group: str) -> list[EntryPoint]:
    if group not in GROUPS:
        raise PluginError(f"no plug-in group is called {group!r}; there are {', '.join(GROUPS)}")
    return sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value))


def _package(entry: EntryPoint) -> str:
    if entry.dist is None:
        return "an unnamed package"
    return f"{entry.dist.name} {entry.dist.version}"
