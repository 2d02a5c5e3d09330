"""A linear head trained by contrast, from the ridge solution on: for closed sets of classes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from unibind.alignment.losses import center_loss, multi_positive_loss
from unibind.alignment.targets import Targets
from unibind.types import FloatArray, ProgressCallback

__all__ = ["Contrast", "LinearFit", "fit_linear"]


@dataclass(frozen=True, slots=True)
class Contrast:
    """How the linear head is trained.

    Attributes:
        n_steps: Steps of AdamW.
        batch_size: Rows of a step, drawn without replacement.
        learning_rate: Of the weight; the log temperature learns ten times as fast.
        weight_decay: Pulls towards the ridge solution, not towards zero.
        center_share: Share of the center loss; the rest is the multi-positive loss.
        temperature: At the start; it is learned.
    """

    n_steps: int = 100
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    center_share: float = 0.8
    temperature: float = 0.07


@dataclass(frozen=True, slots=True, eq=False)
class LinearFit:
    """What training ended with: weight (F, D), bias (D,), temperature and the last loss."""

    weight: FloatArray
    bias: FloatArray
    temperature: float
    loss: float


def fit_linear(
    inputs: FloatArray,
    targets: Targets,
    *,
    start: tuple[FloatArray, FloatArray],
    contrast: Contrast,
    seed: int,
    progress: ProgressCallback | None = None,
) -> LinearFit:
    """Train a linear head with a learned temperature.

    Args:
        inputs: Standardised, shape (N, F).
        targets: What each row is pulled towards.
        start: Weight (F, D) and bias (D,) to start from: the ridge solution.
        contrast: How to train.
        seed: Of the batches.
        progress: Called after each step.
    """
    generator = torch.Generator().manual_seed(seed)
    x, labels = torch.from_numpy(inputs), torch.from_numpy(targets.rows)
    centers = torch.from_numpy(targets.points)[:, None, :]  # (U, 1, D)
    origin = [torch.from_numpy(np.array(value)) for value in start]
    weight, bias = (value.clone().requires_grad_() for value in origin)
    log_temperature = torch.tensor(float(np.log(contrast.temperature)), requires_grad=True)
    optimizer = torch.optim.AdamW(
        [
            {"params": [weight, bias], "lr": contrast.learning_rate},
            {"params": [log_temperature], "lr": 10 * contrast.learning_rate},
        ],
        weight_decay=0.0,
    )
    loss = torch.zeros(())
    for step in range(contrast.n_steps):
        rows = torch.randperm(len(x), generator=generator)[: contrast.batch_size]
        embeddings = functional.normalize(x[rows] @ weight + bias, dim=1)
        temperature = log_temperature.exp().clamp(0.01, 1.0)
        loss = contrast.center_share * center_loss(
            embeddings, centers, labels[rows], temperature=temperature
        ) + (1 - contrast.center_share) * multi_positive_loss(
            embeddings, labels[rows], temperature=temperature
        )
        drift = sum(
            ((now - then) ** 2).sum() for now, then in zip((weight, bias), origin, strict=True)
        )
        optimizer.zero_grad()
        (loss + contrast.weight_decay * drift).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if progress is not None:
            progress(step + 1, contrast.n_steps)
    return LinearFit(
        weight=weight.detach().numpy(),
        bias=bias.detach().numpy(),
        temperature=float(log_temperature.exp().clamp(0.01, 1.0).detach()),
        loss=float(loss.detach()),
    )
