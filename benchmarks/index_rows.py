"""Rows like embeddings: clusters on a surface of few dimensions, with noise; always the same."""

import numpy as np

_INNER = 64
_CLUSTERS = 2000


def rows(start: int, n_rows: int, dim: int) -> np.ndarray:
    """Return rows start to start + n_rows, unit length, float32; start names the block's seed."""
    return _drawn(np.random.default_rng([1, start]), n_rows, dim)


def queries(n_rows: int, dim: int) -> np.ndarray:
    """Return rows of the same kind that `rows` never returns."""
    return _drawn(np.random.default_rng([2, 0]), n_rows, dim)


def _drawn(generator: np.random.Generator, n_rows: int, dim: int) -> np.ndarray:
    fixed = np.random.default_rng(0)
    surface = fixed.standard_normal((_INNER, dim), dtype=np.float32) / np.float32(_INNER**0.5)
    centers = fixed.standard_normal((_CLUSTERS, _INNER), dtype=np.float32)
    inner = centers[generator.integers(0, _CLUSTERS, n_rows)]
    inner = inner + 0.7 * generator.standard_normal((n_rows, _INNER), dtype=np.float32)
    found = inner @ surface + 0.1 * generator.standard_normal((n_rows, dim), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)
