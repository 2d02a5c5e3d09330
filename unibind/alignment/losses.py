"""Contrastive losses against class points: what pulls an item to its class, and off the others."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["center_loss", "multi_positive_loss"]


def center_loss(
    embeddings: Tensor, centers: Tensor, labels: Tensor, *, temperature: float | Tensor
) -> Tensor:
    """Return the cross-entropy of each embedding against each class's nearest center.

    The nearest center stands for the class, not the mean: the mean of "crane, a bird" and
    "crane, a machine" is near neither.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        centers: Unit-length vectors, shape (C, K, D).
        labels: Class of each row, int64 in [0, C), shape (N,).
        temperature: Logits are cosine / temperature; must be > 0.

    Returns:
        Mean loss in nats, a scalar.

    Source:
        Lyu et al., UniBind, CVPR 2024 (arXiv:2403.12532). We differ: the loss is over centers,
        with a temperature; their released code contrasts each item with its own description, at
        temperature 1.
    """
    similarity = torch.einsum("nd,ckd->nck", embeddings, centers)
    return functional.cross_entropy(similarity.amax(dim=2) / temperature, labels)


def multi_positive_loss(
    embeddings: Tensor, labels: Tensor, *, temperature: float | Tensor
) -> Tensor:
    """Return the supervised contrastive loss among items: every item of one's class is a positive.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        labels: Class of each row, int64, shape (N,).
        temperature: Logits are cosine / temperature; must be > 0.

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
