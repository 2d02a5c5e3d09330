"""Trials against heads that were really fitted without what a trial is without."""

import numpy as np
import pytest

from unibind.alignment.aligner import Aligner
from unibind.alignment.geometry import unit
from unibind.alignment.heldout import HeldOut, Jury, Predicted
from unibind.alignment.hubs import without_hubs
from unibind.alignment.ridge import RidgePath
from unibind.alignment.targets import Targets
from unibind.alignment.trials import parts_of
from unibind.types import SpaceId

STRENGTH = 0.3


@pytest.fixture
def planted(plant):
    return plant(n_classes=12, n_items=3, noise=1.0, width=15)


@pytest.fixture
def targets(planted):
    return Targets.from_labels(planted.labels, planted.centers)


def slow_fit(path: RidgePath, targets: Targets, kept: np.ndarray):
    """Return a function that predicts as the fit to some rows does, inputs standardised by all."""
    z = path.rotated @ path.basis.T
    points = targets.of_items().astype(np.float64)
    shrunk = STRENGTH * np.mean((z**2).sum(axis=1)) * np.eye(z.shape[1] + 1)
    shrunk[-1, -1] = 0
    design = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    solved = np.linalg.solve(design[kept].T @ design[kept] + shrunk, design[kept].T @ points[kept])
    return lambda row: design[row] @ solved


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_each_prediction_is_that_of_a_fit_without_all_that_it_may_not_know(
    planted, targets, n_folds
):
    path = RidgePath.of(planted.features)
    jury = Jury.of(targets, np.ones(len(planted.labels), dtype=bool), n_folds=n_folds, seed=0)
    everyone = np.arange(len(planted.labels))
    trials = path.towards(targets.of_items()).trials(STRENGTH, jury.folds, jury.parts, jury.rows)
    for fold, trial in zip(jury.folds, trials, strict=True):
        np.testing.assert_array_equal(trial.unseen, fold)
        np.testing.assert_array_equal(trial.others, np.setdiff1d(everyone, fold))
        predict = slow_fit(path, targets, trial.others)
        np.testing.assert_allclose(trial.of_unseen, [predict(n) for n in fold], atol=1e-4)
        for place, row in enumerate(trial.others):
            alone = slow_fit(path, targets, np.setdiff1d(trial.others, [row]))
            np.testing.assert_allclose(trial.alone[place], alone(row), atol=1e-4)
            part = next(part for part in jury.parts if row in part)
            apart = slow_fit(path, targets, np.setdiff1d(trial.others, part))
            np.testing.assert_allclose(trial.apart[place], apart(row), atol=1e-4)


def test_two_folds_are_halved_and_more_stay_as_they_are():
    points = np.array([0, 0, 1, 1, 2, 2, 3])
    folds = [np.array([0, 1, 2, 3]), np.array([4, 5, 6])]
    assert [part.tolist() for part in parts_of(folds, points)] == [[0, 1], [2, 3], [4, 5], [6]]
    one = [np.array([0, 1]), np.array([2, 3])]
    assert [part.tolist() for part in parts_of(one, points)] == [[0, 1], [2, 3]]
    three = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5, 6])]
    assert [part.tolist() for part in parts_of(three, points)] == [[0, 1], [2, 3], [4, 5, 6]]


def test_two_classes_leave_no_fit_for_references(plant):
    planted = plant(n_classes=2, n_items=3, noise=0.1)
    targets = Targets.from_labels(planted.labels, planted.centers)
    jury = Jury.of(targets, np.ones(6, dtype=bool), n_folds=5, seed=0)
    fits = RidgePath.of(planted.features).towards(targets.of_items())
    for trial in fits.trials(STRENGTH, jury.folds, jury.parts, jury.rows):
        assert np.isnan(trial.apart).all()
        assert np.isfinite(trial.of_unseen).all()


def test_a_trial_is_what_a_head_does_that_was_trained_without_the_fold(plant):
    """All of it: embeddings, offset, references. Only the inputs' scale is that of all items."""
    planted = plant(n_classes=60, n_items=4, noise=1.5)
    targets = Targets.from_labels(planted.labels, planted.centers)
    jury = Jury.of(targets, np.ones(len(planted.labels), dtype=bool), n_folds=5, seed=0)
    fits = RidgePath.of(planted.features).towards(targets.of_items())
    trials = fits.trials(STRENGTH, jury.folds, jury.parts, jury.rows)
    held_out = HeldOut(jury, Predicted(trials, lambda: np.zeros((0, 0), dtype=np.float32)))
    for fold, (scores, right) in zip(jury.folds, held_out.within_folds(), strict=True):
        rest = np.setdiff1d(np.arange(len(planted.labels)), fold)
        known = Targets.from_labels([planted.labels[row] for row in rest], planted.centers)
        head = Aligner(strength=STRENGTH).fit(
            planted.features[rest], known, space=SpaceId("s"), encoder="e"
        )
        points = targets.points[np.unique(targets.rows[fold])]
        centred = unit(points - points.mean(axis=0))
        found = without_hubs(
            head.embed(planted.features[fold]) @ centred.T, head.references @ centred.T
        )
        # The head's own folds are others than the trial's, so its references differ a little.
        assert np.corrcoef(found.ravel(), scores.ravel())[0, 1] > 0.99
        own, other = (np.take_along_axis(each, right[:, None], axis=1) for each in (found, scores))
        assert own.mean() == pytest.approx(other.mean(), abs=0.02)
