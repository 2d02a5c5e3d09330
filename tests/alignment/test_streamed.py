"""Sums over rows against the decomposition of all of them."""

import numpy as np
import pytest

from unibind.alignment.fits import MAX_ROWS_HELD, HeldFits, open_fits
from unibind.alignment.heldout import Jury
from unibind.alignment.ridge import RidgePath
from unibind.alignment.streamed import StreamedRidge
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError

STRENGTH = 0.3


@pytest.fixture
def planted(plant):
    return plant(n_classes=9, n_items=5, noise=1.0, width=14)


@pytest.fixture
def jury(planted):
    targets = Targets.from_labels(planted.labels, planted.centers)
    votes = np.arange(len(planted.labels)) % 3 > 0
    return Jury.of(targets, votes, n_folds=3, seed=0)


@pytest.fixture
def both(planted, jury):
    return (
        HeldFits(RidgePath.of(planted.features), jury),
        StreamedRidge(planted.features, jury),
    )


def close(one, other) -> None:
    np.testing.assert_allclose(one, other, atol=2e-4)


def test_the_same_standard_and_the_same_fit(both):
    held, streamed = both
    close(held.mean, streamed.mean)
    close(held.scale, streamed.scale)
    for one, other in zip(held.solve(STRENGTH), streamed.solve(STRENGTH), strict=True):
        close(one, other)


def test_the_same_predictions_without_an_item(both):
    held, streamed = both
    close(held.without_item(STRENGTH), streamed.without_item(STRENGTH))


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_the_same_trials(planted, n_folds):
    targets = Targets.from_labels(planted.labels, planted.centers)
    votes = np.arange(len(planted.labels)) < 35  # two classes do not judge
    jury = Jury.of(targets, votes, n_folds=n_folds, seed=0)
    held = HeldFits(RidgePath.of(planted.features), jury).trials(STRENGTH)
    streamed = StreamedRidge(planted.features, jury).trials(STRENGTH)
    assert len(held) == len(streamed) == len(jury.folds)
    for one, other in zip(held, streamed, strict=True):
        np.testing.assert_array_equal(one.unseen, other.unseen)
        np.testing.assert_array_equal(one.others, other.others)
        for name in ("of_unseen", "alone", "apart"):
            close(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("fold", [0, 2, None])
def test_the_same_fit_without_a_fold_and_some_items(both, jury, fold):
    held, streamed = both
    judged = np.arange(len(jury.rows)) % 4 == 0
    for one, other in zip(
        held.solve_without(STRENGTH, fold, judged),
        streamed.solve_without(STRENGTH, fold, judged),
        strict=True,
    ):
        close(one, other)


def test_a_fit_without_rows_is_the_fit_of_the_others(planted, jury):
    """The ridge is told to predict what it predicts without them; a slow fit does without them."""
    path = RidgePath.of(planted.features)
    fits = path.towards(jury.targets.of_items())
    rows = jury.folds[0]
    weight, bias = fits.solve_without(STRENGTH, rows)
    z = ((planted.features - path.mean) / path.scale).astype(np.float64)
    others = np.setdiff1d(np.arange(len(z)), rows)
    design = np.concatenate([z, np.ones((len(z), 1))], axis=1)[others]
    shrunk = STRENGTH * np.mean((z**2).sum(axis=1)) * np.eye(design.shape[1])
    shrunk[-1, -1] = 0
    solved = np.linalg.solve(
        design.T @ design + shrunk, design.T @ jury.targets.of_items()[others].astype(np.float64)
    )
    close(weight, solved[:-1])
    close(bias, solved[-1])


def test_the_leading_directions_span_the_same(both):
    held, streamed = (fits.basis(4) for fits in both)
    assert held.shape == streamed.shape == (14, 4)
    close(np.abs((held * streamed).sum(axis=0)), np.ones(4))


def test_rows_are_read_in_blocks_from_a_table_on_disk(tmp_path, planted, jury, monkeypatch):
    monkeypatch.setattr("unibind.alignment.streamed._ROWS", 7)
    table = np.memmap(tmp_path / "features", np.float32, "w+", shape=planted.features.shape)
    table[:] = planted.features
    told = []
    streamed = StreamedRidge(table, jury, progress=lambda *at: told.append(at))
    whole = StreamedRidge(planted.features, jury)
    close(streamed.solve(STRENGTH)[0], whole.solve(STRENGTH)[0])
    assert told[-1] == (90, 90)
    assert len(told) == 2 * 7


def test_many_rows_are_streamed_and_few_are_held(jury, planted):
    assert isinstance(open_fits(planted.features, jury), HeldFits)
    many = np.zeros((MAX_ROWS_HELD + 1, 2), dtype=np.float32)
    with pytest.raises(InvalidInputError, match="all training features are equal"):
        open_fits(many, jury)


def test_what_cannot_be_fitted_is_refused(jury, planted):
    broken = planted.features.copy()
    broken[17, 3] = np.nan
    with pytest.raises(InvalidInputError, match="first in row 17"):
        StreamedRidge(broken, jury)
    with pytest.raises(InvalidInputError, match="it must be above 0"):
        StreamedRidge(planted.features, jury).solve(0.0)
    with pytest.raises(InvalidInputError, match="at least two"):
        StreamedRidge(planted.features[:1], jury)
