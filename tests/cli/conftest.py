"""The command line as a person uses it: whole, with the real weights, in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unibind import weights
from unibind.cli import main
from unibind.datasets import Dataset


@dataclass(frozen=True)
class Finished:
    """What a shell sees of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def mini_weights() -> None:
    """Bring mini's weights into the cache that all tests share, features included."""
    for name in (model.name for model in weights.MODELS.values() if model.in_mini):
        weights.fetch(name)


@pytest.fixture
def here(mini_weights: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the working directory of the test."""
    monkeypatch.setenv("COLUMNS", "120")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def unibind(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run the command line within this process, from its entry point on."""

    def run(*arguments: object) -> Finished:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["unibind", *map(str, arguments)])
            with pytest.raises(SystemExit) as stopped:
                main()
        shown = capsys.readouterr()
        return Finished(int(stopped.value.code or 0), shown.out, shown.err)

    return run


@pytest.fixture
def child(here: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as a process of its own."""

    def run(*arguments: object, **settings: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "unibind", *map(str, arguments)],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def named_stamps(stamps: Dataset) -> dict[str, Path]:
    """Some stamps that are easy to tell apart, by what they show."""
    path_of = {item.key: item.path for item in stamps.items}
    return {
        "bird": path_of["animals/birds/owl.png"],
        "fruit": path_of["food/fruit/strawberry.png"],
        "car": path_of["vehicles/auto/sedan.png"],
    }


@pytest.fixture
def draw(here: Path) -> Callable[..., Path]:
    """Draw a picture of noise under a name; equal seeds are equal pictures."""

    def make(name: str, seed: int = 0, side: int = 8) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, format="png")
        return path

    return make
