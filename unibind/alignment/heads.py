"""Heads: one frozen affine map from a modality's features into the space."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from unibind import artifact
from unibind.alignment.attributes import MEASURED_WEIGHT
from unibind.alignment.calibration import Calibration, Regime
from unibind.alignment.geometry import check_rows, unit
from unibind.alignment.prior import posterior
from unibind.protocols import Encoder, LabelledEncoder
from unibind.types import FloatArray, Json, SpaceId

__all__ = ["Head", "fuse", "head_inputs"]

KIND = "head"
FORMAT_VERSION = 3
_FILE = "head.safetensors"
_POSTERIOR_TEMPERATURE = 2.0
_ARRAYS = (
    "weight",
    "bias",
    "mean",
    "scale",
    "references",
    "reference_points",
    "offset",
    "hidden",
    "hidden_bias",
    "outward",
)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Carries what an encoder saw into the space.

    Attributes:
        weight: Shape (F', D), where F' is the width of `head_inputs`.
        bias: Shape (D,).
        mean: Mean of the training inputs, shape (F',).
        scale: Standard deviation of the training inputs, shape (F',); never 0.
        space: Where the embeddings live.
        encoder: Fingerprint of the encoder whose features it takes.
        temperature: Logits are score / temperature; sets how sure probabilities are.
        prior_weight: Length at which the semantic prior is added to the head's unit vector.
        measured_weight: Of the log likelihood ratios of measured attributes beside its logits.
        seen: Names of the classes that it was trained on; none if it was trained on captions.
        seen_penalty: Taken from the scores of seen classes where unseen ones compete with them.
        references: Embeddings of training items by fits that had not seen their class, shape
            (M, D): what the head makes of items in general, by which hubs are known. May be empty.
        reference_points: What those items were pulled towards, shape (M, D): things that an item
            may be when it is none of the classes to choose from. As many as references, or none.
        offset: What all items share on the way into the space, shape (D,); taken off embeddings.
            Empty if nothing is.
        calibrations: How sure to be, by whether the classes to choose from were trained on.
        hidden: Of a residual of one hidden layer of H units: weight, shape (F', H). Empty without.
        hidden_bias: Shape (H,).
        outward: From the hidden layer into the space, shape (H, D).
        params: How it was made.
        metrics: What was measured on the way, on held-out classes of the training data.
    """

    weight: FloatArray
    bias: FloatArray
    mean: FloatArray
    scale: FloatArray
    space: SpaceId
    encoder: str
    temperature: float = 0.05
    prior_weight: float = 0.0
    measured_weight: float = MEASURED_WEIGHT
    seen: tuple[str, ...] = ()
    seen_penalty: float = 0.0
    references: FloatArray = field(default_factory=lambda: _nothing(0))
    reference_points: FloatArray = field(default_factory=lambda: _nothing(0))
    offset: FloatArray = field(default_factory=lambda: _nothing())
    calibrations: Mapping[Regime, Calibration] = field(default_factory=dict)
    hidden: FloatArray = field(default_factory=lambda: _nothing(0))
    hidden_bias: FloatArray = field(default_factory=lambda: _nothing())
    outward: FloatArray = field(default_factory=lambda: _nothing(0))
    params: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, Json] = field(default_factory=dict)

    def project(self, inputs: FloatArray) -> FloatArray:
        """Return the embeddings by the head alone, unit length, shape (N, D).

        Args:
            inputs: What `head_inputs` made of features, shape (N, F').

        Raises:
            InvalidInputError: They have another width, or are NaN or infinite.
        """
        rows = check_rows(inputs, width=len(self.mean), what="features")
        standardised = (rows - self.mean) / self.scale
        projected = standardised @ self.weight + self.bias
        if self.outward.size:
            projected = (
                projected
                + np.maximum(standardised @ self.hidden + self.hidden_bias, 0) @ self.outward
            )  # (N, H) @ (H, D) -> (N, D)
        return unit(projected)

    def embed(self, inputs: FloatArray, prior: FloatArray | None = None) -> FloatArray:
        """Return the embeddings, unit length, shape (N, D): head plus weighted prior.

        Args:
            inputs: What `head_inputs` made of features, shape (N, F').
            prior: Unit-length embeddings by the semantic prior, shape (N, D), if there is one.
        """
        fused = fuse(self.project(inputs), prior, self.prior_weight)
        # The offset is that of head and prior together; it is not known of one of them.
        is_whole = prior is not None or self.prior_weight == 0
        return unit(fused - self.offset) if self.offset.size and is_whole else fused

    def without_prior(self) -> "Head":
        """Return the same head, the semantic prior left out; hubs and offset are not known then."""
        none = _nothing(self.weight.shape[1])
        return replace(
            self, prior_weight=0.0, references=none, reference_points=none, offset=_nothing()
        )

    def calibration(self, regime: Regime) -> Calibration:
        """Return how sure to be of classes of a kind."""
        return self.calibrations.get(regime, Calibration(self.temperature))

    def save(self, path: Path, *, parents: Mapping[str, str] | None = None) -> None:
        """Write the head as a folder; what was there is replaced.

        Raises:
            ArtifactError: The place cannot be written.
        """
        params = {
            "encoder": self.encoder,
            "temperature": self.temperature,
            "prior_weight": self.prior_weight,
            "measured_weight": self.measured_weight,
            "seen": list(self.seen),
            "seen_penalty": self.seen_penalty,
            "calibrations": {
                regime: [each.temperature, each.doubt] for regime, each in self.calibrations.items()
            },
            "how": dict(self.params),
        }
        with artifact.writing(
            path,
            kind=KIND,
            format_version=FORMAT_VERSION,
            space=self.space,
            parents=parents,
            params=params,
            metrics=self.metrics,
        ) as folder:
            arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
            (folder / _FILE).write_bytes(save(arrays))

    @classmethod
    def open(cls, path: Path) -> "Head":
        """Read a head that `save` wrote.

        Raises:
            ArtifactError: It is missing or damaged.
        """
        manifest = artifact.verify(path, kind=KIND, format_version=FORMAT_VERSION)
        params = dict(manifest.params)
        return cls(
            **load_file(path / _FILE),
            space=manifest.space or SpaceId(""),
            encoder=params["encoder"],
            temperature=params["temperature"],
            prior_weight=params["prior_weight"],
            measured_weight=params["measured_weight"],
            seen=tuple(params["seen"]),
            seen_penalty=params["seen_penalty"],
            calibrations={
                regime: Calibration(*each) for regime, each in params["calibrations"].items()
            },
            params=params["how"],
            metrics=manifest.metrics,
        )


def _nothing(*width: int) -> FloatArray:
    """Return an array of no rows, or of no numbers if no width is given."""
    return np.zeros((0, *width), dtype=np.float32)


def fuse(projected: FloatArray, prior: FloatArray | None, weight: float) -> FloatArray:
    """Return the unit-length sum of a head's embeddings and the weighted prior's, shape (N, D)."""
    return projected if prior is None or weight == 0 else unit(projected + weight * prior)


def head_inputs(encoder: Encoder, features: FloatArray) -> FloatArray:
    """Return what a head reads: features, and for a classifier also the root of its beliefs.

    The root of a distribution is its Hellinger map: inner products of two such rows are
    Bhattacharyya coefficients, so a linear head on them compares whole beliefs, which the
    features alone do not let it do.

    Args:
        encoder: Where the features come from.
        features: Shape (N, F).

    Returns:
        Shape (N, F), or (N, F + L) for an encoder that was trained as a classifier of L classes.
    """
    if not isinstance(encoder, LabelledEncoder):
        return features
    beliefs = posterior(encoder, features, temperature=_POSTERIOR_TEMPERATURE)
    return np.concatenate([features, np.sqrt(beliefs)], axis=1)
