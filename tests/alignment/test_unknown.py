import numpy as np
import pytest

from unibind.alignment.aligner import Aligner
from unibind.alignment.centers import ClassCenters
from unibind.alignment.decision import seen_among
from unibind.alignment.targets import Targets
from unibind.alignment.unknown import SAME, outside
from unibind.errors import InvalidInputError
from unibind.types import SpaceId


@pytest.fixture
def planted(plant):
    return plant(n_classes=60, n_items=6, dim=16, width=24, noise=1.5)


@pytest.fixture
def head(planted):
    known = planted.of(planted.centers.labels[:40])
    targets = Targets.from_labels(known.labels, known.centers)
    return Aligner().fit(known.features, targets, space=SpaceId("s"), encoder="e")


def ask(planted, head, labels, *, false_alarms: float = 0.05, others=None):
    """Return what is said of all items, and which of them are of a listed class."""
    chosen = [planted.centers.labels.index(label) for label in labels]
    centers = ClassCenters(tuple(labels), planted.centers.vectors[chosen], SpaceId("s"))
    found = outside(
        head.embed(planted.features),
        centers,
        head,
        is_seen=seen_among(labels, head.seen),
        false_alarms=false_alarms,
        others=others,
    )
    return found, np.isin(planted.labels, labels)


@pytest.mark.parametrize("chosen", [slice(0, 20), slice(45, 60), slice(30, 50)])
def test_items_of_other_classes_lie_farther_outside(planted, head, chosen):
    found, listed = ask(planted, head, planted.centers.labels[chosen])
    wins = (found.odds[~listed][:, None] > found.odds[listed][None]).mean()  # the AUROC
    assert wins > 0.8
    assert found.is_unknown[~listed].mean() > 2 * found.is_unknown[listed].mean()


@pytest.mark.parametrize("false_alarms", [0.02, 0.1, 0.3])
def test_no_more_items_of_listed_classes_are_called_unknown_than_was_said(
    planted, head, false_alarms
):
    for chosen in (slice(0, 20), slice(45, 60)):
        labels = planted.centers.labels[chosen]
        found, listed = ask(planted, head, labels, false_alarms=false_alarms)
        n = int(listed.sum())
        assert found.is_unknown[listed].mean() <= false_alarms + 3 * np.sqrt(0.25 / n)


def test_more_false_alarms_lower_the_threshold_and_belief_follows_the_odds(planted, head):
    labels = planted.centers.labels[:10]
    strict, loose = (ask(planted, head, labels, false_alarms=share)[0] for share in (0.01, 0.3))
    assert loose.threshold < strict.threshold
    np.testing.assert_array_equal(strict.odds, loose.odds)
    assert (np.diff(strict.belief[np.argsort(strict.odds)]) >= 0).all()
    assert ((strict.belief >= 0) & (strict.belief <= 1)).all()


def test_further_things_can_be_meant_where_all_that_was_trained_is_listed(planted, head):
    labels = planted.centers.labels[:40]
    with pytest.raises(InvalidInputError, match="trained on 0 things that are not listed"):
        ask(planted, head, labels)
    others = planted.centers.vectors[40:, 0]
    found, listed = ask(planted, head, labels, others=others)
    assert np.median(found.odds[~listed]) > np.median(found.odds[listed])


def test_a_listed_class_in_other_words_is_no_alternative(planted, head):
    labels = planted.centers.labels[:10]
    plain, _ = ask(planted, head, labels)
    nearly = planted.centers.vectors[:10, 0]
    assert (nearly @ nearly.T).diagonal().min() > SAME
    centers = ClassCenters(tuple(labels), planted.centers.vectors[:10], SpaceId("s"))
    again, _ = ask(planted, head, labels, others=centers.points())
    np.testing.assert_allclose(again.odds, plain.odds, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_of_false_alarms_lies_between_nothing_and_all(planted, head, share):
    with pytest.raises(InvalidInputError, match=r"a share in \(0, 1\) was needed"):
        ask(planted, head, planted.centers.labels[:10], false_alarms=share)
