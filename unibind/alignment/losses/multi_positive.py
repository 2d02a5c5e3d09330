"""Items against items: those of one class belong together."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["multi_positive_loss"]


def multi_positive_loss(
    embeddings: Tensor, labels: Tensor, *, temperature: float | Tensor
) -> Tensor:
    """Return the supervised contrastive loss among items: every item of one's class is a positive.

    ::

        loss = mean_n -1/|P(n)| sum_{p in P(n)} log( exp(e_n . e_p / t)
                                                     / sum_{a != n} exp(e_n . e_a / t) )

    with P(n) the other items of n's class. No item of one's own class is a negative, unlike in
    `released_loss`.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        labels: Class of each row, int64, shape (N,).
        temperature: t; logits are cosine / temperature; must be > 0.

    Returns:
        Mean loss in nats over the rows that have a positive, a scalar; 0 if none has.

    Source:
        Khosla et al., Supervised Contrastive Learning, NeurIPS 2020 (arXiv:2004.11362), eq. 2.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    n_positives = positive.sum(dim=1)
    if not n_positives.any():
        return embeddings.sum() * 0
    logits = embeddings @ embeddings.T / temperature  # (N, D) @ (D, N) -> (N, N)
    log_shares = functional.log_softmax(logits.masked_fill(itself, float("-inf")), dim=1)
    per_row = -log_shares.masked_fill(~positive, 0).sum(dim=1) / n_positives.clamp(min=1)
    return per_row[n_positives > 0].mean()
