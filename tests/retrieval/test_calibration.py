"""Scores that are comparable across modalities."""

import numpy as np
import pytest

from unibind.errors import InvalidInputError
from unibind.retrieval.calibration import calibrated, centre_of, check_calibration
from unibind.retrieval.store import LocalStore
from unibind.retrieval.view import Shard
from unibind.types import SpaceId

DIM = 16


def _crowded(n_rows: int, seed: int, crowd: float) -> np.ndarray:
    """Rows of shared meanings, each modality pushed to its own side, as the modality gap does."""
    meaning = np.random.default_rng(0).standard_normal((n_rows, DIM))
    side = np.random.default_rng(seed).standard_normal(DIM)
    rows = (
        meaning
        + crowd * side
        + 0.3 * np.random.default_rng(seed + 1).standard_normal(meaning.shape)
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _shard(rows: np.ndarray, name: str = "image") -> Shard:
    alive = np.ones(len(rows), dtype=bool)
    return Shard(1, name, "f", len(rows), len(rows), rows.sum(0, dtype=float), rows, alive)


def test_a_centred_score_is_the_formula_over_every_item():
    rows, asked = _crowded(400, 1, 2.0), _crowded(400, 5, 2.0)
    shards = {"image": _shard(rows), "text": _shard(asked, "text")}
    seen = calibrated(
        asked[:3], shards["image"], shards, calibration="centre", query_modality="text"
    )
    found = seen.scores(seen.queries @ rows.T)
    m_q, m_x = centre_of(shards["text"], shards), centre_of(shards["image"], shards)
    for i in range(3):
        for j in range(0, 400, 97):
            q, x = asked[i] - m_q, rows[j] - m_x
            expected = q @ x / (np.linalg.norm(q) * np.sqrt(1 - m_x @ m_x))
            assert found[i, j] == pytest.approx(expected, abs=1e-5)


def test_the_radius_is_the_root_mean_square_distance_to_the_mean():
    rows = _crowded(4000, 1, 2.0).astype(np.float64)
    mean = rows.mean(axis=0)
    spread = np.sqrt(((rows - mean) ** 2).sum(axis=1).mean())
    assert spread == pytest.approx(np.sqrt(1 - mean @ mean), rel=1e-6)


def test_standardised_scores_have_unit_spread_and_no_mean():
    rows, asked = _crowded(500, 1, 2.0), _crowded(500, 5, 2.0)
    shards = {"image": _shard(rows)}
    seen = calibrated(
        asked[:4], shards["image"], shards, calibration="standardise", query_modality=None
    )
    found = seen.scores(seen.queries @ rows.T)
    np.testing.assert_allclose(found.std(axis=1), 1, atol=0.02)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=0.2)


def test_a_small_modality_borrows_the_mean_of_the_store():
    many, few = _shard(_crowded(500, 1, 2.0)), _shard(_crowded(1, 9, 2.0), "sound")
    shards = {"image": many, "sound": few}
    grand = (many.vector_sum + few.vector_sum) / 501
    assert np.linalg.norm(centre_of(few, shards) - grand) < 0.15
    assert np.linalg.norm(centre_of(many, shards) - many.vector_sum / 500) < 0.02


def test_a_mixed_search_ranks_by_meaning_only_when_it_is_calibrated(fast_folder):
    n_items = 150
    with LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=DIM) as store:
        for seed, name in ((1, "image"), (40, "sound"), (80, "text")):
            rows = _crowded(n_items, seed, 1.5)
            store.upsert([f"{name} {n}" for n in range(n_items)], rows, modality=name)
        queries = _crowded(n_items, 1, 1.5)[:40]

        def others_found(calibration: str) -> float:
            """Share of a picture's two partners in other modalities that are in its best five."""
            lines = store.search(queries, k=5, query_modality="image", calibration=calibration)
            found = [
                sum(hit.key in (f"sound {n}", f"text {n}") for hit in hits)
                for n, hits in enumerate(lines)
            ]
            return sum(found) / (2 * len(lines))

        assert others_found("none") < 0.1
        assert others_found("centre") > 0.6
        assert store.stats().gap > 0.5
        default = store.search(queries, k=5, query_modality="image")
        assert default == store.search(queries, k=5, query_modality="image", calibration="centre")
        store.set_calibration("none")
        assert store.stats().calibration == "none"
        assert store.search(queries, k=5) == store.search(queries, k=5, calibration="none")
        alone = store.search(queries, k=1, modalities=["image"])
        assert [hits[0].score for hits in alone] == pytest.approx([1.0] * 40, abs=1e-5)


def test_an_unknown_calibration_is_refused(fast_folder):
    with pytest.raises(InvalidInputError, match="'magic'; one of none, centre, standardise"):
        check_calibration("magic")
    store = LocalStore.open(fast_folder / "s", space=SpaceId("s"), dim=DIM)
    with store, pytest.raises(InvalidInputError, match="magic"):
        store.set_calibration("magic")
