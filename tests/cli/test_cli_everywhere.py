"""What every command has: help, --json, exit code 2 for wrong use; and how quickly help comes."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer

from unibind.cli import app


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path
        return
    for name, each in inner.items():
        yield from _leaves(each, (*path, name))


COMMANDS = sorted(_leaves(typer.main.get_command(app)))
GROUPS = sorted({command[:1] for command in COMMANDS if len(command) > 1})
PROMISED = {
    ("quickstart",), ("align",), ("classify",), ("embed",), ("search",), ("plugins",),
    ("models", "list"), ("models", "fetch"), ("models", "path"),
    ("data", "list"), ("data", "fetch"),
    ("knowledge", "import"), ("knowledge", "show"), ("knowledge", "build"), ("knowledge", "lint"),
    ("index", "add"), ("index", "search"), ("index", "remove"), ("index", "verify"),
    ("show",), ("teach",), ("ablate",), ("eval",), ("serve",), ("modality", "new"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def test_all_promised_commands_are_there():
    assert set(COMMANDS) >= PROMISED


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_has_help_with_json_and_refuses_what_it_does_not_know(unibind, command):
    shown = unibind(*command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert "--json" in shown.out
    assert unibind(*command, "-h").out == shown.out
    wrong = unibind(*command, "--no-such-option")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--no-such-option" in wrong.err


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_a_group_without_a_command_shows_its_commands(unibind, group):
    shown = unibind(*group)
    assert shown.code == 2
    for command in COMMANDS:
        if command[:1] == group:
            assert command[1] in shown.out + shown.err


def test_help_shows_every_command_in_a_panel_of_its_own_kind(unibind):
    shown = unibind("--help").out
    assert all(command[0] in shown for command in COMMANDS)
    for panel in ("Use a space", "Build a space", "What it needs"):
        assert panel in shown
    assert "─ Commands ─" not in shown  # where what has no panel would be


def test_version_is_that_of_the_package(unibind):
    finished = unibind("--version")
    assert (finished.code, finished.out) == (0, f"unibind {version('unibind')}\n")


@pytest.mark.parametrize("arguments", [("--help",), ("classify", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(arguments):
    script = (
        "import sys\n"
        "from unibind.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    loaded = set(finished.stderr.split())
    assert "unibind.cli.classify" in loaded
    heavy = {
        "torch", "pandas", "faiss", "onnxruntime", "pyarrow", "transformers", "scipy",
        "matplotlib", "PIL", "unibind.engine",
    }  # fmt: skip
    assert not loaded & heavy
