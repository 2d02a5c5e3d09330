"""What a space perceives with: its towers, the heads behind them, their priors and instruments."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unibind import artifact
from unibind.alignment.examples import Examples
from unibind.alignment.geometry import unit
from unibind.alignment.heads import FORMAT_VERSION, KIND, Head, head_inputs
from unibind.alignment.prior import SemanticPrior
from unibind.alignment.space import Space
from unibind.encoders.cache import FeatureCache
from unibind.encoders.pipeline import Encoded, encode_sources
from unibind.encoders.registry import open_encoder
from unibind.encoders.trainable import TrainableEncoder
from unibind.errors import InvalidInputError, SpaceMismatchError
from unibind.protocols import (
    AlignedEncoder,
    Encoder,
    LabelledEncoder,
    PicturingEncoder,
)
from unibind.types import FloatArray, Json, ProgressCallback

__all__ = ["TEXT", "Senses"]

TEXT = "text"
_IMAGE = "image"
_TAUGHT = "taught"


class Senses:
    """Everything between an item and its place in a space, opened when it is first needed.

    Args:
        space: The space.
        root: Its folder, where its heads lie.
        opened: Towers that are open already, by modality.
    """

    def __init__(
        self, space: Space, root: Path, *, opened: Mapping[str, Encoder] | None = None
    ) -> None:
        self.space = space
        self.root = root
        self._encoders = dict(opened or {})
        self._caches: dict[str, FeatureCache] = {}
        self._heads: dict[str, Head | None] = {}
        self._examples: dict[str, Examples | None] = {}
        self._priors: dict[str, SemanticPrior | None] = {}
        self._makers: dict[str, str] = {}

    def has(self, modality: str) -> bool:
        """Return whether the space has a modality."""
        return modality == TEXT or modality in self.space.encoders

    def encoder(self, modality: str) -> Encoder:
        """Return the tower of a modality.

        Raises:
            InvalidInputError: The space has no such modality.
            PluginError: Its encoder is not installed.
            FetchError: Its weights are not here yet.
            SpaceMismatchError: The text tower is not the one that the space was made with.
        """
        if modality not in self._encoders:
            names = {TEXT: self.space.text_encoder, **self.space.encoders}
            if modality not in names:
                raise InvalidInputError(
                    f"the space has no modality {modality!r}; it has {', '.join(sorted(names))}. "
                    f"Add one with `unibind align --modality {modality} --encoder NAME`"
                )
            encoder = self.with_weights(modality, open_encoder(names[modality]))
            if modality == TEXT and encoder.fingerprint != self.space.tower:
                raise SpaceMismatchError(
                    f"the space was made with the text tower {self.space.tower[:12]}, installed is "
                    f"{encoder.fingerprint[:12]}; build the space again, or install the tower's "
                    "earlier version"
                )
            self._encoders[modality] = encoder
        return self._encoders[modality]

    def with_weights(self, modality: str, encoder: Encoder) -> Encoder:
        """Return an encoder with what the space trained of it, if it is a network and was trained.

        Raises:
            ArtifactError: The weights are damaged.
            SpaceMismatchError: They are of another network.
        """
        if not isinstance(encoder, TrainableEncoder):
            return encoder
        return encoder.opened(self.root / "networks" / modality)

    def keep_encoder(self, modality: str, encoder: Encoder) -> None:
        """Use an encoder that was just trained; the head before was another network's."""
        cache = self._caches.pop(modality, None)
        if cache is not None:
            cache.close()
        self._encoders[modality] = encoder
        self._heads.clear()
        self._priors.clear()
        self._makers.clear()

    def encode(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Encoded:
        """Return the features of the items that work, and a list of those that do not.

        Raises:
            InvalidInputError: The space has no such modality, or the modality no such option.
        """
        if modality not in self._caches:
            self._caches[modality] = FeatureCache.of(self.encoder(modality))
        return encode_sources(
            self.encoder(modality),
            items,
            options=options,
            cache=self._caches[modality],
            progress=progress,
        )

    def reaches(self, modality: str) -> bool:
        """Return whether anything leads from items of a modality into the space.

        Raises:
            InvalidInputError: The space has no such modality.
        """
        if modality == TEXT or self.head(modality) is not None or self.prior(modality) is not None:
            return True
        encoder = self.encoder(modality)
        return isinstance(encoder, AlignedEncoder) and encoder.space == self.space.tower

    def headless(self, modality: str) -> str:
        """Return what to say of a modality that nothing leads from into the space."""
        return (
            f"{modality!r} has no head yet, and its encoder never learned names; train one "
            f"with `unibind align --modality {modality} --data FOLDER`"
        )

    def place(self, modality: str, features: FloatArray) -> FloatArray:
        """Return the embeddings of features, shape (N, F), unit length, shape (N, D).

        Raises:
            InvalidInputError: Nothing leads from these features into the space yet.
        """
        if not self.reaches(modality):
            raise InvalidInputError(self.headless(modality))
        head, prior = self.head(modality), self.prior(modality)
        if head is not None:
            named = None if prior is None else prior.embed(features)
            return head.embed(self.head_inputs(modality, features), named)
        return self.space.place(features) if prior is None else prior.embed(features)

    def head_inputs(self, modality: str, features: FloatArray) -> FloatArray:
        """Return what a head of the modality takes of features, shape (N, F), shape (N, F')."""
        return head_inputs(self._naming(modality), features)

    def head(self, modality: str) -> Head | None:
        """Return the head of a modality, None if none was trained.

        What is shown to the image tower uses the head of pictures until it has one of its own.

        Raises:
            ArtifactError: It is damaged.
            SpaceMismatchError: It is of another space, or takes another encoder's features.
        """
        if modality not in self._heads:
            path = self.root / "heads" / modality
            head = Head.open(path) if artifact.exists(path) else None
            if head is not None:
                self._check(head, modality)
            elif modality != TEXT and self._naming(modality) is not self.encoder(modality):
                head = self.head(_IMAGE)
            self._heads[modality] = head
        return self._heads[modality]

    def maker(self, modality: str) -> str:
        """Return the name of what makes the embeddings of a modality: its head, or its encoder.

        Embeddings of two makers lie in one space, but need not agree on what is alike.

        Raises:
            InvalidInputError: The space has no such modality.
            ArtifactError: Its head is damaged.
        """
        if modality not in self._makers:
            self._makers[modality] = f"encoder {self.encoder(modality).fingerprint[:16]}"
            if self.head(modality) is not None:
                own = self.root / "heads" / modality
                path = own if artifact.exists(own) else self.root / "heads" / _IMAGE
                manifest = artifact.verify(path, kind=KIND, format_version=FORMAT_VERSION)
                self._makers[modality] = f"head {manifest.content_id[:16]}"
        return self._makers[modality]

    def keep_head(self, modality: str, head: Head) -> None:
        """Write the head of a modality into the space's folder, and use it from now on.

        Raises:
            ArtifactError: The folder cannot be written.
        """
        head.save(self.root / "heads" / modality)
        self._heads = {modality: head}  # others may have borrowed the one before
        self._makers.clear()

    def examples(self, modality: str) -> Examples | None:
        """Return what was taught of a modality by examples, None if nothing was.

        Raises:
            ArtifactError: It is damaged.
            SpaceMismatchError: The examples are features of another encoder.
        """
        if modality not in self._examples:
            path = self.root / _TAUGHT / modality
            found = Examples.open(path) if artifact.exists(path) else None
            if found is not None and found.encoder != self.encoder(modality).fingerprint:
                raise SpaceMismatchError(
                    f"the examples of {modality!r} are features of encoder {found.encoder[:12]}, "
                    f"installed is {self.encoder(modality).fingerprint[:12]}; delete {path} and "
                    "teach them again, or install the encoder's earlier version"
                )
            self._examples[modality] = found
        return self._examples[modality]

    def keep_examples(self, modality: str, examples: Examples) -> None:
        """Write what is taught of a modality into the space's folder, and use it from now on.

        Raises:
            ArtifactError: The folder cannot be written.
        """
        examples.save(self.root / _TAUGHT / modality, space=self.space.id)
        self._examples[modality] = examples

    def looks(self, modality: str, features: FloatArray) -> FloatArray:
        """Return features where examples are compared, unit length, shape (N, F').

        Standardised as the head does it, so that what all items share does not make them alike;
        without a head, as they are, or in the space if their tower is of it.
        """
        head = self.head(modality)
        if head is None and self.prior(modality) is None and self.reaches(modality):
            return self.place(modality, features)
        if head is None:
            return unit(self.head_inputs(modality, features))
        inputs = features if modality == TEXT else self.head_inputs(modality, features)
        return unit((inputs - head.mean) / head.scale)

    def prior(self, modality: str) -> SemanticPrior | None:
        """Return the semantic prior of a modality, None if its encoder never learned names."""
        if modality not in self._priors:
            encoder = None if modality == TEXT else self._naming(modality)
            self._priors[modality] = (
                self._prior_of(encoder) if isinstance(encoder, LabelledEncoder) else None
            )
        return self._priors[modality]

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return the embeddings of texts, shape (N, D).

        Raises:
            InvalidInputError: A text is empty or too long.
        """
        encoded = self.encode(TEXT, texts)
        if encoded.failures:
            first = encoded.failures[0]
            raise InvalidInputError(f"{first.source}: {first.error}")
        return self.space.place(encoded.features)

    def close(self) -> None:
        """Release the files of the caches."""
        for each in self._caches.values():
            each.close()
        self._caches.clear()

    def _naming(self, modality: str) -> Encoder:
        """Return the encoder that knows what features mean: its own, or the image tower's."""
        encoder = self.encoder(modality)
        if isinstance(encoder, PicturingEncoder) and _IMAGE in self.space.encoders:
            tower = self.encoder(_IMAGE)
            if tower.fingerprint == encoder.image_tower:
                return tower
        return encoder

    def _prior_of(self, encoder: LabelledEncoder) -> SemanticPrior:
        texts = [text for label in encoder.label_texts for text in label]
        vectors = self.embed_texts(texts)
        ends = np.cumsum([len(label) for label in encoder.label_texts])[:-1]
        means = np.stack([rows.mean(axis=0) for rows in np.split(vectors, ends)])
        return SemanticPrior(encoder, unit(means))

    def _check(self, head: Head, modality: str) -> None:
        if head.space != self.space.id:
            raise SpaceMismatchError(
                f"the head of {modality!r} is of space {head.space}, this is {self.space.id}; "
                "train it again with `unibind align`"
            )
        if head.encoder != self.encoder(modality).fingerprint:
            raise SpaceMismatchError(
                f"the head of {modality!r} takes features of encoder {head.encoder[:12]}, "
                f"installed is {self.encoder(modality).fingerprint[:12]}; train it again with "
                "`unibind align`, or install the encoder's earlier version"
            )
