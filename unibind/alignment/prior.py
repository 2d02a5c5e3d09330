"""The semantic prior: an encoder that was trained to name things already points into the space."""

from dataclasses import dataclass

import numpy as np

from unibind.alignment.geometry import softmax, unit
from unibind.errors import InvalidInputError
from unibind.protocols import LabelledEncoder
from unibind.types import FloatArray

__all__ = ["SemanticPrior", "posterior"]


@dataclass(frozen=True, slots=True, eq=False)
class SemanticPrior:
    """Embeds an item as the mean of what the encoder's own class names mean. No training.

    An item that an ImageNet classifier calls 60 % "tiger cat" and 30 % "lynx" lies near both
    names, and so near "a cat", a class that the classifier does not have.

    Attributes:
        encoder: A tower that was trained as a classifier of L classes.
        vectors: Embeddings of its classes' texts, unit length, shape (L, D).
        temperature: Its logits are divided by this; above 1, because a classifier is too sure of
            pictures unlike those it was trained on.
        top: How many of its classes take part.

    Source:
        Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings, ICLR 2014
        (arXiv:1312.5650), eq. 2. We differ: the class vectors are taken from the mean of all
        classes, and the logits are tempered.
    """

    encoder: LabelledEncoder
    vectors: FloatArray
    temperature: float = 1.5
    top: int = 20

    def __post_init__(self) -> None:
        n_labels = len(self.encoder.labels)
        if len(self.vectors) != n_labels:
            raise InvalidInputError(
                f"{len(self.vectors)} class vectors for an encoder of {n_labels} classes; "
                "give one for each"
            )
        if not self.temperature > 0 or not self.top >= 1:
            raise InvalidInputError(
                f"temperature {self.temperature} and top {self.top}: both must be above 0"
            )

    def embed(self, features: FloatArray) -> FloatArray:
        """Return the embeddings of features, shape (N, F), unit length, shape (N, D)."""
        shares = posterior(self.encoder, features, temperature=self.temperature)  # (N, L)
        if self.top < shares.shape[1]:
            least = -np.partition(-shares, self.top - 1, axis=1)[:, self.top - 1]
            shares = np.where(shares >= least[:, None], shares, 0)
        centred = unit(self.vectors - self.vectors.mean(axis=0))
        return unit(shares @ centred)  # (N, L) @ (L, D) -> (N, D)


def posterior(encoder: LabelledEncoder, features: FloatArray, *, temperature: float) -> FloatArray:
    """Return an encoder's belief in each of its own classes, rows that sum to 1, shape (N, L)."""
    return softmax(encoder.logits(features) / temperature)
