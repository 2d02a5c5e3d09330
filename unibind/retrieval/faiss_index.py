"""The only file that knows FAISS: exact and approximate nearest neighbours among mapped vectors.

FAISS answers with id -1 where it found less than k, trusts whatever file it is handed, and keeps
its own copy of the vectors; callers of this file hand it checked arrays and hashed files, get back
slots that exist, and share one map of the vectors among any number of processes.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import faiss
import numpy as np
import numpy.typing as npt

from unibind.retrieval.plan import Plan
from unibind.types import FloatArray, IntArray, ProgressCallback

__all__ = [
    "Found",
    "Index",
    "build",
    "exact",
    "load",
    "n_threads",
    "scored",
    "set_threads",
    "shared_out",
]

_BLOCK_ROWS = 16_384
_TRAINING_ROWS = 100_000
_MOST_EFFORT = 32_768
_READ_BYTES = 1 << 22
_KEPT_RANKINGS = 64

Part = TypeVar("Part")
Result = TypeVar("Result")
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that were found for each query.

    Attributes:
        slots: Shape (B, m); -1 where there are fewer.
        scores: Their inner products, shape (B, m); -inf or lower than any where there are fewer.
    """

    slots: IntArray
    scores: FloatArray


def exact(
    vectors: FloatArray, queries: FloatArray, k: int, *, among: BoolArray | None = None
) -> Found:
    """Return the rows with the k largest inner products, best first.

    Fewer than 20 queries at a time are compared one row after the other, and each product has the
    same bits whatever else is asked or stored; more go through BLAS, which is faster and may round
    otherwise.

    Args:
        vectors: Shape (n, D), contiguous; may be a map of a file.
        queries: Shape (B, D).
        k: At least 1.
        among: Which rows take part, shape (n,); all of them if None.
    """
    slots = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    if not len(vectors) or not len(queries):
        return Found(slots, scores)
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
    return Found(slots, scores)


def scored(vectors: FloatArray, queries: FloatArray, slots: IntArray) -> Found:
    """Return rows with their inner products, shape (B, m), for each query.

    Args:
        vectors: Shape (n, D), contiguous; may be a map of a file.
        queries: Shape (B, D), contiguous.
        slots: Rows for each query, shape (B, m), in [-1, n).
    """
    scores = np.empty(slots.shape, dtype=np.float32)
    slots = np.ascontiguousarray(slots)
    with _threads_for(len(queries)):
        faiss.fvec_inner_products_by_idx(
            faiss.swig_ptr(scores),
            faiss.swig_ptr(queries),
            faiss.swig_ptr(vectors),
            faiss.swig_ptr(slots),
            vectors.shape[1],
            *slots.shape,
        )
    return Found(slots, scores)


class Index:
    """An approximate index of the first rows of a file of vectors; proposes, never scores.

    Args:
        faiss_index: What `build` wrote and `load` read.
        plan: How it was made.
        n_slots: How many rows it covers.
        vectors: The rows, shape (n_slots, D), in memory as long as it is used.
    """

    def __init__(self, faiss_index: Any, plan: Plan, n_slots: int, vectors: FloatArray) -> None:
        self.plan = plan
        self.n_slots = n_slots
        self._faiss = faiss_index
        self._vectors = vectors
        self._storage = _viewing(vectors)
        self._ranking: dict[int, Any] = {}
        if plan.kind == "hnsw":
            faiss_index.storage, faiss_index.own_fields = self._storage, False
            faiss_index.hnsw.efSearch = plan.effort
        if plan.kind == "ivfpq":
            faiss_index.nprobe = max(1, plan.effort)

    def nearest(self, queries: FloatArray, k: int) -> Found:
        """Return the k nearest rows with their inner products, at the plan's effort.

        Args:
            queries: Shape (B, D).
            k: At least 1, at most n_slots.
        """
        if self.plan.kind == "hnsw":
            return self.candidates(queries, k, effort=self.plan.effort)
        ranking = self._ranking.get(k)
        if ranking is None:
            # One for each k, since FAISS keeps in it how many candidates it shall re-rank.
            ranking = faiss.IndexRefine(self._faiss, self._storage)
            ranking.k_factor = (self._n_asked(k, self.plan.effort) + 0.5) / k
            if len(self._ranking) < _KEPT_RANKINGS:
                self._ranking[k] = ranking
        return _searched(ranking, queries, k, None)

    def candidates(
        self,
        queries: FloatArray,
        k: int,
        *,
        effort: int,
        share: float = 1.0,
        among: BoolArray | None = None,
    ) -> Found:
        """Return rows that may be among the k nearest, k of them or more for each query.

        The scores are inner products for HNSW, and estimates for the kinds that keep codes.

        Args:
            queries: Shape (B, D).
            k: At least 1.
            effort: How hard to try, see `unibind.retrieval.plan.Plan`.
            share: Which part of the rows takes part, in (0, 1]: the effort is raised by it.
            among: Which rows take part, shape (n_slots,); others may be returned all the same.
        """
        if self.plan.kind == "hnsw" and among is None and k <= effort == self.plan.effort:
            return _searched(self._faiss, queries, k, None)
        effort = min(int(effort / share) + 1 if share < 1 else effort, _MOST_EFFORT)
        n_asked = self._n_asked(k, effort)
        if self.plan.kind == "binary":
            # Fast scan cannot leave rows out: ask for more, the caller drops them.
            return _searched(self._faiss, queries, min(int(n_asked / share), self.n_slots), None)
        with _selecting(among) as selector:
            if self.plan.kind == "hnsw":
                settings = faiss.SearchParametersHNSW(efSearch=max(effort, k), sel=selector)
            elif self.plan.kind == "ivfpq":
                settings = faiss.SearchParametersIVF(nprobe=effort, sel=selector)
            else:
                settings = faiss.SearchParameters(sel=selector)
            return _searched(self._faiss, queries, n_asked, settings)

    def _n_asked(self, k: int, effort: int) -> int:
        """Return how many candidates are asked for, of which the best k are then found exactly."""
        extra = {"hnsw": 0, "ivfpq": 16 * effort}.get(self.plan.kind, effort)
        return min(k + extra, self.n_slots)


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


