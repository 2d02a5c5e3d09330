"""Each decoder for a second: broken files bring a refusal, never a crash or a hang."""

import pytest
from fuzzing import MEMORY_BYTES, OPTIONS, SEEDS, TIME_S, fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.modalities.registry import installed
from unibind.service.decoding import DecoderPool
from unibind.service.refusals import Refusal


@pytest.fixture(scope="module")
def pool():
    made = DecoderPool(1, memory_bytes=MEMORY_BYTES, time_s=TIME_S)
    made.read("text", b"begin", {})  # starting takes longer than a test's second
    yield made
    made.close()


@pytest.mark.parametrize("modality", sorted(installed()))
def test_broken_files_bring_refusals_only(pool, modality):
    told = fuzz(pool, modality, seconds=1.0)
    assert not [each for each in told if " of " in each], told  # crashes, hangs, the unforeseen
    assert told


@pytest.mark.parametrize("modality", sorted(set(SEEDS) & set(installed())))
def test_the_files_that_are_broken_are_good_ones(pool, modality):
    for make in SEEDS[modality]:
        assert any(is_read(pool, modality, make(), told) for told in ({}, OPTIONS.get(modality)))


def is_read(pool, modality, content, options) -> bool:
    try:
        return pool.read(modality, content, options or {}) is not None
    except Refusal:
        return False


@given(content=st.binary(max_size=300), modality=st.sampled_from(sorted(installed())))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_an_item_or_refused(pool, content, modality):
    code = "read"
    try:
        pool.read(modality, content, {})
    except Refusal as refusal:
        code = refusal.code
    assert code in ("read", "unreadable_item", "plugin_missing")
