"""Courses of contrastive training, on items whose true place is known."""

import numpy as np
import pytest
import torch

from unibind.alignment.contrast import Contrast, Course, Learner, confusable
from unibind.alignment.geometry import unit
from unibind.alignment.objective import LOSSES, Batch, Objective
from unibind.alignment.ridge import RidgePath
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError

QUIET = {"noise": 0.0, "learning_rate": 1e-2, "batch_size": 64}


@pytest.fixture
def planted(plant):
    return plant(n_classes=6, n_items=8, noise=0.5)


def learner(planted, *, strength: float = 1.0, dtype=np.float32) -> Learner:
    targets = Targets.from_labels(planted.labels, planted.centers)
    path = RidgePath.of(planted.features)
    weight, bias = path.towards(targets.of_items()).solve(strength)
    return Learner(
        inputs=planted.features,
        rows=np.arange(len(planted.features)),
        labels=targets.rows,
        mean=path.mean,
        scale=path.scale,
        basis=path.basis.astype(dtype),
        weight=weight,
        bias=bias,
    )


def course(planted, *, seed: int = 0, centers=None, **contrast) -> Course:
    points = Targets.from_labels(planted.labels, planted.centers).points
    return Course(
        [learner(planted)], points, Contrast(**(QUIET | contrast)), seed=seed, centers=centers
    )


def standardised(planted) -> np.ndarray:
    path = RidgePath.of(planted.features)
    return (planted.features - path.mean) / path.scale


