"""FAISS behind its fence."""

import faiss
import numpy as np
import pytest

from unibind.retrieval import faiss_index
from unibind.retrieval.faiss_index import build, exact, load, scored
from unibind.retrieval.plan import KINDS, Plan

APPROXIMATE = [kind for kind in KINDS if kind != "exact"]


def test_exact_is_brute_force_and_says_where_there_are_fewer(unit_rows):
    rows, queries = unit_rows(70, 16), unit_rows(25, 16, 1)
    among = np.arange(70) % 9 == 0
    for few in (slice(0, 3), slice(0, 25)):
        found = exact(rows, queries[few], 12, among=among)
        expected = np.where(among, queries[few] @ rows.T, -np.inf)
        best = np.argsort(-expected, axis=1)[:, :8]
        np.testing.assert_array_equal(found.slots[:, :8], best)
        assert (found.slots[:, 8:] == -1).all()
    assert exact(rows[:0], queries, 3).slots.tolist() == [[-1] * 3] * 25
    assert exact(rows, queries[:0], 3).slots.shape == (0, 3)


@pytest.mark.parametrize("n_queries", [1, 30])
def test_scores_are_inner_products_and_minus_infinity_where_there_is_no_row(n_queries, unit_rows):
    rows, queries = unit_rows(50, 16), unit_rows(n_queries, 16, 1)
    slots = np.random.default_rng(0).integers(-1, 50, (n_queries, 7))
    slots[:, 0] = -1
    found = scored(rows, queries, slots).scores
    expected = np.where(slots >= 0, np.einsum("bmd,bd->bm", rows[slots], queries), -np.inf)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_an_index_reads_the_vectors_where_they_lie(kind, tmp_path, unit_rows):
    rows = unit_rows(3000, 128)
    rows.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=rows.shape)
    build(mapped, Plan(kind), tmp_path / "index")
    n_bytes = (tmp_path / "index").stat().st_size
    assert n_bytes < rows.nbytes * (0.55 if kind != "hnsw" else 0.7), "it holds the vectors again"
    index = load(tmp_path / "index", Plan(kind, effort=64), np.asarray(mapped))
    found = index.candidates(rows[:50], 5, effort=64)
    assert (found.slots == np.arange(50)[:, None]).any(axis=1).mean() > 0.95


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_a_file_of_other_rows_another_kind_or_no_index_is_refused(kind, tmp_path, unit_rows):
    rows, plan = unit_rows(1500, 16), Plan(kind)
    build(rows, plan, tmp_path / "index")
    with pytest.raises(ValueError, match="1500 rows of width 16"):
        load(tmp_path / "index", plan, rows[:1400])
    with pytest.raises((ValueError, RuntimeError)):
        load(tmp_path / "index", plan, unit_rows(1500, 8))
    other = Plan("int8" if kind != "int8" else "binary")
    with pytest.raises(ValueError, match="were needed"):
        load(tmp_path / "index", other, rows)
    content = (tmp_path / "index").read_bytes()
    for spoilt in (b"", b"no index", content[: len(content) // 2]):
        (tmp_path / "index").write_bytes(spoilt)
        with pytest.raises((RuntimeError, ValueError)):
            load(tmp_path / "index", plan, rows)


def test_faiss_may_allocate_no_more_than_a_file_can_fill():
    before = faiss.get_deserialization_vector_byte_limit()
    with faiss_index._limited(1000):
        assert faiss.get_deserialization_vector_byte_limit() < 2**21
        assert 0 < faiss.get_deserialization_loop_limit() < 2**21
    assert faiss.get_deserialization_vector_byte_limit() == before


def test_threads_are_what_was_asked_for():
    before = faiss.omp_get_max_threads()
    faiss_index.set_threads(1)
    assert faiss.omp_get_max_threads() == 1
    faiss_index.set_threads(before)
