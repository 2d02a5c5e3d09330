import dataclasses

import numpy as np
import pytest

from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head, fuse
from unibind.errors import InvalidInputError
from unibind.types import SpaceId


@pytest.fixture
def head(draw):
    return Head(
        weight=draw(6, 4),
        bias=draw(4),
        mean=draw(6),
        scale=np.linspace(0.5, 2, 6, dtype=np.float32),
        space=SpaceId("s"),
        encoder="e",
        prior_weight=0.7,
        references=draw(3, 4),
    )


def test_an_item_is_standardised_mapped_and_scaled_to_length_one(head, draw):
    inputs = draw(5, 6)
    for row, item in zip(head.project(inputs), inputs, strict=True):
        z = [(item[f] - head.mean[f]) / head.scale[f] for f in range(6)]
        mapped = [sum(z[f] * head.weight[f, d] for f in range(6)) + head.bias[d] for d in range(4)]
        np.testing.assert_allclose(row, np.array(mapped) / np.linalg.norm(mapped), atol=1e-5)


def test_the_prior_is_added_with_its_weight_and_the_sum_scaled(head, draw):
    inputs, prior = draw(5, 6), draw(5, 4)
    expected = unit(head.project(inputs) + 0.7 * prior)
    np.testing.assert_allclose(head.embed(inputs, prior), expected, atol=1e-6)


def test_without_a_prior_the_head_speaks_alone(head, draw):
    inputs = draw(5, 6)
    np.testing.assert_array_equal(head.embed(inputs), head.project(inputs))
    alone = head.without_prior()
    np.testing.assert_array_equal(alone.embed(inputs, draw(5, 4)), head.project(inputs))
    assert alone.references.shape == (0, 4)
    assert head.prior_weight == 0.7


def test_a_prior_of_weight_zero_changes_nothing(draw):
    projected = draw(3, 4)
    assert fuse(projected, draw(3, 4), 0.0) is projected
    assert fuse(projected, None, 2.0) is projected


def test_no_items_have_no_embeddings(head):
    assert head.embed(np.zeros((0, 6), dtype=np.float32)).shape == (0, 4)


def test_inputs_of_another_width_or_not_finite_are_refused(head):
    with pytest.raises(InvalidInputError, match=r"features have shape \(2, 5\), \(N, 6\)"):
        head.project(np.zeros((2, 5)))
    with pytest.raises(InvalidInputError, match="1 of 2 features are NaN"):
        head.embed(np.array([[0.0] * 6, [np.inf] * 6]))


def test_a_head_is_frozen(head):
    with pytest.raises(dataclasses.FrozenInstanceError):
        head.temperature = 1.0
