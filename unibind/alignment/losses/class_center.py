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
) -> Tensor:
    """Return the cross-entropy of each embedding against the classes, by their centers.

    ::

        loss = -1/N sum_n log( exp(s[n, y_n] / t) / sum_c exp(s[n, c] / t) )

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

    Returns:
        Mean loss in nats, a scalar.

    Source:
        Lyu et al., UniBind, CVPR 2024 (arXiv:2403.12532). We differ: the loss is over centers,
        with a temperature; their released code contrasts each item with its own description, at
        temperature 1 (`released_loss`).
    """
    cosines = torch.einsum("nd,ckd->nck", embeddings, centers)
    return functional.cross_entropy(_reduced(cosines, reduction) / temperature, labels)


def _reduced(cosines: Tensor, reduction: Reduction) -> Tensor:
    """Return one score per class, shape (N, C), of cosines, shape (N, C, K)."""
    if reduction == "nearest":
        return cosines.amax(dim=2)
    if reduction == "mean":
        return cosines.mean(dim=2)
    n_centers = torch.tensor(float(cosines.shape[2]), dtype=cosines.dtype)
    return _SHARPNESS * (torch.logsumexp(cosines / _SHARPNESS, dim=2) - n_centers.log())
