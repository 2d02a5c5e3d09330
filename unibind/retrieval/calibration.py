"""Scores that are comparable across modalities, so that a mixed search ranks by meaning.

Embeddings of one modality crowd together (the modality gap), so raw cosines rank by modality
first. Each modality is centred on the mean of what the store holds of it:

    score(q, x) = (q - m_q) . (x - m_x) / (|q - m_q| r_x)        r_x = sqrt(1 - |m_x|^2)

with r_x the root mean square of |x - m_x| over unit-length x, in closed form. Within one modality
that is an affine function of q' . x, so any index of inner products answers it exactly.

Source:
    The gap: Liang et al., Mind the Gap, NeurIPS 2022 (arXiv:2203.02053). We differ: the means are
    the store's own and divide by a norm per modality instead of one per item.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.retrieval.view import Shard
from unibind.types import FloatArray

__all__ = ["CALIBRATIONS", "Calibrated", "calibrated", "centre_of"]

Float64Array = npt.NDArray[np.float64]

CALIBRATIONS = ("none", "centre", "standardise")
# A modality of a few items has no mean worth the name: it borrows this many from the whole store.
_PRIOR_ITEMS = 16
_SAMPLED_ITEMS = 512
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Queries as one modality shall see them.

    Attributes:
        queries: What to take inner products with, shape (B, D), not unit length.
        shift: Taken from each inner product, shape (B,); None for plain cosine.
        scale: What the difference is then divided by, shape (B,), positive; None likewise.
    """

    queries: FloatArray
    shift: Float64Array | None = None
    scale: Float64Array | None = None

    def scores(self, products: npt.NDArray[np.floating]) -> Float64Array:
        """Return calibrated scores, shape (B, k), of inner products, shape (B, k)."""
        if self.shift is None or self.scale is None:
            return products.astype(np.float64)
        return (products - self.shift[:, None]) / self.scale[:, None]


def check_calibration(name: str) -> str:
    """Return the name of a calibration once it is known.

    Raises:
        InvalidInputError: It is not.
    """
    if name not in CALIBRATIONS:
        raise InvalidInputError(f"calibration is {name!r}; one of {', '.join(CALIBRATIONS)}")
    return name


def calibrated(
    queries: FloatArray,
    shard: Shard,
    shards: Mapping[str, Shard],
    *,
    calibration: str,
    query_modality: str | None,
) -> Calibrated:
    """Return queries, shape (B, D), as calibrated for one modality.

    Args:
        queries: Unit-length rows.
        shard: The modality that is searched.
        shards: All modalities of the store, by name.
        calibration: ``"none"`` for plain cosine, ``"centre"`` as above, ``"standardise"`` to
            divide by the spread of each query's scores instead (over-corrects where one modality
            really is nearer).
        query_modality: What the queries are; if the store holds such items, the queries are
            centred on them.
    """
    if calibration == "none":
        return Calibrated(queries)
    centred = queries.astype(np.float64)
    if query_modality is not None and query_modality in shards:
        centred -= centre_of(shards[query_modality], shards)
    centre = centre_of(shard, shards)
    shift = centred @ centre
    if calibration == "standardise":
        scale = _spread(centred, shard)
    else:
        radius = np.sqrt(max(1.0 - float(centre @ centre), 0.0))
        scale = np.linalg.norm(centred, axis=1) * radius
    return Calibrated(
        np.ascontiguousarray(centred, dtype=np.float32), shift, np.maximum(scale, _TINY)
    )


def centre_of(shard: Shard, shards: Mapping[str, Shard]) -> Float64Array:
    """Return the mean of a modality, shape (D,), drawn to the store's mean while it is small."""
    n_all = sum(other.n_live for other in shards.values())
    if not n_all:
        return np.zeros_like(shard.vector_sum)
    grand = sum((other.vector_sum for other in shards.values()), np.zeros_like(shard.vector_sum))
    return (shard.vector_sum + _PRIOR_ITEMS / n_all * grand) / (shard.n_live + _PRIOR_ITEMS)


def _spread(centred: Float64Array, shard: Shard) -> Float64Array:
    slots = shard.live_slots
    sample = slots[:: max(1, len(slots) // _SAMPLED_ITEMS)]
    if not sample.size:
        return np.ones(len(centred))
    products = centred @ shard.vectors[sample].astype(np.float64).T  # (B, D) @ (D, S) -> (B, S)
    return np.asarray(products.std(axis=1))
