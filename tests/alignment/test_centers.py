import tracemalloc

import numpy as np
import pytest

from unibind.alignment import centers as module
from unibind.alignment.centers import ORIGIN_WEIGHT, SCORING, SELECTION, ClassCenters, check_labels
from unibind.alignment.geometry import unit
from unibind.errors import InvalidInputError, SpaceMismatchError
from unibind.types import SpaceId

SPACE = SpaceId("space one")
NAMES = ("cat", "dog", "crane")


@pytest.fixture
def lines(draw):
    """Return the sentences of three classes: five, two and one."""
    return [draw(5, 8), draw(2, 8), draw(1, 8)]


def make(lines, **kwargs) -> ClassCenters:
    names = NAMES if len(lines) == 3 else [f"class {c}" for c in range(len(lines))]
    return ClassCenters.from_lines(names, lines, space=SPACE, **kwargs)


def common_of(lines) -> np.ndarray:
    """Return what the classes share: their mean directions with ORIGIN_WEIGHT zeros, averaged."""
    total = np.zeros(lines[0].shape[1])
    for rows in lines:
        mean = rows.mean(axis=0)
        total += mean / np.linalg.norm(mean)
    return total / (len(lines) + ORIGIN_WEIGHT)


def test_the_mean_rule_is_the_formula(lines, draw):
    embeddings, common = draw(4, 8), common_of(lines)
    scores = make(lines).scores(embeddings)
    for n, embedding in enumerate(embeddings):
        for c, rows in enumerate(lines):
            mean = rows.mean(axis=0)
            point = mean / np.linalg.norm(mean) - common
            assert scores[n, c] == pytest.approx(
                embedding @ point / np.linalg.norm(point), abs=1e-5
            )


@pytest.mark.parametrize("centred", [True, False])
def test_the_nearest_and_the_soft_rule_are_the_formulas(draw, centred):
    lines, embeddings = [draw(4, 8) for _ in range(3)], draw(5, 8)
    common = common_of(lines) if centred else 0
    nearest = make(lines, scoring="nearest", centred=centred).scores(embeddings)
    soft = make(lines, scoring="log-sum-exp", centred=centred).scores(embeddings)
    for n, embedding in enumerate(embeddings):
        for c, rows in enumerate(lines):
            points = [(row - common) / np.linalg.norm(row - common) for row in rows]
            cosines = [float(embedding @ point) for point in points]
            assert nearest[n, c] == pytest.approx(max(cosines), abs=1e-5)
            mean_power = np.mean([np.exp(cosine / 0.05) for cosine in cosines])
            assert soft[n, c] == pytest.approx(0.05 * np.log(mean_power), abs=1e-5)
            assert np.mean(cosines) <= soft[n, c] + 1e-6 <= nearest[n, c] + 2e-6


def test_with_one_sentence_each_all_scoring_rules_agree(draw):
    lines, embeddings = [draw(1, 8) for _ in range(5)], draw(6, 8)
    scores = [make(lines, scoring=rule).scores(embeddings) for rule in SCORING]
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-5)


@pytest.mark.parametrize("scoring", SCORING)
def test_the_order_of_a_class_sentences_does_not_matter(lines, draw, scoring):
    embeddings = draw(4, 8)
    turned = [rows[::-1] for rows in lines]
    np.testing.assert_allclose(
        make(turned, scoring=scoring).scores(embeddings),
        make(lines, scoring=scoring).scores(embeddings),
        atol=1e-5,
    )


@pytest.mark.parametrize("scoring", SCORING)
def test_the_order_of_the_classes_does_not_matter(lines, draw, scoring):
    embeddings = draw(4, 8)
    turned = ClassCenters.from_lines(NAMES[::-1], lines[::-1], space=SPACE, scoring=scoring)
    expected = make(lines, scoring=scoring).scores(embeddings)
    np.testing.assert_allclose(turned.scores(embeddings)[:, ::-1], expected, atol=1e-5)


@pytest.mark.parametrize("centred", [True, False])
def test_filling_up_short_classes_leaves_the_mean_rule_as_it_is(lines, draw, centred):
    embeddings = draw(4, 8)
    expected = make(lines, centred=centred)
    filled = make(lines, n_centers=40, centred=centred)
    assert filled.vectors.shape == (3, 40, 8)
    np.testing.assert_allclose(filled.scores(embeddings), expected.scores(embeddings), atol=1e-5)
    np.testing.assert_allclose(filled.points(), expected.points(), atol=1e-5)


