"""Items against classes, each class being K centers: UniBind's objective as the paper words it."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Reduction", "center_loss"]

Reduction = Literal["nearest", "log-sum-exp", "mean"]
"""How the cosines to a class's K centers become one score, as `alignment.centers.SCORING`."""

_SHARPNESS = 0.05  # of the log-sum-exp, in units of cosine; that of the scoring rule


def center_loss(
    embeddings: Tensor,
    centers: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    reduction: Reduction = "nearest",
    weights: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy of each embedding against the classes, by their centers.

    ::

        loss = -1/N sum_n log( exp(s[n, y_n] / t) / sum_c w[n, c] exp(s[n, c] / t) )

    where ``s[n, c]`` is made of the K cosines ``q_k = e_n . v_ck``: their largest (*nearest*);
    ``u log(1/K sum_k exp(q_k / u))`` with u = 0.05 (*log-sum-exp*), between the two others; or
    their *mean*. The nearest keeps "crane, a bird" and "crane, a machine" apart; the mean is near
    neither, but is the steadier the less the sentences of a class differ in meaning.

    Args:
        embeddings: Unit-length rows, shape (N, D).
        centers: Unit-length vectors, shape (C, K, D).
        labels: Class of each row, int64 in [0, C), shape (N,).
        temperature: t; logits are score / temperature; must be > 0.
        reduction: How K cosines become one score.
        weights: w, how often each class stands among the answers of each row, above 0, shape
            (N, C): above 1 for classes that are easily taken for the right one. Once by default.

    Returns:
        Mean loss in nats, a scalar.

    Source:
        Lyu et al., UniBind, CVPR 2024 (arXiv:2403.12532). We differ: the loss is over centers,
        with a temperature; their released code contrasts each item with its own description, at
        temperature 1 (`released_loss`).
    """
    cosines = torch.einsum("nd,ckd->nck", embeddings, centers)
    logits = _reduced(cosines, reduction) / temperature
    if weights is None:
        return functional.cross_entropy(logits, labels)
    right = logits.gather(1, labels[:, None])[:, 0]
    return (torch.logsumexp(logits + weights.log(), dim=1) - right).mean()


def _reduced(cosines: Tensor, reduction: Reduction) -> Tensor:
    """Return one score per class, shape (N, C), of cosines, shape (N, C, K)."""
    if reduction == "nearest":
        return cosines.amax(dim=2)
    if reduction == "mean":
        return cosines.mean(dim=2)
    n_centers = torch.tensor(float(cosines.shape[2]), dtype=cosines.dtype)
    return _SHARPNESS * (torch.logsumexp(cosines / _SHARPNESS, dim=2) - n_centers.log())
