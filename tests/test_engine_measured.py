"""Measured attributes through the engine: real recordings of wrists, no training at all."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import unibind
from unibind import datasets
from unibind.engine.measuring import measurable, measure
from unibind.errors import InvalidInputError
from unibind.knowledge.base import KnowledgeBase, open_base

ACTIVITIES = ("standing", "walking", "running", "playing badminton")


@pytest.fixture(scope="module")
def recordings() -> datasets.Dataset:
    return datasets.fetch("basic-motions")


@pytest.fixture(scope="module")
def everyday() -> KnowledgeBase:
    return open_base("everyday")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with unibind.open(tmp_path_factory.mktemp("space") / "mini") as opened:
        yield opened


def test_recordings_are_recognised_by_what_is_measured_without_any_training(
    engine, recordings, everyday
):
    items = [item.path for item in recordings.items]
    ranked = engine.classify(
        "timeseries", items, classes=ACTIVITIES, knowledge=everyday, evidence=("attributes",)
    )
    right = [
        predictions[0].label == item.label
        for predictions, item in zip(ranked, recordings.items, strict=True)
    ]
    assert np.mean(right) >= 0.80  # chance 0.25
    assert all(sum(each.probability for each in one) == pytest.approx(1) for one in ranked)


def test_permuted_ranges_recognise_nothing(recordings, everyday):
    items = [item.path for item in recordings.items]
    measured = measure("timeseries", items, everyday, classes=ACTIVITIES)
    labels = np.array([ACTIVITIES.index(item.label) for item in recordings.items])
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        told = [each.permuted(rng).log_likelihood(values) for each, values in measured.readings]
        shares.append(np.mean(np.sum(told, axis=0).argmax(axis=1) == labels))
    assert np.mean(shares) == pytest.approx(0.25, abs=0.12)


def test_without_a_head_measurements_speak_alone_and_need_no_asking(engine, recordings, everyday):
    path = next(item.path for item in recordings.items if item.label == "running")
    asked = {"classes": ACTIVITIES, "knowledge": everyday}
    by_default = engine.classify("timeseries", [path], **asked)
    alone = engine.classify("timeseries", [path], evidence=("attributes",), **asked)
    assert by_default == alone
    assert by_default[0][0].label == "running"


def test_a_recording_without_units_is_not_measured_and_the_remedy_is_named(
    engine, everyday, tmp_path
):
    bare = tmp_path / "bare.npy"
    np.save(bare, np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32))
    with pytest.raises(InvalidInputError, match=r"say what the files do not \(options\)"):
        engine.classify(
            "timeseries",
            [bare],
            classes=ACTIVITIES,
            knowledge=everyday,
            evidence=("attributes",),
            options={"rate_hz": 10, "axis": "time,channel"},
        )


def test_only_known_evidence_is_taken(engine, everyday):
    with pytest.raises(InvalidInputError, match=r"any of space, attributes was needed"):
        engine.classify("image", [b""], knowledge=everyday, evidence=("smell",))


def test_one_bad_recording_is_set_apart(engine, recordings, everyday, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    good = [item.path for item in recordings.items][:2]
    outcome = engine.classify_each(
        "timeseries",
        [good[0], empty, good[1]],
        classes=ACTIVITIES,
        knowledge=everyday,
        evidence=("attributes",),
    )
    assert outcome.rows.tolist() == [0, 2]
    assert [failure.row for failure in outcome.failures] == [1]
    assert len(outcome.predictions) == 2


def test_names_alone_have_no_ranges_to_measure_against(engine, recordings):
    with pytest.raises(InvalidInputError, match="give knowledge=NAME of a base with ranges"):
        engine.classify(
            "timeseries",
            [recordings.items[0].path],
            classes=list(ACTIVITIES),
            evidence=("attributes",),
        )


def test_each_installed_instrument_is_listed_by_its_modality():
    assert Counter(measurable())["timeseries"] == 1


def test_a_knowledge_base_may_be_given_by_its_folder(engine, recordings, tmp_path: Path):
    ranked = engine.classify(
        "timeseries",
        [recordings.items[0].path],
        classes=ACTIVITIES,
        knowledge="everyday",
        evidence=("attributes",),
        top=1,
    )
    assert len(ranked[0]) == 1