@pytest.mark.parametrize("scoring", SCORING)
def test_scores_are_made_block_by_block_without_changing(lines, draw, scoring, monkeypatch):
    embeddings = draw(11, 8)
    centers = make(lines, scoring=scoring)
    whole = centers.scores(embeddings)
    monkeypatch.setattr(module, "_MAX_COSINES", 3 * 5 * 2)
    np.testing.assert_allclose(centers.scores(embeddings), whole, atol=1e-6)
    monkeypatch.setattr(module, "_MAX_COSINES", 1)
    np.testing.assert_allclose(centers.scores(embeddings), whole, atol=1e-6)


@pytest.mark.parametrize("scoring", SCORING)
def test_no_embeddings_get_no_scores(lines, scoring):
    empty = np.zeros((0, 8), dtype=np.float32)
    assert make(lines, scoring=scoring).scores(empty).shape == (0, 3)


def test_memory_does_not_grow_with_items_times_centers(draw, monkeypatch):
    monkeypatch.setattr(module, "_MAX_COSINES", 2**18)
    centers = make([draw(32, 4) for _ in range(100)], scoring="log-sum-exp")
    embeddings = draw(4000, 4)
    tracemalloc.start()
    centers.scores(embeddings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 100 * 4 * 2 + 2**18 * 4 * 5  # the scores twice, and a block of cosines
    assert peak < 4000 * 100 * 32 * 4 / 3  # far from all cosines at once


def test_centring_takes_off_what_many_classes_share(draw):
    shared, own = draw(8), draw(400, 8) * 0.3
    lines = [unit(rows[None]) for rows in shared + own]
    centred, plain = make(lines).points(), make(lines, centred=False).points()
    assert np.linalg.norm(plain.mean(axis=0)) > 0.8
    assert np.linalg.norm(centred.mean(axis=0)) < 0.1


def test_one_class_alone_keeps_its_direction_and_two_share_only_a_little(draw):
    (rows,) = draw(1, 3, 8)
    np.testing.assert_allclose(make([rows]).points(), unit(rows.mean(axis=0))[None], atol=1e-6)
    pair = [draw(1, 8), draw(1, 8)]
    moved = make(pair).points() @ make(pair, centred=False).points().T
    assert (np.diag(moved) > 0.97).all()


def test_points_are_unit_length_and_score_one_with_themselves(lines):
    centers = make(lines)
    np.testing.assert_allclose(np.linalg.norm(centers.points(), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.diag(centers.scores(centers.points())), 1, atol=1e-5)


# Which sentences speak for a class.


def test_nearest_to_mean_leaves_the_outlier_out():
    crowd = unit(np.array([[1, 0.1, 0], [1, -0.1, 0], [1, 0, 0.1], [0, 0, 1.0]]))
    kept = make([crowd], selection="nearest-to-mean", n_centers=3).vectors[0]
    assert (kept[:, 0] > 0.9).all()


def test_nearest_to_first_keeps_the_name_and_what_is_near_to_it():
    name, near, far = np.eye(4)[0], np.array([1, 0.3, 0, 0]), np.eye(4)[2]
    rows = unit(np.stack([name, far, near, -name]))
    kept = make([rows], selection="nearest-to-first", n_centers=2).vectors[0]
    np.testing.assert_allclose(kept, rows[[0, 2]], atol=1e-6)


def test_discriminative_leaves_out_what_is_nearer_to_another_class():
    cat = unit(np.array([[0, 1, 0.2], [1, 0.2, 0], [1, -0.2, 0]]))  # the first sounds like a dog
    dog = unit(np.array([[0, 1, 0.1], [0, 1, 0], [0, 1, -0.1]]))
    kept = make([cat, dog], selection="discriminative", n_centers=2).vectors
    assert (kept[0, :, 0] > 0.9).all()
    assert (kept[1, :, 1] > 0.9).all()


def test_discriminative_is_nearest_to_mean_for_a_class_alone(draw):
    rows = [draw(6, 8)]
    kept = make(rows, selection="discriminative", n_centers=3).vectors
    expected = make(rows, selection="nearest-to-mean", n_centers=3).vectors
    np.testing.assert_array_equal(kept, expected)


def test_medoids_keep_one_of_each_meaning(draw):
    bird, machine = np.eye(8)[0], np.eye(8)[1]
    rows = unit(np.concatenate([bird + 0.1 * draw(6, 8), machine + 0.1 * draw(2, 8)]))
    kept = make([rows], selection="medoids", n_centers=2).vectors[0]
    assert kept[0] @ bird > 0.9  # the medoid lies in the larger crowd
    assert kept[1] @ machine > 0.9


@pytest.mark.parametrize("selection", ["nearest-to-mean", "discriminative", "medoids"])
def test_a_selection_does_not_depend_on_the_order_of_the_sentences(draw, selection):
    lines, order = [draw(9, 8), draw(9, 8)], np.random.default_rng(1).permutation(9)
    kept = make(lines, selection=selection, n_centers=4).vectors
    shuffled = make([rows[order] for rows in lines], selection=selection, n_centers=4).vectors
    np.testing.assert_array_equal(shuffled, kept)


def test_all_keeps_the_first_in_their_order(draw):
    rows = draw(5, 8)
    np.testing.assert_allclose(make([rows], n_centers=3).vectors[0], rows[:3], atol=1e-6)


@pytest.mark.parametrize("selection", SELECTION)
def test_a_class_with_fewer_sentences_is_filled_up_with_its_mean(lines, selection):
    vectors = make(lines, selection=selection).vectors
    assert vectors.shape == (3, 5, 8)
    mean = unit(lines[1].mean(axis=0))
    np.testing.assert_allclose(vectors[1, 2:], np.tile(mean, (3, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, atol=1e-5)
    assert vectors.dtype == np.float32


# What is refused.


def test_embeddings_of_another_space_are_refused_by_both_names(lines, draw):
    with pytest.raises(SpaceMismatchError) as caught:
        make(lines).scores(draw(1, 8), space=SpaceId("space two"))
    said = str(caught.value)
    assert "embeddings live in space space two, these centers in space one" in said
    assert "rebuild the centers" in said
    assert make(lines).scores(draw(1, 8), space=SPACE).shape == (1, 3)


def test_embeddings_of_another_width_or_not_finite_are_refused(lines, draw):
    with pytest.raises(InvalidInputError, match=r"embeddings have shape \(1, 7\), \(N, 8\)"):
        make(lines).scores(draw(1, 7))
    with pytest.raises(InvalidInputError, match="1 of 1 embeddings are NaN"):
        make(lines).scores(np.full((1, 8), np.nan))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "the list of classes is empty"),
        (["cat", " "], "class 2 of 2 has no name"),
        (["cat", "dog", "cat"], "class 'cat' is in the list twice"),
        ("cat", r"one class was given where a list was needed; write \['cat'\]"),
    ],
)
def test_lists_of_classes_that_make_no_sense_are_refused(labels, said):
    with pytest.raises(InvalidInputError, match=said):
        check_labels(labels)


def test_labels_may_be_an_array(draw):
    labels = np.array(["cat", "dog"])
    check_labels(labels)
    assert ClassCenters.from_lines(labels, [draw(1, 8)] * 2, space=SPACE).labels == ("cat", "dog")


def test_rules_classes_and_counts_that_do_not_exist_are_refused(lines, draw):
    with pytest.raises(InvalidInputError, match="no selection rule 'best'; there are all, nearest"):
        make(lines, selection="best")
    with pytest.raises(InvalidInputError, match="no scoring rule 'max'; there are mean, nearest"):
        make(lines, scoring="max")
    with pytest.raises(InvalidInputError, match="K = 0 centers per class; at least 1"):
        make(lines, n_centers=0)
    with pytest.raises(InvalidInputError, match="3 labels but sentences of 2 classes"):
        ClassCenters.from_lines(NAMES, lines[:2], space=SPACE)
    with pytest.raises(InvalidInputError, match="1 classes have no sentence, first 'dog'"):
        make([lines[0], lines[0][:0], lines[2]])
    with pytest.raises(InvalidInputError, match=r"sentence embeddings have shape \(2, 7\)"):
        make([lines[0], draw(2, 7), lines[2]])
    with pytest.raises(InvalidInputError, match=r"shape \(2, 8\) for 2 classes; \(C, K, D\)"):
        ClassCenters(("a", "b"), draw(2, 8), SPACE)
    with pytest.raises(InvalidInputError, match=r"shape \(3, 1, 8\) for 2 classes"):
        ClassCenters(("a", "b"), draw(3, 1, 8), SPACE)
