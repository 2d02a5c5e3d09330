"""Choosing indexes, fusing orders, reading sizes."""

import itertools
import random

import numpy as np
import pytest

from unibind.errors import InvalidInputError
from unibind.retrieval.fulltext import caption, match_expression
from unibind.retrieval.fusion import fused
from unibind.retrieval.plan import KINDS, Plan, contenders, parse_bytes


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("2GB", 2 * 10**9), ("512MiB", 2**29), ("1.5 kb", 1500), ("7", 7), (9, 9), (" 1 GiB ", 2**30)],
)
def test_a_size_is_read_in_its_unit(text, n_bytes):
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "2 TB apples", "-1GB", "1.2.3MB", "two"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InvalidInputError, match="is no size"):
        parse_bytes(text)


def test_auto_prefers_exact_when_it_is_small_or_must_be_perfect():
    assert [plan.kind for plan in contenders(50_000, 384, memory=None, recall=0.95)] == ["exact"]
    assert [plan.kind for plan in contenders(10**7, 384, memory=None, recall=1)] == ["exact"]


def test_auto_offers_only_what_fits_the_memory_and_always_exact():
    for memory in (10**7, 10**8, 10**9, 10**10):
        plans = contenders(10**6, 384, memory=memory, recall=0.95)
        assert plans[-1].kind == "exact"
        assert all(plan.n_bytes(10**6, 384) <= memory for plan in plans[:-1])
    assert plans[0].kind == "hnsw"


def test_codes_are_smaller_than_vectors_and_divide_the_width():
    for dim in (8, 30, 96, 127, 384, 1024):
        plans = {kind: Plan(kind) for kind in KINDS}
        assert dim % plans["ivfpq"].n_codes(dim) == 0
        size = {kind: plan.n_bytes(10**6, dim) for kind, plan in plans.items()}
        assert size["hnsw"] > size["exact"] > size["int8"]
        assert size["binary"] <= size["int8"] + 8 * 10**6


def test_a_plan_survives_its_text_and_refuses_nonsense():
    plan = Plan("hnsw", effort=64, recall=0.97)
    assert Plan.parse(plan.text()) == plan
    with pytest.raises(InvalidInputError, match="index kind is 'tree'"):
        Plan("tree")
    for recall in (0, -1, 1.01):
        with pytest.raises(InvalidInputError, match="recall is"):
            Plan("exact", wanted_recall=recall)


def test_efforts_double_and_a_filter_makes_exact_search_cheaper():
    efforts = [plan.effort for plan in Plan("hnsw").efforts()]
    assert all(b == 2 * a for a, b in itertools.pairwise(efforts))
    plan = Plan("hnsw", effort=64)
    assert plan.n_scanned(10**6, 1.0) < 10**6
    assert plan.n_scanned(10**6, 0.001) > 1000


def test_fusion_is_the_sum_of_reciprocal_ranks():
    shuffles = random.Random(1)
    names = list("abcdefgh")
    rankings = [shuffles.sample(names, shuffles.randint(1, 8)) for _ in range(3)]
    expected = {
        name: sum(1 / (60 + r.index(name) + 1) for r in rankings if name in r) for name in names
    }
    found = fused(rankings)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert dict(found) == pytest.approx({n: s for n, s in expected.items() if s})
    assert fused([]) == []


def test_a_caption_is_every_text_and_no_word_of_it_is_an_operator():
    assert caption({"a": "x", "b": [{"c": "y"}, 3, None], "n": 1}) == "x\ny"
    assert match_expression('a "b" OR NEAR(c)') == '"a" OR "b" OR "OR" OR "NEAR" OR "c"'
    assert match_expression(' - * " ') is None


def test_measured_recall_is_believed_only_with_its_interval():
    from unibind.retrieval.indexing import _surely

    for recall in (0.9, 0.99, 1.0):
        assert _surely(recall, 100) < _surely(recall, 10_000) < recall or recall == 1.0
    draws = np.random.default_rng(0).binomial(1000, 0.95, 4000) / 1000
    covered = np.mean([_surely(draw, 1000) <= 0.95 for draw in draws])
    assert covered == pytest.approx(0.95, abs=0.02)
