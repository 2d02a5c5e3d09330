"""UniBind's loss as its released code has it, for comparison only."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["released_loss"]


def released_loss(embeddings: Tensor, descriptions: Tensor) -> Tensor:
    """Return the cross-entropy of each item against the descriptions of the batch, as released.

    ::

        loss = -1/N sum_n log( exp(e_n . d_n) / sum_m exp(e_n . d_m) )

    There is no temperature, so the loss cannot fall below ``log(1 + (N - 1) exp(-2))``, 4.94 nats
    at a batch of 1024, however right the items are; and the right answer of row n is column n, so
    another item of the same class counts as wrong. Nothing of unibind trains with it; benchmarks
    show what these two cost.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        descriptions: Of each item its own description, unit length, shape (N, D).

    Returns:
        Mean loss in nats, a scalar.

    Source:
        Lyu et al., UniBind, CVPR 2024 (arXiv:2403.12532): the training step of the released code.
    """
    right = torch.arange(len(embeddings), device=embeddings.device)
    return functional.cross_entropy(embeddings @ descriptions.T, right)
