import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unibind.datasets import fetch

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SERVING = "unibind serve"  # it never ends; the service's own tests run it


def blocks(language: str) -> list[str]:
    parts = README.read_text(encoding="utf-8").split("```")[1::2]
    return [
        part.removeprefix(language).strip() for part in parts if part.startswith(f"{language}\n")
    ]


def commands() -> list[str]:
    """Return the lines of the README's shell blocks that run `unibind` itself."""
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("unibind ") and not line.startswith(SERVING)]


@pytest.fixture
def home(tmp_path, monkeypatch, mini_cache, stamps):
    """Give the README's reader a working folder with the files that it names."""
    pictures = [item.path for item in stamps.items]
    shutil.copy(pictures[0], tmp_path / "my.jpg")  # a reader's ending may lie; the content counts
    for label, some in (("ripe", pictures[:6]), ("unripe", pictures[100:106])):
        folder = tmp_path / "my-pictures" / label
        folder.mkdir(parents=True)
        for path in some:
            shutil.copy(path, folder)
    walk = next(item.path for item in fetch("basic-motions").items if item.label == "walking")
    shutil.copy(walk, tmp_path / "walk.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_screen_names_the_two_commands():
    first_screen = "\n".join(README.read_text(encoding="utf-8").splitlines()[:25])
    assert "./scripts/quickstart" in first_screen
    assert "./scripts/test" in first_screen


def test_every_command_of_the_readme_runs(home):
    environment = {**os.environ, "COLUMNS": "100"}
    assert len(commands()) >= 7
    for command in commands():
        line = command.replace("unibind", f'"{sys.executable}" -m unibind', 1)
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, env=environment, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip(), command


def test_the_python_of_the_readme_runs(home, capsys):
    (code,) = blocks("python")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["hits"][0][0].key == "mine"
    assert names["vectors"].shape == (1, 384)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    assert printed[-1] == "mine"
    names["engine"].close()


def test_every_page_that_the_readme_links_is_there():
    text = README.read_text(encoding="utf-8")
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    missing = [link for link in links if "://" not in link and not (ROOT / link).is_file()]
    assert not missing
