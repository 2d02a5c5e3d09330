"""Makes torchvision importable beside a torch that its wheel was not built for."""

import importlib
import sys
from importlib.util import find_spec

import torch

__all__ = ["make_torchvision_importable"]

_declared: list[torch.library.Library] = []  # a library's operators live as long as its object


def make_torchvision_importable() -> None:
    """Let torchvision be imported where it is installed for CUDA and torch is for the CPU.

    Such a torchvision cannot load its compiled operators, and its import then fails on two of
    them, and with it open_clip's and that of most of transformers. Declared here they are found;
    neither those libraries nor we call them. Where torchvision works, or is absent, nothing is
    done.
    """
    if find_spec("torchvision") is None or "torchvision" in sys.modules:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if torch.version.cuda is not None or "torchvision::" not in str(error):
            raise
        _declare()
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        importlib.import_module("torchvision")


def _declare() -> None:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(  # type: ignore[no-untyped-call]
            f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    _declared.append(library)
