"""Pictures whose true map into the space is known, so that what a protocol says can be judged."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from unibind.alignment.geometry import unit
from unibind.evaluation.baselines import RawPixels
from unibind.evaluation.pictures import Pictures
from unibind.types import FloatArray, SpaceId

SPACE = SpaceId("the space of these tests")


@pytest.fixture(scope="session")
def draw() -> Callable[..., FloatArray]:
    """Return a function that draws numbers of the normal distribution, by shape and seed."""
    return lambda *shape, seed=0: (
        np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)
    )


@pytest.fixture(scope="session")
def plant(draw) -> Callable[..., Pictures]:
    """Return a maker of pictures: a linear map of what their captions mean, with noise.

    `told` is how much the pictures tell of what the captions mean, `own` how much those of one
    caption have in common that means nothing. The prior is a faint copy of the truth, or as empty
    as the pixels. `points` are of the distinct captions, sorted.
    """

    def make(
        captions: Sequence[str],
        points: FloatArray,
        *,
        told: float = 1.0,
        own: float = 0.0,
        noise: float = 0.1,
        prior_noise: float | None = None,
        sources: Sequence[str] | None = None,
        width: int = 40,
    ) -> Pictures:
        distinct = sorted(set(captions))
        rows = np.array([distinct.index(caption) for caption in captions])
        dim = points.shape[1]
        codes = told * points @ draw(dim, width, seed=1) + own * draw(len(distinct), width, seed=2)
        truth = 0 if prior_noise is None else points[rows]
        return Pictures(
            captions=tuple(captions),
            sources=tuple(sources or ["set"] * len(captions)),
            paths=tuple(Path(f"{n}.png") for n in range(len(captions))),
            inputs=codes[rows] + noise * draw(len(rows), width, seed=3) + draw(width, seed=4),
            prior=unit(truth + (prior_noise or 1) * draw(len(rows), dim, seed=5)),
            pixels=1 / (1 + np.exp(-draw(len(rows), RawPixels.dim, seed=6))),
            texts=points[rows],
            space=SPACE,
            encoder="the encoder of these tests",
        )

    return make
