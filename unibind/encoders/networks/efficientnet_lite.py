"""EfficientNet-lite: EfficientNet without squeeze-and-excitation, with ReLU6, for small devices."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu6

__all__ = ["EfficientNetLite0", "MBConv", "Trunk"]

_BN_EPSILON = 1e-3  # TensorFlow's, where the weights were trained


class _Stage(NamedTuple):
    n_blocks: int
    kernel: int
    stride: int
    expansion: int
    n_out: int


_LITE0 = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_N_STEM = 32


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME does for sides that the stride divides.

    With stride 2 the extra row and column are at the bottom and on the right, where torch's own
    padding is even.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int, groups: int) -> None:
        super().__init__(n_in, n_out, kernel, stride=stride, groups=groups, bias=False)
        before = (kernel - stride) // 2
        after = kernel - stride - before
        self.margins = (before, after, before, after)

    def forward(self, planes: Tensor) -> Tensor:
        return super().forward(pad(planes, self.margins))


class MBConv(nn.Module):
    """An inverted residual block: widen, filter each channel by itself, narrow.

    Args:
        n_in: Channels that come in.
        n_out: Channels that go out.
        kernel: Side of the channel-wise filter.
        stride: Its step.
        expansion: How many times wider it is inside.

    Source:
        Sandler et al., MobileNetV2, 2018 (arXiv:1801.04381), section 3.
    """

    def __init__(self, n_in: int, n_out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = n_in * expansion
        self.is_residual = stride == 1 and n_in == n_out
        self._expand_conv: nn.Conv2d | None = None
        if expansion > 1:
            self._expand_conv = nn.Conv2d(n_in, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_BN_EPSILON)
        self._depthwise_conv = _SameConv(inner, inner, kernel, stride=stride, groups=inner)
        self._bn1 = nn.BatchNorm2d(inner, eps=_BN_EPSILON)
        self._project_conv = nn.Conv2d(inner, n_out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(n_out, eps=_BN_EPSILON)

    def forward(self, planes: Tensor) -> Tensor:
        """Return planes, shape (B, n_out, H / stride, W / stride), of planes (B, n_in, H, W)."""
        inner = planes
        if self._expand_conv is not None:
            inner = relu6(self._bn0(self._expand_conv(inner)))
        inner = relu6(self._bn1(self._depthwise_conv(inner)))
        narrow: Tensor = self._bn2(self._project_conv(inner))
        return planes + narrow if self.is_residual else narrow


class Trunk(nn.Module):
    """Pixels to pooled features: all but the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, _N_STEM, 3, stride=2, groups=1)
        self._bn0 = nn.BatchNorm2d(_N_STEM, eps=_BN_EPSILON)
        self._blocks = nn.Sequential(*_blocks())
        self._conv_head = nn.Conv2d(_LITE0[-1].n_out, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=_BN_EPSILON)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features, shape (B, 1280), of pixels, uint8, shape (B, 224, 224, 3)."""
        planes = ((pixels.float() - 127.0) / 128.0).permute(0, 3, 1, 2)  # (B, 3, H, W)
        planes = relu6(self._bn0(self._conv_stem(planes)))
        planes = relu6(self._bn1(self._conv_head(self._blocks(planes))))
        return planes.mean(dim=(2, 3))


class EfficientNetLite0(nn.Module):
    """EfficientNet-lite0 for 224 x 224 pixels: a trunk, and a classifier of ImageNet's classes.

    Args:
        state: A state dict in the naming of the common PyTorch port.

    Raises:
        RuntimeError: The state dict is of another network.

    Source:
        Tan and Le, EfficientNet, 2019 (arXiv:1905.11946), table 1, in TensorFlow's "lite"
        variant: no squeeze-and-excitation, ReLU6 for swish, stem and head not scaled.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        with torch.device("meta"):  # nothing is drawn at random only to be overwritten
            self.trunk = Trunk()
            self.classifier = nn.Linear(1280, 1000)
        trunk = OrderedDict((name, value) for name, value in state.items() if "_fc" not in name)
        self.trunk.load_state_dict(trunk, assign=True)
        self.classifier.load_state_dict(
            {"weight": state["_fc.weight"], "bias": state["_fc.bias"]}, assign=True
        )
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return ImageNet's logits, shape (B, 1000), of pixels, uint8, shape (B, 224, 224, 3)."""
        logits: Tensor = self.classifier(self.trunk(pixels))
        return logits


def _blocks() -> list[MBConv]:
    blocks = []
    n_in = _N_STEM
    for stage in _LITE0:
        for index in range(stage.n_blocks):
            blocks.append(
                MBConv(
                    n_in,
                    stage.n_out,
                    kernel=stage.kernel,
                    stride=stage.stride if index == 0 else 1,
                    expansion=stage.expansion,
                )
            )
            n_in = stage.n_out
    return blocks
