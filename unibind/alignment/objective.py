"""What contrastive training lowers: losses by name, in shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from unibind.alignment.losses import (
    center_loss,
    class_to_items_loss,
    instance_loss,
    multi_positive_loss,
    released_loss,
    sigmoid_loss,
)
from unibind.alignment.losses.class_center import Reduction
from unibind.errors import InvalidInputError

__all__ = ["LOSSES", "Batch", "Objective"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a loss sees of one step.

    Attributes:
        embeddings: Unit-length rows, shape (B, D).
        labels: Class of each row among the candidates, int64 in [0, C), shape (B,).
        centers: Of the candidate classes, unit length, shape (C, K, D).
        points: Their means, unit length, shape (C, D).
        temperature: Learned along, a scalar.
        weights: How often each candidate stands among the wrong answers of each row, shape (B, C);
            None for once. Confusable classes may count more.
    """

    embeddings: Tensor
    labels: Tensor
    centers: Tensor
    points: Tensor
    temperature: Tensor
    weights: Tensor | None = None


def _centers(reduction: Reduction) -> Callable[[Batch], Tensor]:
    def loss(batch: Batch) -> Tensor:
        return center_loss(
            batch.embeddings,
            batch.points[:, None] if reduction == "mean" else batch.centers,
            batch.labels,
            temperature=batch.temperature,
            reduction=reduction,
            weights=batch.weights,
        )

    return loss


def _class_to_items(batch: Batch) -> Tensor:
    return class_to_items_loss(
        batch.embeddings, batch.points, batch.labels, temperature=batch.temperature
    )


def _multi_positive(batch: Batch) -> Tensor:
    return multi_positive_loss(batch.embeddings, batch.labels, temperature=batch.temperature)


def _instance(batch: Batch) -> Tensor:
    texts = batch.points[batch.labels]
    return instance_loss(batch.embeddings, texts, batch.labels, temperature=batch.temperature)


def _sigmoid(batch: Batch) -> Tensor:
    # As many pairs match as there are items: the bias that makes the first loss fair.
    bias = -float(torch.log(torch.tensor(float(max(1, len(batch.points) - 1)))))
    return sigmoid_loss(
        batch.embeddings, batch.points, batch.labels, temperature=batch.temperature, bias=bias
    )


def _released(batch: Batch) -> Tensor:
    return released_loss(batch.embeddings, batch.points[batch.labels])


LOSSES: Mapping[str, Callable[[Batch], Tensor]] = MappingProxyType(
    {
        "class-center": _centers("mean"),
        "nearest-center": _centers("nearest"),
        "log-sum-exp-center": _centers("log-sum-exp"),
        "class-to-items": _class_to_items,
        "multi-positive": _multi_positive,
        "instance": _instance,
        "sigmoid": _sigmoid,
        "unibind-released": _released,
    }
)
"""Losses by name; each file of `alignment.losses` says whose it is."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A sum of losses.

    Attributes:
        shares: Name of a loss, one of `LOSSES`, to how much of it.
    """

    shares: Mapping[str, float] = field(
        default_factory=lambda: {"class-center": 0.5, "class-to-items": 0.5}
    )

    def __post_init__(self) -> None:
        unknown = sorted(set(self.shares) - set(LOSSES))
        if unknown or not self.shares or any(not share > 0 for share in self.shares.values()):
            raise InvalidInputError(
                f"objective {dict(self.shares)}; shares above 0 of {', '.join(LOSSES)} were needed"
            )

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch in nats, a scalar."""
        parts = [share * LOSSES[name](batch) for name, share in self.shares.items()]
        return torch.stack(parts).sum()
