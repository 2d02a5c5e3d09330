"""The rules of the house that a machine can hold: floors, light imports, entry points, bans."""

import ast
import json
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from unibind import plugins

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "unibind"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted(PACKAGE.rglob("*.py"))

HEAVY = {"torch", "pandas", "transformers", "faiss", "onnxruntime", "onnx", "scipy", "matplotlib"}
PACKAGE_MANAGERS = "unibind/sources/managers.py"  # pip, npm and apt are called so
NEVER = {"pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve", "torchvision"}


def test_a_file_imports_only_floors_below_it():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_the_floors_are_exhaustive():
    (contract,) = PYPROJECT["tool"]["importlinter"]["contracts"]
    floors = " ".join(contract["layers"])
    for sign in "()|:":
        floors = floors.replace(sign, " ")
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert rooms - {"__init__", "__main__"} <= set(floors.split())


def heavy_after(code: str) -> set[str]:
    """Return which heavy libraries a fresh process has imported after running code."""
    code += "\nimport sys, json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])} & HEAVY


def test_import_unibind_imports_nothing_heavy():
    code = "import unibind; unibind.Prediction; unibind.StoreError; dir(unibind)"
    assert heavy_after(code) == set()


def test_heavy_libraries_would_be_noticed():
    assert heavy_after("import scipy") == {"scipy"}


_EVERY_HELP = """
import typer, unibind.cli
from typer.testing import CliRunner

def walk(command, words):
    result = CliRunner().invoke(unibind.cli.app, [*words, "--help"])
    assert result.exit_code == 0, (words, result.output, result.exception)
    assert "Usage:" in result.output and "--help" in result.output, words
    if not hasattr(command, "commands"):
        assert "--json" in result.output, words
        print(*words)
    for name, inner in getattr(command, "commands", {}).items():
        walk(inner, [*words, name])


walk(typer.main.get_command(unibind.cli.app), [])
"""


def test_every_help_works_takes_json_and_imports_nothing_heavy():
    assert heavy_after(_EVERY_HELP) == set()


def test_a_command_that_does_not_exist_is_wrong_use():
    done = subprocess.run(
        [sys.executable, "-m", "unibind", "clasify"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "clasify" in done.stderr
    assert done.stdout == ""


def declared() -> list[EntryPoint]:
    groups = PYPROJECT["project"]["entry-points"]
    return [
        EntryPoint(name, value, group)
        for group, parts in groups.items()
        for name, value in parts.items()
    ]


@pytest.mark.parametrize("entry", declared(), ids=lambda entry: f"{entry.group}-{entry.name}")
def test_every_entry_point_loads_and_is_installed(entry):
    assert entry.group in plugins.GROUPS
    part = entry.load()
    assert callable(part) or part.name == entry.name
    assert entry.name in plugins.names(entry.group), "stale metadata: run `pip install -e .` again"


def test_the_console_script_loads():
    (target,) = PYPROJECT["project"]["scripts"].values()
    assert callable(EntryPoint("unibind", target, "console_scripts").load())


@cache
def parsed() -> list[tuple[str, ast.AST]]:
    return [
        (f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
    ]


def name_of(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def test_no_module_is_a_drawer_for_everything():
    names = {path.stem for path in MODULES} | {path.parent.name for path in MODULES}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def test_nothing_is_imported_that_runs_what_it_reads():
    for place, node in parsed():
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & NEVER, place
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in NEVER, place


def test_no_text_is_run_as_code_nor_handed_to_a_shell():
    for place, node in parsed():
        if isinstance(node, ast.Call):
            name = name_of(node.func)
            assert name not in {"eval", "exec", "__import__", "os.system", "os.popen"}, place
            arguments = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert arguments.get("shell", "False") == "False", place
            assert arguments.get("allow_pickle", "False") == "False", place
            assert arguments.get("trust_remote_code", "False") == "False", place
            if name == "torch.load":
                assert arguments.get("weights_only") == "True", place


def test_only_the_edge_of_the_service_swallows_everything():
    for place, node in parsed():
        if isinstance(node, ast.ExceptHandler) and not place.startswith("unibind/service/"):
            each = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            caught = {name_of(one) if one else "BaseException" for one in each}
            is_raised_again = isinstance(node.body[-1], ast.Raise)
            assert not caught & {"Exception", "BaseException"} or is_raised_again, place


def test_no_code_asks_which_modality_it_is():
    for place, node in parsed():
        if isinstance(node, ast.Compare) and name_of(node.left).endswith(
            ("modality", "modality.name")
        ):
            literals = [each for each in node.comparators if isinstance(each, ast.Constant)]
            assert not any(isinstance(each.value, str) for each in literals), place


def test_no_class_is_a_manager():
    for place, node in parsed():
        if isinstance(node, ast.ClassDef) and place.partition(":")[0] != PACKAGE_MANAGERS:
            assert not node.name.endswith(("Manager", "Helper", "Util")), place


def test_only_the_command_line_prints():
    for place, node in parsed():
        if isinstance(node, ast.Call) and name_of(node.func) == "print":
            assert place.startswith("unibind/cli/"), place
