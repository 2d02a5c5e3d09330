from itertools import product
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unibind.alignment.attributes import ClassAttributes
from unibind.errors import InvalidInputError
from unibind.knowledge.base import KnowledgeBase
from unibind.knowledge.values import AttributeRanges

SIZES = ["height_m", "length_m", "width_m"]


def base_of(**ranges: dict[str, tuple[float, float]]) -> KnowledgeBase:
    attributes = tuple(AttributeRanges(name, "scan", each) for name, each in ranges.items() if each)
    return KnowledgeBase("test", tuple(ranges), (), attributes=attributes)


@pytest.fixture
def furniture() -> ClassAttributes:
    base = base_of(
        chair={"height_m": (0.78, 1.05), "width_m": (0.4, 0.55), "fill": (0.1, 0.3)},
        wardrobe={"height_m": (1.8, 2.4), "width_m": (0.5, 0.65), "fill": (0.85, 1.0)},
        stool={"height_m": (0.4, 0.75), "width_m": (0.3, 0.45)},
    )
    return ClassAttributes.of(base, "scan", attributes=["height_m", "width_m", "fill"])


def by_a_slow_loop(ranges: ClassAttributes, measured: np.ndarray) -> np.ndarray:
    """Return log likelihood ratios written out from the definition, shape (N, C)."""
    n_classes, n_attributes = ranges.centers.shape
    answer = np.zeros((len(measured), n_classes))

    def bell(x: float, middle: float, spread: float) -> float:
        return exp(-((x - middle) ** 2) / (2 * spread**2)) / spread

    for n, a in product(range(len(measured)), range(n_attributes)):
        value = measured[n, a]
        if np.isnan(value):
            continue
        x = log(value) if ranges.attributes[a].scale == "log" else value
        known = [c for c in range(n_classes) if np.isfinite(ranges.centers[c, a])]
        middles = [ranges.centers[c, a] for c in known]
        wide = 3 * sqrt(np.var(middles) + np.mean([ranges.spreads[c, a] ** 2 for c in known]))
        density = {
            c: 0.98 * bell(x, ranges.centers[c, a], ranges.spreads[c, a])
            + 0.02 * bell(x, float(np.mean(middles)), wide)
            for c in known
        }
        typical = np.mean(list(density.values()))
        for c in range(n_classes):
            anything = bell(x, float(np.mean(middles)), wide)
            answer[n, c] += log(density.get(c, anything) / typical)
    return answer


def test_the_likelihood_is_the_one_of_its_definition(furniture):
    measured = np.array([[0.9, 0.45, 0.2], [2.0, np.nan, 0.9], [0.5, 3.0, 0.5]], np.float32)
    assert furniture.log_likelihood(measured) == pytest.approx(
        by_a_slow_loop(furniture, measured), abs=1e-4
    )


def test_each_class_explains_its_own_typical_item_best(furniture):
    typical = np.array([[0.91, 0.47, 0.2], [2.1, 0.57, 0.92], [0.55, 0.37, np.nan]], np.float32)
    assert furniture.log_likelihood(typical).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_range_holds_four_of_five_of_its_bell():
    ranges = ClassAttributes.of(base_of(chair={"height_m": (0.5, 2.0)}), "scan")
    drawn = np.random.default_rng(0).normal(ranges.centers[0, 0], ranges.spreads[0, 0], 20_000)
    assert np.mean((drawn > log(0.5)) & (drawn < log(2.0))) == pytest.approx(0.8, abs=0.01)


def test_what_was_not_measured_says_nothing(furniture):
    nothing = np.full((2, 3), np.nan, np.float32)
    assert (furniture.log_likelihood(nothing) == 0).all()


def test_a_class_without_ranges_may_show_anything():
    base = base_of(chair={"height_m": (0.8, 1.0)}, wardrobe={"height_m": (1.8, 2.4)}, cloud={})
    ranges = ClassAttributes.of(
        base, "scan", classes=["cloud", "chair", "wardrobe"], attributes=["height_m"]
    )
    cloud, chair, wardrobe = ranges.log_likelihood(np.array([[0.9]], np.float32))[0]
    assert chair > 0 > cloud > wardrobe


