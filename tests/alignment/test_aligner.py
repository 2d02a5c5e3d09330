import numpy as np
import pytest

from unibind.alignment.aligner import PRIOR_WEIGHTS, STRENGTHS, Aligner
from unibind.alignment.contrast import Contrast
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head
from unibind.alignment.heldout import MAX_REFERENCES
from unibind.alignment.hubs import N_NEAREST
from unibind.alignment.objective import Objective
from unibind.alignment.ridge import RidgePath
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.types import SpaceId


def targets_of(planted) -> Targets:
    return Targets.from_labels(planted.labels, planted.centers)


def fit(planted, aligner: Aligner | None = None, **kwargs) -> Head:
    about = {"space": SpaceId("s"), "encoder": "e"} | kwargs
    return (aligner or Aligner()).fit(planted.features, targets_of(planted), **about)


def accuracy(head: Head, planted, prior=None) -> float:
    scores = planted.centers.scores(head.embed(planted.features, prior))
    found = [planted.centers.labels[c] for c in scores.argmax(axis=1)]
    return float(
        np.mean([name == label for name, label in zip(found, planted.labels, strict=True)])
    )


def halves(planted) -> tuple:
    names = planted.centers.labels
    return planted.of(names[: len(names) // 2]), planted.of(names[len(names) // 2 :])


# What a planted structure must give.


def test_classes_that_were_never_trained_on_are_found(plant):
    known, unknown = halves(plant(n_classes=60, n_items=4, noise=0.3))
    head = fit(known)
    assert accuracy(head, unknown) > 0.9
    assert accuracy(head, known) > 0.9


def test_with_permuted_points_unknown_classes_are_found_by_chance_only(plant):
    planted = plant(n_classes=60, n_items=4, noise=0.3)
    known, unknown = halves(planted)
    order = np.random.default_rng(0).permutation(len(known.labels))
    shuffled = Targets.from_labels([known.labels[row] for row in order], known.centers)
    head = Aligner().fit(known.features, shuffled, space=SpaceId("s"), encoder="e")
    assert accuracy(head, unknown) < 0.25


def test_the_true_map_is_recovered(plant):
    planted = plant(n_classes=40, n_items=3, noise=0.01)
    head = fit(planted, Aligner(strength=0.01))
    cosines = (head.project(planted.features) * targets_of(planted).of_items()).sum(axis=1)
    assert cosines.min() > 0.99


def test_a_good_prior_is_trusted_and_a_useless_one_is_not(plant, draw):
    planted = plant(n_classes=40, n_items=3, noise=3.0)
    points = targets_of(planted).of_items()
    good = fit(planted, prior=unit(points + 0.2 * draw(*points.shape)))
    useless = fit(planted, prior=draw(*points.shape))
    assert good.prior_weight == max(PRIOR_WEIGHTS)
    assert useless.prior_weight <= 0.5
    assert fit(planted).prior_weight == 0


def test_only_judged_items_choose(plant, draw):
    planted = plant(n_classes=40, n_items=4, noise=1.5)
    points = targets_of(planted).of_items()
    first = np.arange(len(points)) % 4 < 2
    # The prior knows the first two items of each class, and is wrong about the others.
    prior = np.where(first[:, None], points, draw(*points.shape)).astype(np.float32)
    aligner = Aligner(strength=1.0)
    by_first = fit(planted, aligner, prior=prior, judged=list(first))
    by_others = fit(planted, aligner, prior=prior, judged=~first)
    assert by_first.prior_weight > by_others.prior_weight
    np.testing.assert_array_equal(by_first.weight, by_others.weight)  # both train all the same


def test_a_linear_head_is_better_than_a_ridge_on_a_closed_set(plant):
    # Least squares masks classes in the middle: of six in a row, those between hardly ever win.
    generator = np.random.default_rng(0)
    places = np.repeat(np.arange(6) - 2.5, 40)
    features = np.stack([places, generator.normal(size=240)], axis=1).astype(np.float32)
    features[:, 0] += 0.1 * generator.normal(size=240).astype(np.float32)
    planted = plant(n_classes=6, n_items=40, dim=8, noise=0.0)
    planted = type(planted)(planted.centers, planted.labels, features)
    # Little noise: two inputs are all there is, and nothing of them is by chance.
    contrast = Contrast(
        Objective({"class-center": 1.0}), noise=0.05, learning_rate=0.1, temperature=0.05
    )
    ridge, linear = fit(planted), fit(planted, Aligner(method="linear", contrast=contrast))
    assert accuracy(linear, planted) > accuracy(ridge, planted) + 0.1


# What the choices are, against slow loops.


@pytest.fixture
def small(plant):
    return plant(n_classes=12, n_items=3, noise=1.0, width=15)


@pytest.fixture
def prior(small, draw):
    points = targets_of(small).of_items()
    return unit(points + draw(*points.shape))


def embed_without(planted, head: Head, folds, prior=None) -> np.ndarray:
    """Return each item's embedding by a ridge fitted slowly without the item's fold."""
    points = targets_of(planted).of_items().astype(np.float64)
    z = ((planted.features - head.mean) / head.scale).astype(np.float64)
    penalty = head.params["strength"] * np.mean([row @ row for row in z])
    shrunk = penalty * np.eye(z.shape[1] + 1)
    shrunk[-1, -1] = 0
    design = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    embeddings = np.zeros_like(points)
    for fold in folds:
        others = np.setdiff1d(np.arange(len(z)), fold)
        gram = design[others].T @ design[others] + shrunk
        embeddings[fold] = design[fold] @ np.linalg.solve(gram, design[others].T @ points[others])
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    if prior is not None:
        embeddings += head.prior_weight * prior
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings -= embeddings.mean(axis=0)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def corrected(embedding, point, references) -> float:
    nearest = sorted((float(each @ point) for each in references), reverse=True)[:N_NEAREST]
    return float(embedding @ point) - np.mean(nearest) / 2


def test_references_are_what_fits_say_that_had_not_seen_the_class(small, prior):
    head = fit(small, prior=prior)
    folds = targets_of(small).folds(5, seed=0)
    np.testing.assert_allclose(head.references, embed_without(small, head, folds, prior), atol=1e-4)


def test_the_reciprocal_rank_and_the_calibration_are_those_of_held_out_classes(small, prior):
    head = fit(small, prior=prior)
    targets = targets_of(small)
    folds = targets.folds(5, seed=0)
    embeddings = embed_without(small, head, folds, prior)
    ranks, scores_of = [], []
    for fold in folds:
        classes = sorted(set(targets.rows[fold]))
        points = targets.points[classes] - targets.points[classes].mean(axis=0)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        others = np.setdiff1d(np.arange(len(embeddings)), fold)
        for row in fold:
            scores = [corrected(embeddings[row], p, embeddings[others]) for p in points]
            right = classes.index(targets.rows[row])
            ranks.append(1 / (1 + sum(score > scores[right] for score in scores)))
            scores_of.append((scores, right))
    assert head.metrics["held_out_reciprocal_rank"] == pytest.approx(np.mean(ranks), abs=1e-3)

    def loss(temperature: float, doubt: float) -> float:
        total = 0.0
        for scores, right in scores_of:
            powers = np.exp(np.array(scores) / temperature)
            share = (1 - doubt) * powers[right] / powers.sum() + doubt / len(scores)
            total -= np.log(share)
        return total

    chosen = head.calibrations["unseen"]
    assert head.temperature == chosen.temperature
    least = loss(chosen.temperature, chosen.doubt)
    assert all(
        least <= loss(temperature, doubt) + 0.05  # between two steps of the grid
        for temperature in (0.01, 0.03, 0.1, 0.2, 0.4)
        for doubt in (0.0, 0.05, 0.2)
    )


def test_the_chosen_strength_and_weight_are_the_best_of_the_grids(small, prior):
    def rank(strength: float, weight: float) -> float:
        head = fit(small, Aligner(strength=strength, prior_weight=weight), prior=prior)
        assert (head.params["strength"], head.prior_weight) == (strength, weight)
        return head.metrics["held_out_worth"]

    best = max(rank(strength, weight) for strength in STRENGTHS for weight in PRIOR_WEIGHTS)
    head = fit(small, prior=prior)
    assert head.metrics["held_out_worth"] == best
    assert head.params["strength"] in STRENGTHS
    assert head.prior_weight in PRIOR_WEIGHTS


def test_a_trained_head_prefers_what_it_has_seen_and_knows_it(plant):
    planted = plant(n_classes=40, n_items=6, noise=2.0)
    known, unknown = halves(planted)
    head = fit(known)
    assert head.seen_penalty > 0
    assert head.seen == known.centers.labels
    scores = planted.centers.scores(head.embed(unknown.features))
    is_seen = np.isin(planted.centers.labels, head.seen)
    labels = np.array([planted.centers.labels.index(label) for label in unknown.labels])
    before = (scores.argmax(axis=1) == labels).mean()
    after = ((scores - head.seen_penalty * is_seen).argmax(axis=1) == labels).mean()
    assert after > before


def test_captions_are_not_classes_that_were_seen(plant):
    planted = plant(n_classes=12, n_items=2, noise=0.5)
    captions = Targets.from_captions(planted.labels, targets_of(planted).of_items())
    head = Aligner().fit(planted.features, captions, space=SpaceId("s"), encoder="e")
    assert head.seen == ()
    assert head.params["n_targets"] == 12


def test_references_are_at_most_a_thousand(plant):
    planted = plant(n_classes=30, n_items=40, noise=0.5)
    head = fit(planted, Aligner(strength=1.0))
    assert head.references.shape == (MAX_REFERENCES, 8)
    np.testing.assert_allclose(np.linalg.norm(head.references, axis=1), 1, atol=1e-5)


# Equal seeds, equal heads.


@pytest.mark.parametrize("method", ["ridge", "linear"])
def test_the_same_seed_gives_the_same_head(small, method):
    first, second = (fit(small, Aligner(method=method)) for _ in range(2))
    for name in ("weight", "bias", "mean", "scale", "references"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.temperature == second.temperature


def test_another_seed_splits_the_classes_otherwise(small):
    first, other = (fit(small, Aligner(seed=seed, strength=1.0)) for seed in (0, 1))
    np.testing.assert_array_equal(first.weight, other.weight)
    assert not np.array_equal(first.references, other.references)


def test_a_fit_changes_nothing_it_was_given(small, prior):
    before = small.features.copy(), prior.copy()
    fit(small, Aligner(method="linear"), prior=prior)
    np.testing.assert_array_equal(small.features, before[0])
    np.testing.assert_array_equal(prior, before[1])


def test_a_decomposition_at_hand_is_used(small):
    path = RidgePath.of(small.features)
    np.testing.assert_array_equal(fit(small, path=path).weight, fit(small).weight)


def test_the_order_of_the_items_matters_little(small):
    order = np.random.default_rng(0).permutation(len(small.labels))
    turned = type(small)(
        small.centers, tuple(small.labels[row] for row in order), small.features[order]
    )
    np.testing.assert_allclose(fit(turned).weight, fit(small).weight, atol=1e-5)


# Little or nothing to learn from.


@pytest.mark.parametrize("n_items", [1, 4])
@pytest.mark.parametrize("n_classes", [2, 3, 4, 5])
@pytest.mark.parametrize("method", ["ridge", "linear"])
def test_few_classes_are_enough_and_choices_stay_moderate(plant, n_classes, n_items, method):
    planted = plant(n_classes=n_classes, n_items=n_items, noise=0.1)
    head = fit(planted, Aligner(method=method))
    assert accuracy(head, planted) > 0.9
    if n_classes == 2:  # nothing to choose by
        assert head.params["strength"] == 1.0
    assert np.isfinite([head.temperature, head.seen_penalty]).all()


def test_one_item_of_each_class_is_enough(plant):
    known, unknown = halves(plant(n_classes=80, n_items=1, noise=0.1))
    assert accuracy(fit(known), unknown) > 0.9


def test_one_class_is_refused(plant):
    planted = plant(n_classes=1, n_items=5, noise=0.1)
    with pytest.raises(InvalidInputError, match="all items belong to 'class 000'"):
        fit(planted)


def test_one_item_is_refused(plant):
    planted = plant(n_classes=2, n_items=1, noise=0.1)
    with pytest.raises(InvalidInputError, match="at least two"):
        fit(planted.of(planted.centers.labels[:1]))


def test_what_does_not_fit_together_is_refused(small, prior):
    def refuse(said: str, features=small.features, **kwargs) -> None:
        planted = type(small)(small.centers, small.labels, features)
        with pytest.raises(InvalidInputError, match=said):
            fit(planted, **kwargs)

    n = len(small.labels)
    refuse("all training features are equal", np.ones((n, 3), dtype=np.float32))
    refuse(f"{n - 1} items with {n} targets", small.features[:-1])
    refuse(f"{n} of {n} features are NaN", np.full((n, 3), np.nan))
    refuse("features have shape", np.zeros(n, dtype=np.float32))
    refuse(f"{n} items with {n - 1} semantic priors", prior=prior[:-1])
    refuse("semantic priors are NaN", prior=np.full_like(prior, np.nan))
    refuse("semantic priors have shape", prior=prior[:, :-1])
    refuse(f"{n} items with {n - 1} entries of judged", judged=[True] * (n - 1))
    refuse("no item is judged", judged=[False] * n)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "forest"}, "no head is made by 'forest'; there are ridge, linear"),
        ({"n_folds": 1}, "1 folds; at least 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InvalidInputError, match=said):
        Aligner(**settings)


@pytest.mark.parametrize("strength", [0.0, -1.0])
def test_a_strength_that_is_not_above_zero_is_refused(small, strength):
    with pytest.raises(InvalidInputError, match="it must be above 0"):
        fit(small, Aligner(strength=strength))
