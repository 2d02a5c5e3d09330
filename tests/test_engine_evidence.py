"""Sentences through a head, the semantic prior and measurements: each alone, and any together."""

import numpy as np
import pytest

import unibind
from unibind.alignment.aligner import Aligner
from unibind.alignment.attributes import MEASURED_WEIGHT, ClassAttributes
from unibind.alignment.geometry import unit
from unibind.alignment.targets import Targets
from unibind.engine.measuring import Measured
from unibind.errors import InvalidInputError
from unibind.knowledge.base import open_base

CLASSES = ("chair", "wardrobe", "table", "ladder")


def pictures(n: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, size=(n, 4, 4, 3), dtype=np.uint8)
    return [each.repeat(16, axis=0).repeat(16, axis=1) for each in small]


@pytest.fixture(scope="module")
def measured() -> Measured:
    """Sizes of three things, one of them without a width, one of them not measured at all."""
    ranges = ClassAttributes.of(
        open_base("everyday"), "scan", classes=CLASSES, attributes=["height_m", "width_m"]
    )
    values = np.array([[0.9, 0.5], [2.1, np.nan], [np.nan, np.nan]], dtype=np.float32)
    return Measured(CLASSES, ((ranges, values),), np.arange(3), ())


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    """Engines with a head alone, with the prior alone, and with both."""
    folder = tmp_path_factory.mktemp("evidence")
    opened = {}
    for parts, weight in (("head", 0.0), ("prior", None), ("head, prior", 0.7)):
        engine = opened[parts] = unibind.open(folder / parts.replace(", ", "-") / "mini")
        if weight is not None:
            targets = Targets.from_labels(CLASSES * 3, engine.centers(classes=CLASSES))
            aligner = Aligner(strength=1.0, prior_weight=weight, n_folds=2)
            engine.align("image", pictures(12, 0), targets, aligner=aligner)
    yield opened
    for engine in opened.values():
        engine.close()


def scores_of(engine, embeddings, measured):
    told = engine.decide("image", embeddings, engine.centers(classes=CLASSES), measured=measured)
    for each in told:
        assert sum(one.probability for one in each) == pytest.approx(1, abs=1e-5)
    by_label = [{one.label: one.score for one in each} for each in told]
    return np.array([[each[name] for name in CLASSES] for each in by_label])


@pytest.mark.parametrize("parts", ["head", "prior", "head, prior"])
def test_measurements_are_added_to_whatever_leads_into_the_space(spaces, measured, parts):
    engine = spaces[parts]
    embeddings = engine.embed("image", pictures(3, 1))
    alone, both = (scores_of(engine, embeddings, each) for each in (None, measured))
    head = engine.head("image")
    weight = MEASURED_WEIGHT * 0.14 if head is None else head.measured_weight * head.temperature
    np.testing.assert_allclose(both - alone, weight * measured.log_likelihood(), atol=1e-5)
    assert np.abs(both - alone)[:2].max() > 0.01
    np.testing.assert_array_equal(both[2], alone[2])  # nothing was measured there


def test_measurements_alone_are_the_same_whatever_the_space_has(spaces, measured):
    for engine in spaces.values():
        alone = scores_of(engine, None, measured)
        np.testing.assert_allclose(alone, measured.log_likelihood(), atol=1e-6)


def test_a_head_and_the_prior_are_each_used_alone_and_together(spaces):
    items = pictures(3, 4)
    found = {parts: engine.embed("image", items) for parts, engine in spaces.items()}
    assert spaces["prior"].head("image") is None
    prior = spaces["prior"].prior("image")
    features = spaces["prior"].encode("image", items).features
    np.testing.assert_allclose(found["prior"], prior.embed(features), atol=1e-5)
    for parts, weight in (("head", 0.0), ("head, prior", 0.7)):
        head = spaces[parts].head("image")
        assert head.prior_weight == weight
        inputs = (spaces[parts].senses.head_inputs("image", features) - head.mean) / head.scale
        expected = unit(unit(inputs @ head.weight + head.bias) + weight * prior.embed(features))
        np.testing.assert_allclose(found[parts], unit(expected - head.offset), atol=1e-4)


def test_examples_lead_where_neither_head_nor_prior_does(tmp_path):
    """Sounds: no head was trained, and their encoder never learned names."""
    generator = np.random.default_rng(0)

    def sound(kind: str) -> tuple[np.ndarray, int]:
        t = np.arange(0, 1, 1 / 16_000)
        tone = np.sin(2 * np.pi * generator.uniform(700, 900) * t)
        hiss = generator.normal(size=len(t)) * np.exp(-4 * t)
        return (0.3 * (tone if kind == "a wug" else hiss)).astype(np.float32), 16_000

    names = ["a wug", "a blorp"]
    with unibind.open(tmp_path / "mini") as engine:
        asked = [sound(name) for name in names * 3]
        with pytest.raises(InvalidInputError, match=r"no head yet.*`unibind teach FILE.*everyday"):
            engine.classify("audio", asked, classes=names)
        engine.teach("audio", [sound(name) for name in names * 3], names * 3)
        told = engine.classify("audio", asked, classes=[*names, "a dax"], explain=True)
        assert [each[0].label for each in told] == names * 3
        assert {reason.source for each in told[0] for reason in each.reasons} == {"example"}
        with pytest.raises(InvalidInputError, match="no head yet"):
            engine.embed("audio", asked)
