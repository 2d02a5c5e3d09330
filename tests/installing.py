"""Installs a package beside unibind, for one test: nothing of it stays."""

import os
import subprocess
import sys
from pathlib import Path


def install(package: Path, into: Path) -> dict[str, str]:
    """Install a package into a folder, and return the environment in which it is installed."""
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--no-build-isolation", "--target", str(into), str(package),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    path = os.pathsep.join(filter(None, [str(into), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}


def run(*arguments: str, env: dict[str, str], folder: Path) -> str:
    """Return what a Python module prints, run as ``python -m``; it must succeed."""
    finished = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout
