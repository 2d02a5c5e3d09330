"""The design ``cnn-1d``: a small convolutional network over recordings, to be trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unibind.encoders.fingerprints import fingerprint_of
from unibind.modalities.timeseries import READING, TIMESERIES, accept
from unibind.types import FloatArray

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

__all__ = ["MAX_CHANNELS", "MAX_STEPS", "Cnn1d"]

MAX_CHANNELS = 8
"""Channels that the network sees, the first ones; it knows them by their place."""

MAX_STEPS = 1536
"""Steps that it sees; a longer recording is shrunk to them."""

_GAIN, _NOISE = 0.1, 0.05


class Cnn1d:
    """Three layers of convolution over time, pooled, to 128 features.

    Unlike MiniRocket it knows which channel is which and how strong each is.
    """

    modality = TIMESERIES
    dim = 128
    shape = (MAX_CHANNELS, MAX_STEPS)
    fingerprint = fingerprint_of(
        design="cnn-1d", version=1, channels=MAX_CHANNELS, steps=MAX_STEPS, reading=READING
    )

    def prepare(self, items: Sequence[Any]) -> FloatArray:
        """Return recordings around their means, shape (N, 8, 1536), NaN where there is nothing.

        Raises:
            InvalidInputError: An item is not a recording that the modality takes.
        """
        prepared = np.full((len(items), *self.shape), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            values = accept(item).values[:MAX_CHANNELS].astype(np.float64)
            centred = _shrunk(values - values.mean(axis=1, keepdims=True))
            prepared[row, : len(centred), : centred.shape[1]] = centred
        return prepared

    def network(self, seed: int) -> "nn.Module":
        """Return a new network with random weights: (B, 8, 1536) to (B, 128)."""
        from unibind.encoders.networks.cnn_1d import Cnn1dNetwork

        return Cnn1dNetwork(MAX_CHANNELS, self.dim, seed=seed)

    def augment(self, batch: "Tensor", generator: "Generator") -> "Tensor":
        """Return a batch a little louder or softer, with a little noise, shape as before."""
        import torch

        n = len(batch)
        gain = (_GAIN * torch.randn(n, 1, 1, generator=generator)).exp()
        size = batch.nan_to_num(nan=0.0).square().mean(dim=2, keepdim=True).sqrt()
        noise = torch.randn(batch.shape, generator=generator) * _NOISE
        return batch * gain + noise * size


def _shrunk(values: "np.ndarray") -> "np.ndarray":
    """Return a long recording at `MAX_STEPS` steps, each the mean of those it stands for."""
    n_steps = values.shape[1]
    if n_steps <= MAX_STEPS:
        return values
    edges = np.linspace(0, n_steps, MAX_STEPS + 1).astype(np.int64)
    sums = np.add.reduceat(values, edges[:-1], axis=1)
    means: np.ndarray = sums / np.diff(edges)
    return means
