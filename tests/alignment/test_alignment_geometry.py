import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unibind.alignment.geometry import check_rows, softmax, unit
from unibind.errors import InvalidInputError

finite = st.floats(-1e6, 1e6, width=32)
matrices = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3), elements=finite)


@given(matrices)
def test_unit_rows_have_length_one_and_their_direction(rows):
    lengths = np.linalg.norm(rows.astype(np.float64), axis=-1)
    scaled = unit(rows)
    assert scaled.dtype == np.float32
    is_long = lengths > 1e-6
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=-1)[is_long], 1, atol=1e-5)
    np.testing.assert_allclose(
        (scaled * lengths[..., None])[is_long], rows[is_long], rtol=1e-4, atol=1e-4 * 1e6
    )


def test_a_row_of_zeros_stays_zero():
    np.testing.assert_array_equal(unit(np.zeros((2, 3), dtype=np.float32)), 0)


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-50, 50, width=32)))
def test_softmax_is_the_formula(logits):
    expected = [[math.exp(x) / sum(map(math.exp, row)) for x in row] for row in logits.tolist()]
    np.testing.assert_allclose(softmax(logits), expected, rtol=1e-4, atol=1e-7)


def test_softmax_does_not_overflow_and_ignores_what_all_logits_share():
    logits = np.array([[1e4, 1e4 - 1.0, -1e4]], dtype=np.float32)
    shares = softmax(logits)
    np.testing.assert_allclose(shares, [[1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0]], rtol=1e-5)
    np.testing.assert_allclose(softmax(logits + 7), shares, atol=1e-3)


def test_softmax_and_unit_take_no_rows():
    empty = np.zeros((0, 3), dtype=np.float32)
    assert softmax(empty).shape == unit(empty).shape == (0, 3)


def test_rows_are_returned_as_contiguous_float32():
    rows = check_rows(np.arange(6, dtype=np.float64).reshape(3, 2).T, width=3, what="features")
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize("shape", [(2, 4), (3,), (1, 2, 3), ()])
def test_rows_of_another_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(InvalidInputError) as caught:
        check_rows(np.zeros(shape), width=3, what="embeddings")
    assert f"embeddings have shape {shape}, (N, 3) was needed" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused_with_their_place(bad):
    rows = np.zeros((5, 3))
    rows[2:4, 1] = bad
    with pytest.raises(InvalidInputError, match=r"2 of 5 features are NaN or infinite, .*row 2"):
        check_rows(rows, width=3, what="features")
