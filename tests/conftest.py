"""What several parts' tests need: the public sets, fetched once through the project's own door."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from unibind.datasets import Dataset, fetch

# A search for counter-examples is for people at work: what a change is judged by must not be luck.
settings.register_profile("judging", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("judging")


@pytest.fixture(scope="session")
def stamps() -> Dataset:
    return fetch("stamps")


@pytest.fixture(scope="session")
def emoji() -> Dataset:
    return fetch("emoji")


@pytest.fixture(scope="session")
def furniture() -> Dataset:
    return fetch("furniture")


@pytest.fixture(scope="session")
def mini_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache with the weights of mini, fetched by the command line for real; read-only."""
    cache = tmp_path_factory.mktemp("mini-cache")
    subprocess.run(
        [sys.executable, "-m", "unibind", "models", "fetch"],
        env=os.environ | {"UNIBIND_CACHE": str(cache)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return cache


@pytest.fixture
def small_stamps_deb(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of Debian packages that are built like the stamps', but hold only a few."""

    def make(n: int = 3, *, version: str = "2099.01-1", n_bytes: int = 100) -> Path:
        files = {}
        for number in range(n):
            stem = f"usr/share/tuxpaint/stamps/animals/mammals/cats/cartoon/cat{number}"
            files[f"{stem}.png"] = b"\x89PNG" + bytes([number % 256]) * n_bytes
            files[f"{stem}.txt"] = f"Cat {number}.\nfr.utf8=Chat {number}.\nde.utf8=\n".encode()
        root = "usr/share/tuxpaint/stamps"
        files |= {
            f"{root}/animals/mammals/cats/cartoon/cat0.ogg": b"meow",
            f"{root}/animals/mammals/cats/cartoon/cat0_desc.ogg": b"cat",
            f"{root}/animals/mammals/cats/cartoon/cat0_desc_pt_BR.ogg": b"gato",
            f"{root}/animals/mammals/cats/cartoon/cat0_mirror.png": b"\x89PNG",
            f"{root}/animals/no_text.png": b"\x89PNG",
            f"{root}/animals/drawn.svg": b"<svg/>",
            f"{root}/animals/drawn.txt": b"A drawing.",
            f"{root}/symbols/a.png": b"\x89PNG",
            f"{root}/symbols/a.txt": b"The letter a.",
        }
        folder = tmp_path / "mirror"
        folder.mkdir(exist_ok=True)
        deb = folder / f"tuxpaint-stamps-default_{version}_all.deb"
        deb.write_bytes(_deb(files))
        return deb

    return make


def _deb(files: dict[str, bytes]) -> bytes:
    members = {"debian-binary": b"2.0\n", "control.tar.gz": _tgz({}), "data.tar.gz": _tgz(files)}
    deb = b"!<arch>\n"
    for name, content in members.items():
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        deb += content + b"\n" * (len(content) % 2)
    return deb


def _tgz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
