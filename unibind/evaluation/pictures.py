"""Labelled pictures in memory: everything that the protocols need of them, computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unibind.alignment.heads import head_inputs
from unibind.alignment.prior import SemanticPrior
from unibind.datasets import Dataset
from unibind.encoders.cache import FeatureCache
from unibind.encoders.pipeline import encode_sources
from unibind.errors import InvalidInputError
from unibind.evaluation.baselines import RawPixels
from unibind.protocols import Encoder
from unibind.types import FloatArray, IntArray, ProgressCallback, SpaceId

__all__ = ["Pictures"]


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """N captioned pictures of one or more sets.

    Attributes:
        captions: Shape (N,).
        sources: Name of the set that each is of, shape (N,).
        paths: File of each, shape (N,).
        inputs: What a head reads, shape (N, F').
        prior: Embeddings by the semantic prior, shape (N, D).
        pixels: As `RawPixels` sees them, shape (N, 768).
        texts: Embeddings of the captions, unit length, shape (N, D).
        space: Where `prior` and `texts` live.
        encoder: Fingerprint of the encoder behind `inputs`.
    """

    captions: tuple[str, ...]
    sources: tuple[str, ...]
    paths: tuple[Path, ...]
    inputs: FloatArray
    prior: FloatArray
    pixels: FloatArray
    texts: FloatArray
    space: SpaceId
    encoder: str

    @classmethod
    def of(
        cls,
        datasets: Sequence[Dataset],
        *,
        encoder: Encoder,
        prior: SemanticPrior,
        embed_texts: Callable[[Sequence[str]], FloatArray],
        space: SpaceId,
        progress: ProgressCallback | None = None,
    ) -> "Pictures":
        """Encode the captioned pictures of datasets; what was encoded before comes from the cache.

        Args:
            datasets: Their items; those without a caption are left out.
            encoder: The image tower.
            prior: Its semantic prior.
            embed_texts: Texts to embeddings of the space, shape (N, D).
            space: The space.
            progress: Called with the pictures done and their number.

        Raises:
            InvalidInputError: A picture cannot be read, or none has a caption.
        """
        items = [
            (dataset.name, item)
            for dataset in datasets
            for item in dataset.items
            if item.caption and item.caption.strip()
        ]
        if not items:
            raise InvalidInputError("no picture of the sets has a caption; nothing to evaluate")
        paths = [item.path for _, item in items]
        with FeatureCache.of(encoder) as cache:
            encoded = encode_sources(encoder, paths, cache=cache, progress=progress)
        pixels = RawPixels()
        with FeatureCache.of(pixels) as cache:
            raw = encode_sources(pixels, paths, cache=cache)
        failures = encoded.failures or raw.failures
        if failures:
            raise InvalidInputError(
                f"{len(failures)} of {len(paths)} pictures cannot be read, first "
                f"{failures[0].source}: {failures[0].error}; fetch the set again with "
                "`unibind data fetch`"
            )
        captions = tuple((item.caption or "").strip() for _, item in items)
        return cls(
            captions=captions,
            sources=tuple(name for name, _ in items),
            paths=tuple(paths),
            inputs=head_inputs(encoder, encoded.features),
            prior=prior.embed(encoded.features),
            pixels=raw.features,
            texts=embed_texts(captions),
            space=space,
            encoder=encoder.fingerprint,
        )

    def __len__(self) -> int:
        return len(self.captions)

    def rows_of(self, source: str) -> IntArray:
        """Return the rows of one set."""
        return np.flatnonzero(np.array(self.sources) == source)
