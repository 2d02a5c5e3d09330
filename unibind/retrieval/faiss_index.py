"""The only file that knows FAISS: exact and approximate nearest neighbours among mapped vectors.

FAISS answers with id -1 where it found less than k, and trusts whatever it is handed; callers of
this file hand it checked arrays, and get back slots that exist.
"""

import faiss
import numpy as np
import numpy.typing as npt

from unibind.types import FloatArray, IntArray

__all__ = ["exact"]


def exact(
    vectors: FloatArray, queries: FloatArray, k: int, *, among: npt.NDArray[np.bool_] | None = None
) -> IntArray:
    """Return the rows with the k largest inner products, shape (B, k), best first.

    Args:
        vectors: Shape (n, D), contiguous; may be a map of a file.
        queries: Shape (B, D).
        k: At least 1. Where fewer rows take part, the rest of a line is -1.
        among: Which rows take part, shape (n,); all of them if None.
    """
    slots = np.full((len(queries), k), -1, dtype=np.int64)
    if not len(vectors) or not len(queries):
        return slots
    scores = np.empty((len(queries), k), dtype=np.float32)
    arguments = [
        faiss.swig_ptr(np.ascontiguousarray(queries)),
        faiss.swig_ptr(vectors),
        vectors.shape[1],
        len(queries),
        len(vectors),
        k,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(slots),
    ]
    if among is None:
        faiss.knn_inner_product(*arguments)
        return slots
    bits = np.packbits(among, bitorder="little")
    selector = faiss.IDSelectorBitmap(len(vectors), faiss.swig_ptr(bits))
    faiss.knn_inner_product(*arguments, selector)  # type: ignore[call-arg]
    return slots
