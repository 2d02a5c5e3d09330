"""Objectives of contrastive training, one file per paper; `objective.Objective` mixes them."""

from unibind.alignment.losses.class_center import center_loss
from unibind.alignment.losses.class_to_items import class_to_items_loss
from unibind.alignment.losses.instance import instance_loss
from unibind.alignment.losses.multi_positive import multi_positive_loss
from unibind.alignment.losses.pairwise_sigmoid import sigmoid_loss
from unibind.alignment.losses.released import released_loss

__all__ = [
    "center_loss",
    "class_to_items_loss",
    "instance_loss",
    "multi_positive_loss",
    "released_loss",
    "sigmoid_loss",
]
