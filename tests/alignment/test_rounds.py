"""How long to train, and what: judged on what was held out."""

from dataclasses import replace

import numpy as np
import pytest

from unibind.alignment.aligner import Aligner, Source
from unibind.alignment.contrast import Contrast
from unibind.alignment.targets import Targets
from unibind.errors import InvalidInputError
from unibind.types import SpaceId

QUICK = Contrast(n_steps=30, check_every=10, learning_rate=3e-3)
ABOUT = {"space": SpaceId("s"), "encoder": "e"}


@pytest.fixture
def planted(plant):
    return plant(n_classes=12, n_items=6, noise=1.0)


def targets_of(planted) -> Targets:
    return Targets.from_labels(planted.labels, planted.centers)


def fit(planted, method: str = "linear", contrast: Contrast = QUICK, **kwargs):
    aligner = Aligner(method=method, contrast=contrast, n_folds=3)
    return aligner.fit(planted.features, targets_of(planted), **(ABOUT | kwargs))


def test_it_never_goes_on_where_what_is_held_out_gets_worse(planted):
    rounds = []
    head = fit(planted, watch=rounds.append)
    first, best = rounds[0], rounds[0]
    for each in rounds[1:]:
        better = each.worth > best.worth
        is_best = better and each.unseen >= first.unseen and each.seen >= first.seen
        assert each.is_best == is_best
        best = each if is_best else best
    assert head.params.get("n_steps", 0) == best.step
    assert head.params["method"] == ("linear" if best.step else "ridge")
    assert head.params["compared"]["ridge"]["steps"] == 0


def test_training_that_spoils_everything_leaves_the_ridge(planted):
    ridge = Aligner(n_folds=3).fit(planted.features, targets_of(planted), **ABOUT)
    ruined = fit(planted, contrast=replace(QUICK, learning_rate=1.0, noise=1000.0))
    assert ruined.params["method"] == "ridge"
    np.testing.assert_array_equal(ruined.weight, ridge.weight)
    np.testing.assert_array_equal(ruined.references, ridge.references)


def test_auto_chooses_what_finds_held_out_classes_best_and_tells_what_it_compared(planted):
    head = fit(planted, "auto")
    compared = head.params["compared"]
    assert set(compared) == {"ridge", "linear", "low-rank", "mlp"}

    def worth(row) -> float:
        return 2 * row["unseen"] * row["seen"] / (row["unseen"] + row["seen"])

    best = max(worth(row) for row in compared.values())
    assert worth(compared[head.params["method"]]) == pytest.approx(best, abs=1e-3)


def test_a_hidden_layer_outlives_saving(planted, tmp_path):
    head = fit(planted, "mlp")
    if head.params["method"] != "mlp":
        head = replace(
            head,
            hidden=np.ones((20, 3), np.float32),
            hidden_bias=np.zeros(3, np.float32),
            outward=np.ones((3, 8), np.float32),
        )
    head.save(tmp_path / "head")
    opened = type(head).open(tmp_path / "head")
    np.testing.assert_array_equal(opened.embed(planted.features), head.embed(planted.features))


def test_interrupted_training_goes_on_to_the_same_head(planted, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(look) -> None:
        if look.step == 20:
            raise StoppedError

    patient = replace(QUICK, patience=9)
    straight = fit(planted, contrast=patient)
    with pytest.raises(StoppedError):
        fit(planted, contrast=patient, watch=stop, checkpoint=tmp_path / "kept")
    assert (tmp_path / "kept").exists()
    looks = []
    resumed = fit(planted, contrast=patient, watch=looks.append, checkpoint=tmp_path / "kept")
    assert min(look.step for look in looks) > 0  # what was done is not done again
    np.testing.assert_array_equal(resumed.weight, straight.weight)
    assert resumed.params == straight.params


def test_a_checkpoint_of_other_items_is_not_used(planted, plant, tmp_path):
    def stop(look) -> None:
        if look.step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(planted, watch=stop, checkpoint=tmp_path / "kept")
    other = plant(n_classes=12, n_items=6, noise=1.0, seed=5)
    np.testing.assert_array_equal(
        fit(other, checkpoint=tmp_path / "kept").weight, fit(other).weight
    )


def test_two_modalities_are_trained_together_and_land_in_one_place(plant):
    one = plant(n_classes=12, n_items=6, noise=0.5)
    other = type(one)(one.centers, one.labels, one.features[:, ::-1].copy() * 3)
    few = np.flatnonzero(np.arange(len(one.labels)) % 3 == 0)
    other = type(one)(one.centers, tuple(one.labels[row] for row in few), other.features[few])
    heads = Aligner(method="linear", contrast=QUICK, n_folds=3).fit_joint(
        {
            "one": Source(one.features, targets_of(one), "e1"),
            "other": Source(other.features, targets_of(other), "e2"),
        },
        space=SpaceId("s"),
    )
    assert (heads["one"].encoder, heads["other"].encoder) == ("e1", "e2")
    assert heads["one"].params["compared"] == heads["other"].params["compared"]
    for head, planted in ((heads["one"], one), (heads["other"], other)):
        scores = planted.centers.scores(head.embed(planted.features))
        found = [planted.centers.labels[c] for c in scores.argmax(axis=1)]
        assert np.mean([a == b for a, b in zip(found, planted.labels, strict=True)]) > 0.9


def test_modalities_with_other_centers_of_one_class_are_refused(plant):
    one, other = (
        plant(n_classes=6, n_items=3, noise=0.5),
        plant(n_classes=6, n_items=3, noise=0.5, seed=3),
    )
    with pytest.raises(InvalidInputError, match="need the same centers"):
        Aligner().fit_joint(
            {
                "a": Source(one.features, targets_of(one), "e"),
                "b": Source(other.features, targets_of(other), "e"),
            },
            space=SpaceId("s"),
        )
    with pytest.raises(InvalidInputError, match="no modality to train"):
        Aligner().fit_joint({}, space=SpaceId("s"))