def load(file: Path, plan: Plan, vectors: FloatArray, *, sha256: str | None = None) -> Index:
    """Return the index of vectors, shape (n, D), from a file.

    Args:
        file: What `build` wrote.
        plan: How it was built.
        vectors: The rows that it was built of, in memory as long as the index is used.
        sha256: The file's hash, compared before FAISS sees a byte; None for a file that was just
            written. What is hashed is what is read, whatever the name comes to stand for meanwhile.

    Raises:
        RuntimeError: FAISS refuses the file.
        ValueError: The file is not the one that was built, holds another kind of index, or one of
            other vectors.
    """
    with file.open("rb") as stream:
        if sha256 is not None and hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
            raise ValueError("its hash is not the one that was recorded")
        n_bytes = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        with _limited(n_bytes):
            reader = faiss.PyCallbackIOReader(stream.read, _READ_BYTES)
            index = faiss.read_index(reader, faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)
    expected = type(_empty(vectors.shape[1], len(vectors), plan))
    if type(index) is not expected or index.d != vectors.shape[1] or index.ntotal != len(vectors):
        raise ValueError(
            f"it holds {index.ntotal} rows of width {index.d} in a {type(index).__name__}, "
            f"{len(vectors)} of width {vectors.shape[1]} in a {expected.__name__} were needed"
        )
    return Index(index, plan, len(vectors), vectors)


def shared_out(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Return the results of several parts, each worked on by one of the threads of a search.

    FAISS's own threads share out queries alone; so what Python does of one part goes on beside what
    FAISS does of another.

    Raises:
        Exception: What the work raised, once all parts have ended.
    """
    n_workers = min(n_threads(), len(parts)) if len(parts) > 1 else 1
    if n_workers < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(n_workers, initializer=lambda: set_threads(1)) as pool:
        return list(pool.map(work, parts))


def n_threads() -> int:
    """Return how many threads a search of this thread uses."""
    return int(faiss.omp_get_max_threads())


def set_threads(n_threads: int) -> None:
    """Let every search that this thread begins use so many threads."""
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


def _searched(index: Any, queries: FloatArray, k: int, settings: Any) -> Found:
    """Return what `search` of FAISS's Python does, less its checks: the arrays are ours."""
    queries = np.ascontiguousarray(queries)
    slots = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    index.search_c(
        len(queries),
        faiss.swig_ptr(queries),
        k,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(slots),
        settings,
    )
    return Found(slots, scores)


@contextlib.contextmanager
def _selecting(among: BoolArray | None) -> Iterator[Any]:
    if among is None:
        yield None
        return
    bits = np.packbits(among, bitorder="little")
    yield faiss.IDSelectorBitmap(len(among), faiss.swig_ptr(bits))


@contextlib.contextmanager
def _threads_for(n_queries: int) -> Iterator[None]:
    """Let FAISS wake no thread that has nothing to do: here it shares out queries, not rows."""
    n_threads = faiss.omp_get_max_threads()
    if not 0 < n_queries < n_threads:
        yield
        return
    faiss.omp_set_num_threads(n_queries)  # Of this thread's calls only.
    try:
        yield
    finally:
        faiss.omp_set_num_threads(n_threads)


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
