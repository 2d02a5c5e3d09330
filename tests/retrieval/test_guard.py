"""What may enter a store."""

import json

import numpy as np
import pytest

from unibind.errors import InvalidInputError
from unibind.retrieval.guard import (
    MAX_KEY_BYTES,
    MAX_METADATA_BYTES,
    check_k,
    check_keys,
    check_metadata,
    check_score,
    check_unique,
    check_vectors,
)


def _nested() -> dict:
    inner: dict = {}
    for _ in range(100_000):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    ("spoil", "telling"),
    [
        (lambda v: v.astype(np.float64), "float64, float32 was needed"),
        (lambda v: v.tolist(), "list; a numpy array"),
        (lambda v: v[0], r"shape \(8,\), \(N, 8\) was needed"),
        (lambda v: v[:, :7], r"shape \(3, 7\), \(N, 8\) was needed"),
        (lambda v: v * 0, "row 0 .* has length 0"),
        (lambda v: v * 2, "unit length"),
        (lambda v: np.where(v == v[1, 1], np.nan, v), "row 1 .* NaN or inf"),
        (lambda v: np.where(v == v[2, 0], np.inf, v), "row 2 .* NaN or inf"),
        (lambda v: v * np.float32(1e30), "length"),
    ],
)
def test_vectors_that_are_not_finite_unit_float32_rows_are_refused(spoil, telling, unit_rows):
    with pytest.raises(InvalidInputError, match=telling):
        check_vectors(spoil(unit_rows(3, 8)), 8)


def test_good_vectors_keep_their_bits_in_any_memory_order(unit_rows):
    rows = unit_rows(5, 8)
    assert check_vectors(rows, 8) is rows
    checked = check_vectors(np.asfortranarray(rows), 8)
    assert checked.flags.c_contiguous
    assert checked.tobytes() == rows.tobytes()
    assert check_vectors(np.empty((0, 8), np.float32), 8).shape == (0, 8)


@pytest.mark.parametrize(
    ("keys", "telling"),
    [
        ("abc", "single str 'abc'"),
        ([""], "not empty"),
        (["a\0b"], "without NUL"),
        ([2**63], r"\(int\), a str was needed; pass str\(9223372036854775808\)"),
        ([None], "NoneType"),
        ([b"a"], "bytes"),
        (["\ud800"], "UTF-8"),
        (["k" * (MAX_KEY_BYTES + 1)], f"at most {MAX_KEY_BYTES}"),
        (["я" * (MAX_KEY_BYTES // 2 + 1)], f"at most {MAX_KEY_BYTES}"),
    ],
)
def test_keys_that_cannot_be_stored_are_refused(keys, telling):
    with pytest.raises(InvalidInputError, match=telling):
        check_keys(keys)


def test_long_and_strange_keys_are_taken():
    keys = ["k" * 10_240, "я" * 5_000, "18446744073709551616", "../../etc", "'; DROP", "\n"]
    assert check_keys(keys) == keys


def test_a_key_that_comes_twice_is_named_with_its_rows():
    with pytest.raises(InvalidInputError, match=r"'b' is in the batch twice \(rows 1 and 3\)"):
        check_unique(["a", "b", "c", "b"])


@pytest.mark.parametrize(
    ("value", "telling"),
    [
        ({"a": float("nan")}, "row 1 is not JSON"),
        ({"a": {1, 2}}, "not JSON"),
        ({1: "a"}, "str to JSON"),
        (["a"], "str to JSON"),
        ({"a": "\ud800"}, "not JSON"),
        ({"a": "x" * MAX_METADATA_BYTES}, f"at most {MAX_METADATA_BYTES}"),
        (_nested(), "not JSON"),
        # SQLite would read "x": a condition on "x" would find it, one on the whole would not.
        ({"a": "x\0y"}, "NUL"),
        ({"a": ["\\\0"]}, "NUL"),
        ({"a": {"x\0": 1}}, "NUL"),
    ],
)
def test_metadata_that_json_cannot_hold_is_refused(value, telling):
    with pytest.raises(InvalidInputError, match=telling):
        check_metadata([{}, value])


def test_the_spelling_of_nul_is_no_nul():
    (text,) = check_metadata([{"a": "\\u0000 \\\\u0000"}])
    assert json.loads(text) == {"a": "\\u0000 \\\\u0000"}


def test_metadata_of_a_megabyte_is_taken():
    (text,) = check_metadata([{"a": "x" * 2**20}])
    assert len(text) > 2**20


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3", None])
def test_k_must_be_a_positive_whole_number(k):
    with pytest.raises(InvalidInputError, match="at least 1"):
        check_k(k)


@pytest.mark.parametrize("score", ["high", True, float("nan"), float("inf")])
def test_a_score_must_be_a_finite_number(score):
    with pytest.raises(InvalidInputError, match="number was needed"):
        check_score(score, what="min_score")