@pytest.mark.parametrize("shape", ["linear", "low-rank", "mlp"])
def test_every_shape_begins_at_the_ridge_solution_and_leaves_it(planted, shape):
    trained = course(planted, shape=shape)
    start, given = trained.moved()[0], learner(planted)
    z = standardised(planted)
    np.testing.assert_allclose(start.project(z), z @ given.weight + given.bias, atol=1e-5)
    trained.advance(1)
    first = trained.loss
    trained.advance(80)
    assert trained.loss < first
    assert not np.allclose(trained.moved()[0].project(z), start.project(z), atol=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_lowered(planted, name):
    trained = course(planted, objective=Objective({name: 1.0}))
    trained.advance(1)
    first = trained.loss
    trained.advance(60)
    assert trained.loss < first


def test_the_first_loss_is_the_mix_of_its_shares(planted):
    trained = course(planted, objective=Objective({"class-center": 0.7, "multi-positive": 0.2}))
    trained.advance(1)
    given = learner(planted)
    embeddings = torch.from_numpy(unit(standardised(planted) @ given.weight + given.bias))
    points = torch.from_numpy(Targets.from_labels(planted.labels, planted.centers).points)
    labels = torch.from_numpy(given.labels)
    batch = Batch(embeddings, labels, points[:, None], points, torch.tensor(0.3))
    expected = 0.7 * LOSSES["class-center"](batch) + 0.2 * LOSSES["multi-positive"](batch)
    assert trained.loss == pytest.approx(float(expected), rel=1e-4)


def test_a_head_moves_along_the_leading_directions_only(planted):
    trained = course(planted, n_directions=3)
    trained.advance(20)
    moved, given = trained.moved()[0], learner(planted)
    change = moved.weight - given.weight
    assert np.abs(change).max() > 1e-3
    rest = given.basis[:, 3:]
    np.testing.assert_allclose(rest.T @ change, 0, atol=1e-5)


def test_a_low_rank_change_is_of_low_rank(planted):
    trained = course(planted, shape="low-rank", rank=2)
    trained.advance(30)
    change = trained.moved()[0].weight - learner(planted).weight
    assert np.linalg.matrix_rank(change, tol=1e-4) <= 2
    assert np.abs(change).max() > 1e-3


def test_decay_keeps_it_near_the_ridge(planted):
    def drift(decay: float) -> float:
        trained = course(planted, weight_decay=decay)
        trained.advance(60)
        return float(np.abs(trained.moved()[0].weight - learner(planted).weight).mean())

    assert drift(10.0) < drift(0.0) / 2


def test_noise_and_mixing_change_the_course_and_follow_the_seed(planted):
    def end(**how) -> np.ndarray:
        trained = course(planted, **how)
        trained.advance(10)
        return trained.moved()[0].weight

    for how in ({"noise": 1.0}, {"mixup": 0.4}, {"batch_size": 8}):
        np.testing.assert_array_equal(end(**how), end(**how))
        assert not np.array_equal(end(**how), end())
        assert not np.array_equal(end(**how), end(seed=1, **how))


def test_a_course_goes_on_from_its_state_as_if_it_had_never_stopped(planted):
    straight = course(planted, noise=1.0, batch_size=16)
    straight.advance(12)
    first = course(planted, noise=1.0, batch_size=48)
    first.advance(5)
    second = course(planted, noise=1.0, batch_size=48, seed=99)
    second.resume(first.state())
    for each in (first, second):
        each.advance(7)
    assert second.step == 12
    np.testing.assert_array_equal(first.moved()[0].weight, second.moved()[0].weight)
    assert first.temperature == second.temperature


def test_the_temperature_is_learned_within_its_bounds(planted):
    trained = course(planted, learning_rate=0.1)
    trained.advance(50)
    assert 0.01 <= trained.temperature <= 1.0
    assert trained.temperature != pytest.approx(0.3)


def test_modalities_share_a_batch_equally(plant):
    """One has ten times as many items as the other, and gets no more of a step."""
    many, few = plant(n_classes=6, n_items=40, noise=0.5), plant(n_classes=6, n_items=4, noise=0.5)
    points = Targets.from_labels(few.labels, few.centers).points
    drawn = []

    def spy(batch: Batch) -> torch.Tensor:
        drawn.append(len(batch.labels))
        return LOSSES["class-center"](batch)

    class Spying(Objective):
        def __call__(self, batch):
            return spy(batch)

    contrast = Contrast(Spying(), **(QUIET | {"batch_size": 24}))
    trained = Course([learner(many), learner(few)], points, contrast, seed=0)
    trained.advance(3)
    assert drawn == [24, 24, 24]
    assert len(trained.moved()) == 2


def test_confusable_classes_are_the_nearest_others():
    points = unit(np.random.default_rng(0).normal(size=(9, 4)))
    near = confusable(points, 3)
    for c in range(9):
        order = [other for other in np.argsort(-points @ points[c]) if other != c]
        assert set(near[c]) == set(order[:3])
    assert confusable(points[:2], 5).tolist() == [[1], [0]]


def test_hardness_counts_confusable_classes_more_often(planted):
    """The loss with hardness h is that of a list in which they stand h times."""
    hard = course(planted, hardness=3.0, n_confusable=1, objective=Objective({"class-center": 1.0}))
    hard.advance(1)
    given = learner(planted)
    embeddings = unit(standardised(planted) @ given.weight + given.bias)
    points = Targets.from_labels(planted.labels, planted.centers).points
    near, losses = confusable(points, 1), []
    for embedding, label in zip(embeddings, given.labels, strict=True):
        powers = np.exp(points @ embedding / 0.3)
        total = powers.sum() + 2 * powers[near[label, 0]]
        losses.append(-np.log(powers[label] / total))
    assert hard.loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_with_too_many_classes_a_step_takes_its_own_and_the_confusable_ones(plant):
    planted = plant(n_classes=50, n_items=2, noise=0.5)
    seen = []

    class Spying(Objective):
        def __call__(self, batch):
            seen.append((batch.points, batch.labels))
            return super().__call__(batch)

    targets = Targets.from_labels(planted.labels, planted.centers)
    contrast = Contrast(Spying(), **(QUIET | {"batch_size": 5, "max_candidates": 20}))
    trained = Course([learner(planted)], targets.points, contrast, seed=0)
    trained.advance(4)
    near = confusable(targets.points, 5)
    for points, labels in seen:
        assert len(points) <= 20
        rows = [int(np.flatnonzero((targets.points == p).all(axis=1))[0]) for p in points.numpy()]
        own = {rows[label] for label in labels.tolist()}
        assert len(own) <= 5
        hard = {int(c) for row in own for c in near[row]} - own
        assert hard <= set(rows) or len(rows) == 20


def test_a_table_on_disk_is_read_by_rows(tmp_path, planted, monkeypatch):
    monkeypatch.setattr("unibind.alignment.contrast._MAX_HELD", 0)
    table = np.memmap(tmp_path / "features", np.float32, "w+", shape=planted.features.shape)
    table[:] = planted.features
    mapped = type(planted)(planted.centers, planted.labels, table)
    ends = []
    for each in (mapped, planted):
        trained = course(each, batch_size=16)
        trained.advance(5)
        ends.append(trained.moved()[0].weight)
    np.testing.assert_allclose(*ends, atol=1e-5)


def test_the_released_loss_fails_where_ours_does_not():
    """Six pairs of classes, the two of a pair being much alike; inputs tell all twelve apart.

    Without a temperature a wrong answer costs about as much by being far as by being near, so
    nothing presses the pairs apart, and the other items of one's own class push as well.
    """
    generator = np.random.default_rng(1)
    pairs = unit(generator.normal(size=(6, 8)))
    points = unit(np.tile(pairs, (2, 1)) + 0.15 * generator.normal(size=(12, 8)))
    labels = np.repeat(np.arange(12), 30)
    codes = generator.normal(size=(12, 20))
    features = (codes[labels] + generator.normal(size=(360, 20))).astype(np.float32)
    path = RidgePath.of(features)
    start = path.towards(points[labels]).solve(1.0)
    given = Learner(
        features,
        np.arange(360),
        labels,
        path.mean,
        path.scale,
        path.basis.astype(np.float32),
        *start,
    )

    def accuracy(name: str) -> float:
        contrast = Contrast(Objective({name: 1.0}), noise=0.0, learning_rate=0.05, temperature=0.1)
        trained = Course([given], points, contrast, seed=0)
        trained.advance(200)
        embeddings = unit(trained.moved()[0].project((features - path.mean) / path.scale))
        return float(((embeddings @ points.T).argmax(axis=1) == labels).mean())

    assert accuracy("class-center") > 0.95
    assert accuracy("unibind-released") < 0.75


@pytest.mark.parametrize("shares", [{}, {"center": 1.0}, {"class-center": 0.0}])
def test_objectives_that_make_no_sense_are_refused(shares):
    with pytest.raises(InvalidInputError, match="shares above 0 of class-center"):
        Objective(shares)


@pytest.mark.parametrize("how", [{"batch_size": 0}, {"temperature": 0.0}, {"hardness": 0.5}])
def test_settings_that_make_no_sense_are_refused(how):
    with pytest.raises(InvalidInputError, match="hardness at least 1"):
        Contrast(**how)
