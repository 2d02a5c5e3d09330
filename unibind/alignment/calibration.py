"""How sure to be: from scores to probabilities that are right as often as they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from unibind.alignment.geometry import softmax
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, IntArray

__all__ = ["Calibration", "Regime", "calibrate", "regime_of"]

Regime = Literal["seen", "unseen", "mixed"]
"""Whether all, none or some of the classes to choose from were trained on. The same score means
more where the head knows the classes, so each has its own calibration."""

_TEMPERATURES = np.geomspace(0.01, 0.4, 38)
_DOUBTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The softmax of scores, mixed with not knowing.

    Attributes:
        temperature: Logits are score / temperature.
        doubt: Share of belief that is dealt out evenly: how often a score is simply misled, as
            by a picture of something else. Without it a few such items would make a temperature
            so high that all the others are believed too little.
    """

    temperature: float
    doubt: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 <= self.doubt < 1:
            raise InvalidInputError(
                f"temperature {self.temperature} and doubt {self.doubt}; a temperature above 0 "
                "and a doubt in [0, 1) were needed"
            )

    def probabilities(self, scores: FloatArray) -> FloatArray:
        """Return shares of belief, rows that sum to 1, of scores, shape (N, C)."""
        shares: FloatArray = softmax(scores / np.float32(self.temperature))
        if self.doubt:
            shares = shares * np.float32(1 - self.doubt) + np.float32(self.doubt / scores.shape[1])
        return shares


def calibrate(outcomes: Sequence[tuple[FloatArray, IntArray]]) -> Calibration | None:
    """Return the calibration under which the right classes are likeliest, None without any item.

    Args:
        outcomes: Scores, shape (N, C), and the column of each row's right class, shape (N,); each
            of a list of classes of its own.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (arXiv:1706.04599), section
        4.2, temperature scaling. We differ: the doubt.
    """
    outcomes = [(scores, right) for scores, right in outcomes if len(right)]
    if not outcomes:
        return None
    losses = np.zeros((len(_TEMPERATURES), len(_DOUBTS)))
    for scores, right in outcomes:
        rows = np.arange(len(right))
        for t, temperature in enumerate(_TEMPERATURES):
            share = softmax(scores / np.float32(temperature))[rows, right].astype(np.float64)
            for d, doubt in enumerate(_DOUBTS):
                believed = (1 - doubt) * share + doubt / scores.shape[1]
                losses[t, d] -= np.log(np.maximum(believed, 1e-12)).sum()
    least = int(losses.argmin())
    t, d = divmod(least, len(_DOUBTS))
    return Calibration(float(_TEMPERATURES[t]), _DOUBTS[d])


def regime_of(is_seen: npt.NDArray[np.bool_]) -> Regime:
    """Return which calibration a list of classes asks for, of whether each was trained on."""
    if is_seen.all() and len(is_seen):
        return "seen"
    return "mixed" if is_seen.any() else "unseen"
