"""Vectors for the tests of this folder."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from unibind.types import FloatArray


@pytest.fixture
def unit_rows() -> Callable[..., FloatArray]:
    def make(n_rows: int, dim: int, seed: int = 0) -> FloatArray:
        rows = np.random.default_rng(seed).standard_normal((n_rows, dim), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return make


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the system has one: syncing is not what its tests are about."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="unibind-") as folder:
        yield Path(folder)
