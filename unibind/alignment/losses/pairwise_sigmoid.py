"""Each item with each class, a question of yes or no on its own."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["sigmoid_loss"]


def sigmoid_loss(
    embeddings: Tensor,
    points: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    bias: float | Tensor = -10.0,
) -> Tensor:
    """Return the binary cross-entropy of every pair of an item and a class.

    ::

        loss = -1/N sum_n sum_c log sigmoid( z[n, c] (e_n . v_c / t + b) )

    with z = 1 for n's own class and -1 for the others. No class competes with another, so a class
    that is nearly right is not pushed off to make room. The bias answers for the many more pairs
    that do not match; it starts at -10 in the paper.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        points: One unit-length point per class, shape (C, D).
        labels: Class of each row, int64 in [0, C), shape (N,).
        temperature: t; must be > 0.
        bias: b.

    Returns:
        Loss in nats, summed over classes and averaged over items, a scalar.

    Source:
        Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023 (arXiv:2303.15343),
        eq. 1. We differ: the pairs are of items and classes; theirs are of items and captions.
    """
    logits = embeddings @ points.T / temperature + bias
    sign = torch.full_like(logits, -1.0)
    sign[torch.arange(len(labels), device=labels.device), labels] = 1.0
    return -functional.logsigmoid(sign * logits).sum(dim=1).mean()
