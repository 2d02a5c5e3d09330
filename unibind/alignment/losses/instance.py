"""Items against their own captions, both ways."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["instance_loss"]


def instance_loss(
    embeddings: Tensor, texts: Tensor, captions: Tensor, *, temperature: float | Tensor
) -> Tensor:
    """Return the symmetric cross-entropy between items and captions of a batch.

    ::

        loss = -1/2N sum_n [ log( exp(e_n . c_n / t) / sum_{m in A(n)} exp(e_n . c_m / t) )
                           + log( exp(e_n . c_n / t) / sum_{m in A(n)} exp(e_m . c_n / t) ) ]

    with A(n) being n and all m whose caption is another one. Where all captions differ this is
    CLIP's loss; where one stands twice, its other item is no negative.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        texts: Of each item its caption's embedding, unit length, shape (N, D).
        captions: Number of each item's caption, int64, shape (N,); equal numbers, equal captions.
        temperature: t; logits are cosine / temperature; must be > 0.

    Returns:
        Mean loss in nats, a scalar.

    Source:
        Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
        ICML 2021 (arXiv:2103.00020), figure 3. We differ: equal captions are no negatives.
    """
    itself = torch.eye(len(captions), dtype=torch.bool, device=captions.device)
    twin = (captions[:, None] == captions[None, :]) & ~itself
    logits = (embeddings @ texts.T / temperature).masked_fill(twin, float("-inf"))
    right = torch.arange(len(captions), device=captions.device)
    both = functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)
    return both / 2
