"""The only file that knows FAISS: exact and approximate nearest neighbours among mapped vectors.

FAISS answers with id -1 where it found less than k, trusts whatever file it is handed, and keeps
its own copy of the vectors; callers of this file hand it checked arrays and hashed files, get back
slots that exist, and share one map of the vectors among any number of processes.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from unibind.retrieval.plan import Plan
from unibind.types import FloatArray, IntArray, ProgressCallback

__all__ = ["Index", "build", "exact", "load", "set_threads"]

_BLOCK_ROWS = 16_384
_TRAINING_ROWS = 100_000
_MOST_EFFORT = 32_768

BoolArray = npt.NDArray[np.bool_]


def exact(
    vectors: FloatArray, queries: FloatArray, k: int, *, among: BoolArray | None = None
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
    arguments: list[Any] = [
        faiss.swig_ptr(np.ascontiguousarray(queries)),
        faiss.swig_ptr(vectors),
        vectors.shape[1],
        len(queries),
        len(vectors),
        k,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(slots),
    ]
    with _selecting(among) as selector:
        faiss.knn_inner_product(*arguments, *([selector] if selector else []))
    return slots


class Index:
    """An approximate index of the first rows of a file of vectors; proposes, never scores.

    Args:
        faiss_index: What `build` wrote and `load` read.
        plan: How it was made.
        n_slots: How many rows it covers.
        keeps: What must stay in memory as long as it is used.
    """

    def __init__(self, faiss_index: Any, plan: Plan, n_slots: int, keeps: object) -> None:
        self.plan = plan
        self.n_slots = n_slots
        self._faiss = faiss_index
        self._keeps = keeps

    def candidates(
        self,
        queries: FloatArray,
        k: int,
        *,
        effort: int,
        share: float = 1.0,
        among: BoolArray | None = None,
    ) -> IntArray:
        """Return rows that may be among the k nearest, shape (B, k or more), -1 where none.

        Args:
            queries: Shape (B, D).
            k: At least 1.
            effort: How hard to try, see `unibind.retrieval.plan.Plan`.
            share: Which part of the rows takes part, in (0, 1]: the effort is raised by it.
            among: Which rows take part, shape (n_slots,); others may be returned all the same.
        """
        effort = min(int(effort / share) + 1 if share < 1 else effort, _MOST_EFFORT)
        queries = np.ascontiguousarray(queries)
        if self.plan.kind == "binary":
            # Fast scan cannot leave rows out: ask for more, the caller drops them.
            n_asked = min(int((k + effort) / share) if share < 1 else k + effort, self.n_slots)
            return np.asarray(self._faiss.search(queries, n_asked)[1])
        with _selecting(among) as selector:
            n_asked, parameters = k, faiss.SearchParameters(sel=selector)
            if self.plan.kind == "hnsw":
                parameters = faiss.SearchParametersHNSW(efSearch=max(effort, k), sel=selector)
            elif self.plan.kind == "ivfpq":
                n_asked = k + 16 * effort
                parameters = faiss.SearchParametersIVF(nprobe=effort, sel=selector)
            elif self.plan.kind == "int8":
                n_asked = k + effort
            return np.asarray(
                self._faiss.search(queries, min(n_asked, self.n_slots), params=parameters)[1]
            )


def build(
    vectors: FloatArray,
    plan: Plan,
    file: Path,
    *,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> None:
    """Write the index of vectors, shape (n, D), to a file, reading them in blocks.

    HNSW's file holds the graph alone: the vectors are there already.
    """
    index = _empty(vectors.shape[1], len(vectors), plan)
    if not index.is_trained:
        generator = np.random.default_rng(seed)
        n_training = min(len(vectors), _TRAINING_ROWS)
        rows = np.sort(generator.choice(len(vectors), n_training, replace=False))
        index.train(np.ascontiguousarray(vectors[rows]))
    for start in range(0, len(vectors), _BLOCK_ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + _BLOCK_ROWS]))
        if progress:
            progress(min(start + _BLOCK_ROWS, len(vectors)), len(vectors))
    faiss.write_index(index, str(file), faiss.IO_FLAG_SKIP_STORAGE if plan.kind == "hnsw" else 0)


def load(file: Path, plan: Plan, vectors: FloatArray) -> Index:
    """Return the index of vectors, shape (n, D), from a file whose hash was checked.

    Raises:
        RuntimeError: FAISS refuses the file.
        ValueError: The file holds another kind of index, or one of other vectors.
    """
    with _limited(file.stat().st_size):
        index = faiss.read_index(str(file), faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)
    expected = type(_empty(vectors.shape[1], len(vectors), plan))
    if type(index) is not expected or index.d != vectors.shape[1] or index.ntotal != len(vectors):
        raise ValueError(
            f"it holds {index.ntotal} rows of width {index.d} in a {type(index).__name__}, "
            f"{len(vectors)} of width {vectors.shape[1]} in a {expected.__name__} were needed"
        )
    keeps: object = None
    if plan.kind == "hnsw":
        keeps = storage = _viewing(vectors)
        index.storage, index.own_fields = storage, False
    return Index(index, plan, len(vectors), (keeps, vectors))


def set_threads(n_threads: int) -> None:
    """Let every search of this process use so many threads."""
    faiss.omp_set_num_threads(n_threads)


def _empty(dim: int, n_rows: int, plan: Plan) -> Any:
    metric = faiss.METRIC_INNER_PRODUCT
    if plan.kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, plan.links, metric)
        index.hnsw.efConstruction = plan.build_effort
        return index
    if plan.kind == "ivfpq":
        coarse = faiss.IndexFlatIP(dim)
        index = faiss.IndexIVFPQ(coarse, dim, plan.n_lists(n_rows), plan.n_codes(dim), 8, metric)
        index.own_fields = True
        # Ten rounds of k-means are within noise of twenty-five, at 64 rows per centroid.
        for clustering in (index.cp, index.pq.cp):
            clustering.niter, clustering.max_points_per_centroid = 10, 64
            clustering.min_points_per_centroid = 1
        coarse.this.disown()
        return index
    if plan.kind == "int8":
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, metric)
    return faiss.IndexRaBitQFastScan(dim, metric)


def _viewing(vectors: FloatArray) -> Any:
    """Return a flat index that reads vectors where they lie instead of copying them."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    address = faiss.cast_integer_to_void_ptr(vectors.ctypes.data)
    # The owner is the empty one of the empty codes: numpy's map owns the bytes, see `keeps`.
    flat.codes = faiss.MaybeOwnedVectorUInt8.create_view(address, vectors.nbytes, flat.codes.owner)
    flat.ntotal = len(vectors)
    return flat


@contextlib.contextmanager
def _selecting(among: BoolArray | None) -> Iterator[Any]:
    if among is None:
        yield None
        return
    bits = np.packbits(among, bitorder="little")
    yield faiss.IDSelectorBitmap(len(among), faiss.swig_ptr(bits))


_LIMITS = threading.Lock()


@contextlib.contextmanager
def _limited(n_bytes: int) -> Iterator[None]:
    """Let FAISS allocate no more than a file of n_bytes can fill; it trusts sizes it reads."""
    with _LIMITS:
        before = faiss.get_deserialization_vector_byte_limit()
        loops = faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(2 * n_bytes + (1 << 20))
        faiss.set_deserialization_loop_limit(n_bytes + (1 << 20))
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before)
            faiss.set_deserialization_loop_limit(loops)
