import numpy as np
import pytest

from unibind.alignment.calibration import Calibration, calibrate, regime_of
from unibind.errors import InvalidInputError


def drawn(temperature: float, doubt: float, *, n: int = 4000, seed: int = 0):
    """Return scores and right classes that were drawn with these probabilities."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(scale=0.3, size=(n, 6)).astype(np.float32)
    shares = Calibration(temperature, doubt).probabilities(scores)
    right = [generator.choice(6, p=row / row.sum()) for row in shares.astype(np.float64)]
    return scores, np.array(right)


@pytest.mark.parametrize(("temperature", "doubt"), [(0.05, 0.0), (0.1, 0.2), (0.2, 0.05)])
def test_the_planted_calibration_is_found(temperature, doubt):
    found = calibrate([drawn(temperature, doubt)])
    assert found.temperature == pytest.approx(temperature, rel=0.2)
    assert found.doubt == pytest.approx(doubt, abs=0.051)


def test_lists_of_different_length_are_weighed_together():
    scores, right = drawn(0.1, 0.0)
    few = scores[:, :3][right < 3], right[right < 3]
    assert calibrate([(scores, right), few]).temperature == pytest.approx(0.1, rel=0.2)


def test_probabilities_are_the_softmax_mixed_with_even_shares():
    scores = np.array([[0.3, 0.1, -0.2]], dtype=np.float32)
    powers = np.exp(scores[0] / 0.2)
    expected = 0.7 * powers / powers.sum() + 0.3 / 3
    np.testing.assert_allclose(Calibration(0.2, 0.3).probabilities(scores)[0], expected, rtol=1e-5)


def test_without_an_item_nothing_is_calibrated():
    assert calibrate([]) is None
    assert calibrate([(np.zeros((0, 3), np.float32), np.zeros(0, dtype=int))]) is None


def test_the_regime_is_what_was_trained_on():
    assert regime_of(np.array([True, True])) == "seen"
    assert regime_of(np.array([True, False])) == "mixed"
    assert regime_of(np.array([False, False])) == "unseen"


@pytest.mark.parametrize(
    ("temperature", "doubt"), [(0.0, 0.0), (-1.0, 0.0), (0.1, 1.0), (0.1, -0.1)]
)
def test_calibrations_that_make_no_sense_are_refused(temperature, doubt):
    with pytest.raises(InvalidInputError, match="above 0"):
        Calibration(temperature, doubt)
