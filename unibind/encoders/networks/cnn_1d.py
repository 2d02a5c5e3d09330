"""A convolutional network over time that does not notice where its input is padded."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Cnn1dNetwork"]

_WIDTHS = (64, 128, 128)
_LENGTHS = (7, 5, 3)
_TINY = 1e-6


class Cnn1dNetwork(nn.Module):
    """Channels over time, NaN where there is nothing, to features.

    Each channel is brought to standard deviation 1; the logarithm of what it was goes along as a
    constant trace. Normalisation is per step (LayerNorm), so that padding has no part in it.

    Args:
        n_channels: Of the input.
        dim: Width F of the features.
        seed: Of the random weights.
    """

    def __init__(self, n_channels: int, dim: int, *, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = (3 * n_channels, *_WIDTHS)
            self.convolutions = nn.ModuleList(
                nn.Conv1d(before, after, length, padding=length // 2)
                for before, after, length in zip(widths, widths[1:], _LENGTHS, strict=False)
            )
            self.norms = nn.ModuleList(nn.LayerNorm(width) for width in _WIDTHS)
            self.output = nn.Linear(2 * _WIDTHS[-1], dim)

    def forward(self, batch: Tensor) -> Tensor:
        """Return features, shape (B, F), of traces, shape (B, C, T)."""
        x, is_there = _standardised(batch)  # (B, 3 C, T'), (B, 1, T')
        for n, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(x).transpose(1, 2)).transpose(1, 2).relu() * is_there
            if n + 1 < len(self.convolutions):
                x = functional.max_pool1d(x, 2, ceil_mode=True)  # at least 0: padding never wins
                is_there = functional.max_pool1d(is_there, 2, ceil_mode=True)
        mean = x.sum(dim=2) / is_there.sum(dim=2)
        features: Tensor = self.output(torch.cat([mean, x.amax(dim=2)], dim=1))
        return features


def _standardised(batch: Tensor) -> tuple[Tensor, Tensor]:
    known = batch.isfinite()  # (B, C, T)
    n_steps = int(known.any(dim=1).sum(dim=1).max())
    known, values = known[:, :, :n_steps], batch[:, :, :n_steps].nan_to_num(nan=0.0)
    counts = known.sum(dim=2, keepdim=True).clamp(min=1)
    spread = ((values**2).sum(dim=2, keepdim=True) / counts).sqrt()
    standard = values / spread.clamp(min=_TINY)
    size = (spread + _TINY).log10() / 3 * known
    is_there = known.any(dim=1, keepdim=True).to(values.dtype)
    return torch.cat([standard, size, known.to(values.dtype)], dim=1), is_there
