"""Classes against items: which of the batch are yours?"""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["class_to_items_loss"]


def class_to_items_loss(
    embeddings: Tensor, points: Tensor, labels: Tensor, *, temperature: float | Tensor
) -> Tensor:
    """Return the cross-entropy of each class's point among the items of a batch.

    ::

        loss = mean_c -1/|P(c)| sum_{p in P(c)} log( exp(v_c . e_p / t) / sum_n exp(v_c . e_n / t) )

    with P(c) the items of class c. It is the other direction of `center_loss`: an item that is
    near to every class (a hub) costs nothing there, and much here.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        points: One unit-length point per class, shape (C, D).
        labels: Class of each row, int64 in [0, C), shape (N,).
        temperature: t; logits are cosine / temperature; must be > 0.

    Returns:
        Mean loss in nats over the classes that have an item in the batch, a scalar.

    Source:
        The text-to-image half of CLIP's loss, Radford et al., ICML 2021 (arXiv:2103.00020), figure
        3. We differ: a class has all its items as positives, averaged outside of the logarithm as
        in Khosla et al., NeurIPS 2020 (arXiv:2004.11362), eq. 2.
    """
    classes = torch.arange(len(points), device=labels.device)
    positive = classes[:, None] == labels[None, :]  # (C, N)
    n_positives = positive.sum(dim=1)
    log_shares = functional.log_softmax(points @ embeddings.T / temperature, dim=1)
    per_class = -log_shares.masked_fill(~positive, 0).sum(dim=1) / n_positives.clamp(min=1)
    return per_class[n_positives > 0].mean()
