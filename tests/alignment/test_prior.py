import numpy as np
import pytest

from unibind.alignment.geometry import unit
from unibind.alignment.heads import head_inputs
from unibind.alignment.prior import SemanticPrior, posterior
from unibind.errors import InvalidInputError
from unibind.testing import FakeEncoder


class Classifier(FakeEncoder):
    """A fake encoder that also names: its logits are its features."""

    def __init__(self, dim: int = 9) -> None:
        super().__init__(dim)
        self.labels = [f"name {n}" for n in range(dim)]
        self.label_texts = [[name] for name in self.labels]

    def logits(self, features):
        return 4 * features


@pytest.fixture
def encoder():
    return Classifier()


@pytest.fixture
def features(encoder):
    return encoder.encode([f"item {n}" for n in range(6)])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_posterior_is_the_tempered_softmax(encoder, features, temperature):
    beliefs = posterior(encoder, features, temperature=temperature)
    for row, feature in zip(beliefs, features, strict=True):
        powers = [np.exp(4 * float(x) / temperature) for x in feature]
        np.testing.assert_allclose(row, np.array(powers) / sum(powers), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("top", [1, 4, 9, 50])
def test_an_item_lies_at_the_mean_of_what_it_may_be(encoder, features, draw, top):
    vectors = draw(9, 5)
    centred = [row - vectors.mean(axis=0) for row in vectors]
    centred = [row / np.linalg.norm(row) for row in centred]
    embedded = SemanticPrior(encoder, vectors, temperature=1.5, top=top).embed(features)
    for row, feature in zip(embedded, features, strict=True):
        believed = sorted(range(9), key=lambda c: -feature[c])[:top]
        total = sum(np.exp(4 * float(feature[c]) / 1.5) * centred[c] for c in believed)
        np.testing.assert_allclose(row, total / np.linalg.norm(total), atol=1e-4)


def test_a_sure_classifier_puts_an_item_at_its_own_name(encoder, draw):
    vectors = draw(9, 30)
    sure = 100 * np.eye(9, dtype=np.float32)
    embedded = SemanticPrior(encoder, vectors).embed(sure)
    np.testing.assert_allclose(embedded, unit(vectors - vectors.mean(axis=0)), atol=1e-5)


def test_between_two_names_lies_what_is_like_both(encoder, draw):
    vectors = draw(9, 300)  # nearly orthogonal
    torn = np.full((1, 9), -100, dtype=np.float32)
    torn[0, [2, 5]] = 100
    scores = SemanticPrior(encoder, vectors).embed(torn)[0] @ vectors.T
    assert set(np.argsort(-scores)[:2]) == {2, 5}
    assert scores[2] == pytest.approx(scores[5], abs=0.15)


def test_no_items_have_no_embeddings(encoder, draw):
    none = np.zeros((0, 9), dtype=np.float32)
    assert SemanticPrior(encoder, draw(9, 5)).embed(none).shape == (0, 5)


def test_vectors_that_do_not_fit_the_names_are_refused(encoder, draw):
    with pytest.raises(InvalidInputError, match="8 class vectors for an encoder of 9 classes"):
        SemanticPrior(encoder, draw(8, 5))


@pytest.mark.parametrize("odd", [{"temperature": 0.0}, {"temperature": -1.0}, {"top": 0}])
def test_numbers_that_make_no_sense_are_refused(encoder, draw, odd):
    with pytest.raises(InvalidInputError, match="both must be above 0"):
        SemanticPrior(encoder, draw(9, 5), **odd)


def test_a_head_reads_features_and_the_root_of_beliefs(encoder, features):
    inputs = head_inputs(encoder, features)
    assert inputs.shape == (6, 18)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[:, :9], features)
    beliefs = posterior(encoder, features, temperature=2.0)
    np.testing.assert_allclose(inputs[:, 9:] ** 2, beliefs, atol=1e-6)
    # Inner products of the roots are Bhattacharyya coefficients: 1 with oneself.
    np.testing.assert_allclose((inputs[:, 9:] ** 2).sum(axis=1), 1, atol=1e-5)


def test_a_head_reads_the_features_alone_of_an_encoder_that_names_nothing():
    encoder = FakeEncoder(7)
    features = encoder.encode(["a", "b"])
    assert head_inputs(encoder, features) is features
