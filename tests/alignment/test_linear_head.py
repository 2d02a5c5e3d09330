import numpy as np
import pytest
import torch

from unibind.alignment.linear import Contrast, fit_linear
from unibind.alignment.losses import center_loss, multi_positive_loss
from unibind.alignment.targets import Targets


@pytest.fixture
def planted(plant):
    return plant(n_classes=6, n_items=8, noise=0.5)


@pytest.fixture
def start(planted):
    return np.zeros((20, 8), dtype=np.float32), np.full(8, 0.1, dtype=np.float32)


def train(planted, start, *, seed: int = 0, progress=None, **contrast):
    return fit_linear(
        planted.features,
        Targets.from_labels(planted.labels, planted.centers),
        start=start,
        contrast=Contrast(**contrast),
        seed=seed,
        progress=progress,
    )


def test_no_step_leaves_the_start(planted, start):
    trained = train(planted, start, n_steps=0)
    np.testing.assert_array_equal(trained.weight, start[0])
    np.testing.assert_array_equal(trained.bias, start[1])
    assert trained.temperature == pytest.approx(0.07)


def test_the_first_loss_is_the_mix_of_the_two_losses(planted, start):
    targets = Targets.from_labels(planted.labels, planted.centers)
    start = (np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32), start[1])
    trained = train(planted, start, n_steps=1, center_share=0.8, temperature=0.2)
    embeddings = torch.nn.functional.normalize(
        torch.from_numpy(planted.features @ start[0] + start[1]), dim=1
    )
    labels, points = torch.from_numpy(targets.rows), torch.from_numpy(targets.points)[:, None]
    expected = 0.8 * center_loss(embeddings, points, labels, temperature=0.2)
    expected += 0.2 * multi_positive_loss(embeddings, labels, temperature=0.2)
    assert trained.loss == pytest.approx(expected.item(), rel=1e-4)


def test_training_lowers_the_loss_and_changes_nothing_it_was_given(planted, start):
    before = start[0].copy()
    after = train(planted, start, n_steps=300)
    assert after.loss < train(planted, start, n_steps=1).loss / 2
    np.testing.assert_array_equal(start[0], before)


def test_a_larger_decay_stays_nearer_to_the_start(planted, start):
    def drift(decay: float) -> float:
        trained = train(planted, start, weight_decay=decay, n_steps=300)
        return float(np.abs(trained.weight - start[0]).mean())

    assert drift(10.0) < drift(1e-4) / 2


def test_the_temperature_stays_within_its_bounds(planted, start):
    trained = train(planted, start, learning_rate=0.1, n_steps=50)
    assert 0.01 <= trained.temperature <= 1.0


def test_a_batch_larger_than_the_set_takes_all_and_a_batch_of_one_still_learns(planted, start):
    all_at_once = train(planted, start, n_steps=5, batch_size=10_000)
    assert np.isfinite(all_at_once.weight).all()
    one_by_one = train(planted, start, n_steps=20, batch_size=1)
    assert np.isfinite(one_by_one.weight).all()
    assert not np.array_equal(one_by_one.weight, start[0])


def test_progress_is_told_of_each_step(planted, start):
    told = []
    train(planted, start, n_steps=4, progress=lambda *step: told.append(step))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_batches_follow_the_seed(planted, start):
    first, second, other = (
        train(planted, start, n_steps=5, batch_size=8, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.weight, second.weight)
    assert not np.array_equal(first.weight, other.weight)