def test_more_classes_without_ranges_change_nothing_between_those_that_have_some():
    few = base_of(chair={"height_m": (0.8, 1.0)}, wardrobe={"height_m": (1.8, 2.4)})
    ranges = ClassAttributes.of(few, "scan", attributes=["height_m"])
    names = ["chair", "wardrobe", *map(str, range(50))]
    many = ClassAttributes.of(few, "scan", classes=names, attributes=["height_m"])
    measured = np.array([[0.9], [2.0]], np.float32)
    assert (many.log_likelihood(measured)[:, :2] == ranges.log_likelihood(measured)).all()


@given(st.floats(1e-6, 1e6))
def test_one_wild_measurement_never_outweighs_the_surprise_that_is_allowed_for(value):
    base = base_of(chair={"height_m": (0.8, 1.0)}, stool={"height_m": (0.4, 0.7)})
    ranges = ClassAttributes.of(base, "scan", attributes=["height_m"])
    told = ranges.log_likelihood(np.array([[value]], np.float32))[0]
    assert np.isfinite(told).all()
    assert told.max() <= log(2) + 1e-5


def test_what_astonishes_every_class_alike_decides_nothing(furniture):
    told = furniture.log_likelihood(np.array([[1000.0, np.nan, np.nan]], np.float32))
    assert np.abs(told).max() < 1e-3


def test_zero_has_no_logarithm_and_counts_as_not_measured(furniture):
    told = furniture.log_likelihood(np.array([[0.0, -1.0, 0.2]], np.float32))
    alone = furniture.log_likelihood(np.array([[np.nan, np.nan, 0.2]], np.float32))
    assert (told == alone).all()


def test_many_items_are_measured_in_blocks_with_the_same_answer(furniture, monkeypatch):
    measured = np.random.default_rng(0).uniform(0.1, 2, (50, 3)).astype(np.float32)
    whole = furniture.log_likelihood(measured)
    monkeypatch.setattr("unibind.alignment.attributes._MAX_NUMBERS", 20)
    assert (furniture.log_likelihood(measured) == whole).all()


def test_reasons_name_value_and_expectation_in_the_unit_loudest_first(furniture):
    reasons = furniture.reasons(np.array([0.9, 0.45, np.nan], np.float32), "chair")
    assert [reason.source for reason in reasons] == ["measurement", "measurement"]
    texts = [reason.text for reason in reasons]
    assert "height 0.9 m (expected 0.78 to 1.05)" in texts
    assert sum(abs(reason.share) for reason in reasons) == pytest.approx(1)
    assert abs(reasons[0].share) >= abs(reasons[1].share)


def test_a_measurement_that_speaks_against_a_class_has_a_negative_share(furniture):
    (first, *_) = furniture.reasons(np.array([0.9, np.nan, np.nan], np.float32), "wardrobe")
    assert first.share < 0


def test_permuted_ranges_are_the_same_ones_at_other_classes(furniture):
    permuted = furniture.permuted(np.random.default_rng(1))
    assert permuted.labels == furniture.labels
    assert sorted(permuted.centers[:, 0].tolist()) == sorted(furniture.centers[:, 0].tolist())


def test_permuting_moves_no_ranges_to_classes_that_have_none():
    base = base_of(chair={"height_m": (0.8, 1.0)}, wardrobe={"height_m": (1.8, 2.4)}, cloud={})
    ranges = ClassAttributes.of(base, "scan", classes=["cloud", "chair", "wardrobe"])
    for seed in range(5):
        assert np.isnan(ranges.permuted(np.random.default_rng(seed)).centers[0]).all()


def test_an_unknown_sensor_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"no sensor 'nose'; there are scan"):
        ClassAttributes.of(base_of(chair={"height_m": (1, 2)}), "nose")


def test_an_unknown_attribute_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"scan measures no 'smell'; it measures height_m"):
        ClassAttributes.of(base_of(chair={"height_m": (1, 2)}), "scan", attributes=["smell"])


def test_classes_without_any_range_are_refused_with_the_remedy():
    with pytest.raises(InvalidInputError, match=r"none of 1 classes has .* knowledge measure"):
        ClassAttributes.of(base_of(chair={"height_m": (1, 2)}), "scan", classes=["cloud"])


def test_measurements_of_another_width_are_refused(furniture):
    with pytest.raises(InvalidInputError, match=r"shape \(2, 5\), \(N, 3\) was needed"):
        furniture.log_likelihood(np.zeros((2, 5), np.float32))


def test_reasons_for_an_unknown_class_are_refused(furniture):
    with pytest.raises(InvalidInputError, match="no class 'sofa' among 3"):
        furniture.reasons(np.zeros(3, np.float32), "sofa")
