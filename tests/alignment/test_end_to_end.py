"""Training a network end to end, on a toy design whose answer is known: which half is louder."""

import numpy as np
import pytest
import torch
from torch import nn

from unibind.alignment.end_to_end import hold_out, subset, train
from unibind.alignment.network_fit import Schedule, fit_network
from unibind.alignment.targets import Targets
from unibind.encoders.trainable import encode_prepared, loaded
from unibind.errors import InvalidInputError
from unibind.modalities.timeseries import TIMESERIES
from unibind.types import SpaceId

SPACE = SpaceId("a space")
WIDTH = 6


class Halves:
    """A small network over traces of 6 steps; knows nothing of what tells them apart."""

    modality = TIMESERIES
    dim = 8
    shape = (WIDTH,)
    fingerprint = "halves"

    def prepare(self, items):
        return np.stack([item.values[0, :WIDTH] for item in items])

    def network(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, self.dim))

    def augment(self, batch, generator):
        return batch + 0.05 * torch.randn(batch.shape, generator=generator)


def points(n_classes, dim=12):
    rows = np.random.default_rng(9).standard_normal((n_classes, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def toy(n_each=12, n_classes=3, seed=0):
    """Return items of classes that differ in which steps are loud."""
    generator = np.random.default_rng(seed)
    rows = np.repeat(np.arange(n_classes), n_each)
    loud = np.random.default_rng(1).standard_normal((n_classes, WIDTH)) * 2
    prepared = (loud[rows] + generator.standard_normal((len(rows), WIDTH))).astype(np.float32)
    names = tuple(f"class {c:02d}" for c in range(n_classes))
    return prepared, Targets(names, points(n_classes), rows.astype(np.int64))


def test_training_pulls_items_of_a_class_together():
    prepared, targets = toy()
    schedule = Schedule(n_epochs=40, batch_size=8, learning_rate=5e-3)
    trained = train(Halves(), prepared, targets, space=SPACE, schedule=schedule)
    fresh, same = toy(seed=5)
    features = trained.encoder.design.network(0)(torch.from_numpy(fresh)).detach().numpy()
    learned = encode_prepared(loaded(Halves(), trained.encoder.weights), fresh, dim=Halves.dim)
    assert separation(learned, same.rows) > 2 * separation(features, same.rows)
    assert trained.params["n_held_out"] == 12
    assert trained.rehearsal.encoder != trained.encoder.fingerprint


def separation(features, rows):
    """Return the variance between classes over that within."""
    means = np.stack([features[rows == c].mean(axis=0) for c in np.unique(rows)])
    within = features - means[rows]
    return means.var(axis=0).sum() / within.var(axis=0).sum()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    prepared, targets = toy()
    schedule = Schedule(n_epochs=3)
    first, again, other = (
        fit_network(Halves(), prepared, targets, watched=None, schedule=schedule, seed=seed)
        for seed in (0, 0, 1)
    )
    for name, weight in first.weights.items():
        np.testing.assert_array_equal(weight, again.weights[name])
    assert not np.array_equal(first.weights["0.weight"], other.weights["0.weight"])


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path):
    prepared, targets = toy()
    schedule = Schedule(n_epochs=8, patience=8, batch_size=8)

    def interrupt(n_done, n_most):
        if n_done == 5:
            raise KeyboardInterrupt

    def run(progress, checkpoint):
        return train(
            Halves(), prepared, targets,
            space=SPACE, schedule=schedule, checkpoint=checkpoint, progress=progress,
        )  # fmt: skip

    whole = run(None, None)
    with pytest.raises(KeyboardInterrupt):
        run(interrupt, tmp_path)
    seen = []
    resumed = run(lambda n_done, n_most: seen.append(n_done), tmp_path)
    assert seen[0] == 6
    for name, weight in whole.encoder.weights.items():
        np.testing.assert_array_equal(weight, resumed.encoder.weights[name])
    np.testing.assert_array_equal(whole.rehearsal.weight, resumed.rehearsal.weight)


def test_a_checkpoint_of_another_training_is_not_taken_over(tmp_path):
    prepared, targets = toy()
    schedule = Schedule(n_epochs=3)
    fit_network(
        Halves(),
        prepared,
        targets,
        watched=None,
        schedule=schedule,
        seed=0,
        checkpoint=tmp_path / "a",
    )
    other = prepared[:, ::-1].copy()
    plain = fit_network(Halves(), other, targets, watched=None, schedule=schedule, seed=0)
    fit = fit_network(
        Halves(), other, targets, watched=None, schedule=schedule, seed=0, checkpoint=tmp_path / "a"
    )
    np.testing.assert_array_equal(fit.weights["0.weight"], plain.weights["0.weight"])


def test_a_damaged_checkpoint_is_begun_anew(tmp_path):
    prepared, targets = toy()
    schedule = Schedule(n_epochs=3)

    def run():
        return fit_network(
            Halves(), prepared, targets,
            watched=None, schedule=schedule, seed=0, checkpoint=tmp_path / "a",
        )  # fmt: skip

    first = run()
    state = tmp_path / "a" / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(bytes(content))
    np.testing.assert_array_equal(run().weights["0.weight"], first.weights["0.weight"])


def test_training_stops_when_watched_items_get_no_better():
    prepared, targets = toy(n_each=6)
    noise = np.random.default_rng(3).standard_normal(prepared.shape).astype(np.float32)
    fit = fit_network(
        Halves(), noise, targets,
        watched=(noise[::-1].copy(), targets),
        schedule=Schedule(n_epochs=200, patience=3), seed=0,
    )  # fmt: skip
    assert fit.n_epochs < 100


def test_a_rehearsal_leaves_out_items_of_every_class_and_of_many_classes_some():
    _, few = toy(n_each=6, n_classes=4)
    parts = hold_out(few, seed=0)
    assert not len(parts.unseen)
    assert np.bincount(few.rows[parts.watched]).tolist() == [2] * 4
    _, many = toy(n_each=3, n_classes=15)
    parts = hold_out(many, seed=0)
    left_out = np.unique(many.rows[parts.unseen])
    assert len(left_out) == 5
    assert not np.isin(many.rows[parts.trained], left_out).any()
    everyone = np.concatenate([parts.trained, parts.watched, parts.unseen])
    assert sorted(everyone.tolist()) == list(range(45))


def test_a_rehearsal_leaves_out_whole_groups_where_they_are_known():
    _, targets = toy(n_each=6, n_classes=4)
    wearers = ["ann", "bob", "cem", "dag", "eve", "fay"] * 4
    parts = hold_out(targets, seed=0, groups=wearers)
    watched = {wearers[row] for row in parts.watched}
    assert len(watched) == 2
    assert not watched & {wearers[row] for row in parts.trained}
    assert len(np.unique(targets.rows[parts.trained])) == 4


def test_groups_that_are_classes_or_not_known_do_not_empty_a_class():
    _, targets = toy(n_each=6, n_classes=4)
    of_class = [f"class {row}" for row in targets.rows]
    for groups in (of_class, [None, *of_class[1:]]):
        parts = hold_out(targets, seed=0, groups=groups)
        assert len(parts.watched) == 8
        assert len(np.unique(targets.rows[parts.trained])) == 4


def test_a_class_with_one_item_is_trained_on_and_never_watched():
    _, targets = toy(n_each=4, n_classes=3)
    lonely = Targets(targets.names, targets.points, targets.rows[:9])  # one item of the last class
    parts = hold_out(lonely, seed=0)
    assert 8 in parts.trained


def test_what_a_rehearsal_chose_was_chosen_on_classes_that_its_network_had_not_seen():
    prepared, targets = toy(n_each=4, n_classes=15)
    trained = train(Halves(), prepared, targets, space=SPACE, schedule=Schedule(n_epochs=3))
    assert trained.params["n_classes_left_out"] == 5
    assert trained.rehearsal.params["n_items"] == trained.params["n_held_out"] == 30


def test_classes_of_one_item_each_are_refused():
    prepared, targets = toy(n_each=1, n_classes=5)
    with pytest.raises(InvalidInputError, match="0 of 5 classes have two items or more"):
        train(Halves(), prepared, targets, space=SPACE)


def test_a_subset_keeps_only_points_that_occur():
    _, targets = toy(n_each=2, n_classes=3)
    part = subset(targets, np.array([4, 0]))
    assert part.names == ("class 00", "class 02")
    assert part.rows.tolist() == [1, 0]
    np.testing.assert_array_equal(part.points, targets.points[[0, 2]])
