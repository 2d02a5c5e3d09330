"""The network of aiSFX: four blocks of two convolutions over a log-mel spectrogram."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

__all__ = ["Aisfx", "ConvBlock"]

_WIDTHS = (64, 128, 256, 512)
_PREFIX = "embedding_net."


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions, then the maximum over squares.

    Args:
        n_in: Channels that come in.
        n_out: Channels that go out.
        pool: Side of the squares.
    """

    def __init__(self, n_in: int, n_out: int, *, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.pool = pool

    def forward(self, planes: Tensor) -> Tensor:
        """Return planes, shape (B, n_out, T / pool, M / pool), of planes (B, n_in, T, M)."""
        planes = relu(self.bn1(self.conv1(planes)))
        planes = relu(self.bn2(self.conv2(planes)))
        return max_pool2d(planes, self.pool) if self.pool > 1 else planes


class Aisfx(nn.Module):
    """Log-mel windows to 512 features: the mean over frequency, then the maximum over time.

    Args:
        state: The state dict of the published checkpoint; its nine classifiers, whose class names
            were not published, are left out.

    Raises:
        RuntimeError: The state dict is of another network.

    Source:
        Ma and Lerch, Representation Learning for the Automatic Indexing of Sound Effects
        Libraries, ISMIR 2022; the trunk is that of Kong et al., 2018 (arXiv:1808.00773).
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        with torch.device("meta"):  # nothing is drawn at random only to be overwritten
            for number, (n_in, n_out) in enumerate(
                zip((1, *_WIDTHS), _WIDTHS, strict=False), start=1
            ):
                pool = 1 if n_out == _WIDTHS[-1] else 2
                self.add_module(f"conv_block{number}", ConvBlock(n_in, n_out, pool=pool))
        trunk = {
            name.removeprefix(_PREFIX): value
            for name, value in state.items()
            if name.startswith(_PREFIX)
        }
        self.load_state_dict(trunk, assign=True)
        self.eval()

    def forward(self, mel: Tensor) -> Tensor:
        """Return the features, shape (B, 512), of log-mel windows, shape (B, T, 96)."""
        planes = mel.unsqueeze(1)  # (B, 1, T, M)
        for block in self.children():
            planes = block(planes)
        return planes.mean(dim=3).amax(dim=2)
