import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.types import SpaceId


@pytest.fixture
def centers(draw):
    names = ("dog", "cat", "crane")
    return ClassCenters.from_lines(names, [draw(3, 8) for _ in names], space=SpaceId("s"))


def test_an_item_is_pulled_towards_its_class(centers):
    labels = ["crane", "dog", "crane"]
    targets = Targets.from_labels(labels, centers)
    points = dict(zip(centers.labels, centers.points(), strict=True))
    np.testing.assert_array_equal(targets.of_items(), [points[label] for label in labels])
    assert [targets.names[row] for row in targets.rows] == labels
    assert targets.are_classes


def test_a_class_without_items_is_left_out(centers):
    assert Targets.from_labels(["dog", "crane"], centers).names == ("crane", "dog")


def test_labels_without_a_center_are_refused(centers):
    with pytest.raises(InvalidInputError, match="2 labels have no center, first 'bat'; add"):
        Targets.from_labels(["dog", "eel", "bat", "bat"], centers)


def test_equal_captions_are_one_target(draw):
    rows = draw(2, 8)
    targets = Targets.from_captions(["A dog.", "A cat.", "A dog."], rows[[0, 1, 0]] * 3)
    assert targets.names == ("A cat.", "A dog.")
    np.testing.assert_allclose(targets.of_items(), rows[[0, 1, 0]], atol=1e-6)
    assert not targets.are_classes


def test_captions_and_embeddings_must_be_equally_many_and_finite(draw):
    with pytest.raises(InvalidInputError, match="2 captions with 3 embeddings"):
        Targets.from_captions(["a", "b"], draw(3, 8))
    with pytest.raises(InvalidInputError, match="1 of 2 embeddings of captions are NaN"):
        Targets.from_captions(["a", "b"], np.array([[1.0, 0], [np.nan, 0]]))


def test_no_items_are_refused(centers, draw):
    with pytest.raises(InvalidInputError, match="no training items"):
        Targets.from_labels([], centers)
    with pytest.raises(InvalidInputError, match="no training items"):
        Targets.from_captions([], draw(0, 8))


@pytest.mark.parametrize(
    ("n_classes", "expected"), [(2, 2), (3, 2), (4, 2), (7, 3), (10, 5), (23, 5)]
)
def test_folds_keep_classes_whole_and_have_two_of_them(n_classes, expected):
    rows = np.random.default_rng(0).integers(0, n_classes, 200)
    names = tuple(f"class {c}" for c in range(n_classes))
    folds = Targets(names, np.eye(n_classes, dtype=np.float32), rows).folds(5, seed=0)
    assert len(folds) == expected
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(200))
    classes = [set(rows[fold]) for fold in folds]
    assert sum(map(len, classes)) == n_classes
    if n_classes > 3:
        assert min(map(len, classes)) >= 2
        assert max(map(len, classes)) - min(map(len, classes)) <= 1


def test_folds_follow_the_seed():
    rows = np.arange(20)
    targets = Targets(tuple(map(str, rows)), np.eye(20, dtype=np.float32), rows)
    first = [fold.tolist() for fold in targets.folds(5, seed=1)]
    assert first == [fold.tolist() for fold in targets.folds(5, seed=1)]
    assert first != [fold.tolist() for fold in targets.folds(5, seed=2)]


def test_only_some_points_can_be_split():
    rows = np.repeat(np.arange(10), 3)
    targets = Targets(tuple(map(str, range(10))), np.eye(10, dtype=np.float32), rows)
    folds = targets.folds(5, seed=0, among=np.array([7, 2, 2, 5, 9]))
    assert len(folds) == 2
    assert {int(rows[row]) for fold in folds for row in fold} == {2, 5, 7, 9}
    assert sum(map(len, folds)) == 12
    (alone,) = targets.folds(5, seed=0, among=np.array([4]))
    assert rows[alone].tolist() == [4, 4, 4]
