"""From scores to a decision: which class, how sure."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from unibind.alignment.calibration import Calibration, Regime, regime_of
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, Prediction

__all__ = ["UNKNOWN", "decide", "is_same_class", "seen_among"]

UNKNOWN = "unknown"
"""The label of what is none of the classes to choose from, where that was asked for."""

_ARTICLE = re.compile(r"^(a|an|the)\s+")


def decide(
    scores: FloatArray,
    labels: Sequence[str],
    *,
    temperature: float,
    seen: Collection[str] = (),
    seen_penalty: float = 0.0,
    calibrations: Mapping[Regime, Calibration] | None = None,
    top: int | None = None,
) -> list[list[Prediction]]:
    """Return for each row of scores, shape (N, C), the classes, the likeliest first.

    A trained head prefers the classes that it was trained on to any other. Where both kinds are
    candidates, the penalty, learned on training classes, is taken from the scores of the seen ones.

    Args:
        scores: Cosines.
        labels: Names of the C classes.
        temperature: Logits are score / temperature, where there is no calibration.
        seen: Names that the head was trained on.
        seen_penalty: Taken from the scores of classes among these.
        calibrations: How sure to be, by whether all, none or some of the classes were seen.
        top: How many classes are listed of each row; all by default, which for thousands of rows
            against thousands of classes is gigabytes. Probabilities are shares among all.

    Raises:
        InvalidInputError: top is below 1.
    """
    if top is not None and top < 1:
        raise InvalidInputError(f"top is {top}; at least 1 class must be listed")
    is_seen = seen_among(labels, seen)
    if is_seen.any() and not is_seen.all():
        scores = scores - seen_penalty * is_seen.astype(np.float32)
    calibration = (calibrations or {}).get(regime_of(is_seen), Calibration(temperature))
    probabilities = calibration.probabilities(scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [Prediction(labels[c], float(scores[n, c]), float(probabilities[n, c])) for c in order[n]]
        for n in range(len(scores))
    ]


def seen_among(labels: Sequence[str], seen: Collection[str]) -> npt.NDArray[np.bool_]:
    """Return which labels are among names that a head was trained on, shape (C,)."""
    known = {_plain(name) for name in seen}
    return np.array([_plain(label) in known for label in labels], dtype=bool)


def is_same_class(name: str, other: str) -> bool:
    """Return whether two names differ only in case, article, spaces or punctuation."""
    return _plain(name) == _plain(other)


def _plain(name: str) -> str:
    text = unicodedata.normalize("NFKC", name).casefold()
    text = re.sub(r"[^\w]+", " ", text).strip()
    return _ARTICLE.sub("", text)
