"""The space itself: a frozen text tower, and the origin that its vectors are measured from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from unibind import artifact
from unibind.alignment.geometry import check_rows, unit
from unibind.errors import InvalidInputError
from unibind.protocols import Encoder
from unibind.types import FloatArray, SpaceId

__all__ = ["Space"]

KIND = "space"
FORMAT_VERSION = 1
_FILE = "origin.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Where every modality's embeddings live. Text is its centre: no head projects text.

    All sentences share a direction that says nothing about their meaning (the vectors of a text
    tower fill a narrow cone). The space's origin is the mean of many ordinary names; vectors are
    taken from there, so that a cosine of 0 means unrelated.

    Attributes:
        id: Fingerprint of the text tower together with the names that give the origin.
        text_encoder: Name of the text tower among the installed encoders.
        tower: Fingerprint of the text tower.
        encoders: Modality name to the name of its encoder, in this space.
        origin: Mean of the unit-length vectors of ordinary names, shape (D,).
    """

    id: SpaceId
    text_encoder: str
    tower: str
    encoders: dict[str, str]
    origin: FloatArray

    @classmethod
    def around(
        cls,
        tower: Encoder,
        *,
        text_encoder: str,
        encoders: dict[str, str],
        names: Sequence[str],
        features: FloatArray,
    ) -> "Space":
        """Return the space of a text tower, with its origin at the mean of names.

        Args:
            tower: The text tower.
            text_encoder: Its name among the installed encoders.
            encoders: Modality name to encoder name.
            names: Ordinary names; the more varied, the better the origin.
            features: What the tower made of the names, shape (len(names), D).

        Raises:
            InvalidInputError: There are no names, or the features do not fit them.
        """
        if not names or len(names) != len(features):
            raise InvalidInputError(
                f"{len(names)} names with {len(features)} features cannot give an origin; "
                "give one feature for each name, and at least one"
            )
        rows = check_rows(features, width=tower.dim, what="features of the names")
        content = "\n".join([tower.fingerprint, *names])
        return cls(
            id=SpaceId(hashlib.sha256(content.encode()).hexdigest()),
            text_encoder=text_encoder,
            tower=tower.fingerprint,
            encoders=dict(encoders),
            origin=unit(rows).mean(axis=0),
        )

    @property
    def dim(self) -> int:
        """Width D of the space."""
        return len(self.origin)

    def place(self, features: FloatArray) -> FloatArray:
        """Return the embeddings, unit length, shape (N, D), of the text tower's features (N, D).

        Raises:
            InvalidInputError: The features have another width, or are NaN or infinite.
        """
        rows = check_rows(features, width=self.dim, what="text features")
        return unit(unit(rows) - self.origin)

    def with_encoder(self, modality: str, encoder: str) -> "Space":
        """Return the same space with one more modality, or another encoder for it."""
        return replace(self, encoders={**self.encoders, modality: encoder})

    def save(self, path: Path) -> None:
        """Write the space as a folder; what was there is replaced.

        Raises:
            ArtifactError: The place cannot be written.
        """
        params = {
            "text_encoder": self.text_encoder,
            "tower": self.tower,
            "encoders": self.encoders,
        }
        with artifact.writing(
            path, kind=KIND, format_version=FORMAT_VERSION, space=self.id, params=params
        ) as folder:
            (folder / _FILE).write_bytes(save({"origin": np.ascontiguousarray(self.origin)}))

    @classmethod
    def open(cls, path: Path) -> "Space":
        """Read a space that `save` wrote.

        Raises:
            ArtifactError: It is missing or damaged.
        """
        manifest = artifact.verify(path, kind=KIND, format_version=FORMAT_VERSION)
        return cls(
            id=manifest.space or SpaceId(""),
            text_encoder=manifest.params["text_encoder"],
            tower=manifest.params["tower"],
            encoders=dict(manifest.params["encoders"]),
            origin=load_file(path / _FILE)["origin"],
        )
