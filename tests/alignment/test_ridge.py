import numpy as np
import pytest

from unibind.alignment.ridge import RidgePath
from unibind.errors import InvalidInputError

SHAPES = pytest.mark.parametrize("shape", [(30, 6), (9, 25), (12, 12), (2, 5)])


def draw(shape: tuple[int, int], *, dim: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=shape) * generator.uniform(0.1, 10, shape[1]) + 5
    return inputs.astype(np.float32), generator.normal(size=(shape[0], dim)).astype(np.float32)


def standardised(path: RidgePath, inputs: np.ndarray) -> np.ndarray:
    return ((inputs - path.mean) / path.scale).astype(np.float64)


def penalty_of(path: RidgePath, inputs: np.ndarray, strength: float) -> float:
    """Return the strength times the mean diagonal of Z Z^T."""
    z = standardised(path, inputs)
    return strength * float(np.mean([row @ row for row in z]))


def fit_slowly(z: np.ndarray, targets: np.ndarray, penalty: float) -> tuple:
    """Return weight and bias by the normal equations, the bias as a column that is not shrunk."""
    design = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    shrunk = penalty * np.eye(design.shape[1])
    shrunk[-1, -1] = 0
    solution = np.linalg.solve(design.T @ design + shrunk, design.T @ targets.astype(np.float64))
    return solution[:-1], solution[-1]


@SHAPES
@pytest.mark.parametrize("strength", [0.01, 1.0, 10.0])
def test_the_solution_is_that_of_the_normal_equations(shape, strength):
    inputs, targets = draw(shape)
    path = RidgePath.of(inputs)
    weight, bias = path.towards(targets).solve(strength)
    expected, expected_bias = fit_slowly(
        standardised(path, inputs), targets, penalty_of(path, inputs, strength)
    )
    np.testing.assert_allclose(weight, expected, atol=1e-5)
    np.testing.assert_allclose(bias, expected_bias, atol=1e-5)


@SHAPES
@pytest.mark.parametrize("strength", [0.1, 3.0])
def test_left_out_predictions_are_those_of_a_fit_without_the_fold(shape, strength):
    inputs, targets = draw(shape)
    path = RidgePath.of(inputs)
    z, penalty = standardised(path, inputs), penalty_of(path, inputs, strength)
    rows = np.random.default_rng(3).permutation(len(inputs))
    folds = np.array_split(rows, 2 if len(rows) < 5 else 4)
    predicted = path.towards(targets).left_out(strength, folds)
    for fold in folds:
        others = np.setdiff1d(rows, fold)
        weight, bias = fit_slowly(z[others], targets[others], penalty)
        np.testing.assert_allclose(predicted[fold], z[fold] @ weight + bias, atol=1e-4)


@SHAPES
def test_rows_left_out_one_by_one_are_predicted_without_themselves(shape):
    inputs, targets = draw(shape)
    path = RidgePath.of(inputs)
    z, penalty = standardised(path, inputs), penalty_of(path, inputs, 1.0)
    folds = [np.array([row]) for row in range(len(inputs))]
    predicted = path.towards(targets).left_out(1.0, folds)
    for row in range(len(inputs)):
        weight, bias = fit_slowly(np.delete(z, row, 0), np.delete(targets, row, 0), penalty)
        np.testing.assert_allclose(predicted[row], z[row] @ weight + bias, atol=1e-4)


def test_a_row_in_no_fold_has_no_prediction():
    inputs, targets = draw((20, 5))
    predicted = RidgePath.of(inputs).towards(targets).left_out(0.5, [np.array([3, 4])])
    assert np.isfinite(predicted[3:5]).all()
    assert np.isnan(np.delete(predicted, [3, 4], axis=0)).all()


def test_no_strength_at_all_interpolates_and_a_huge_one_gives_the_mean():
    inputs, targets = draw((6, 20))
    path = RidgePath.of(inputs)
    z = standardised(path, inputs)
    weight, bias = path.towards(targets).solve(1e-9)
    np.testing.assert_allclose(z @ weight + bias, targets, atol=1e-3)
    weight, bias = path.towards(targets).solve(1e9)
    np.testing.assert_allclose(
        z @ weight + bias, targets.mean(axis=0)[None].repeat(6, 0), atol=1e-5
    )


@SHAPES
@pytest.mark.parametrize("factor", [1e-12, 1e-3, 1e6])
def test_the_units_of_the_inputs_do_not_matter(shape, factor):
    inputs, targets = draw(shape)
    one, other = RidgePath.of(inputs), RidgePath.of(inputs * np.float32(factor))
    for strength in (0.1, 1.0):
        np.testing.assert_allclose(
            one.towards(targets).solve(strength)[0],
            other.towards(targets).solve(strength)[0],
            atol=1e-3,
        )


def test_inputs_that_come_twice_share_their_weight():
    inputs, targets = draw((15, 6))
    weight, bias = RidgePath.of(inputs).towards(targets).solve(0.7)
    twice, twice_bias = (
        RidgePath.of(np.concatenate([inputs, inputs], axis=1)).towards(targets).solve(0.7)
    )
    np.testing.assert_allclose(twice, np.concatenate([weight, weight]) / 2, atol=1e-5)
    np.testing.assert_allclose(twice_bias, bias, atol=1e-6)


def test_rows_that_come_twice_halve_the_strength():
    inputs, targets = draw((15, 6))
    weight, _ = RidgePath.of(inputs).towards(targets).solve(0.35)
    path = RidgePath.of(np.concatenate([inputs, inputs]))
    twice, _ = path.towards(np.concatenate([targets, targets])).solve(0.7)
    np.testing.assert_allclose(twice, weight, atol=1e-5)


def test_constant_inputs_have_no_say():
    inputs, targets = draw((40, 5))
    constant = np.full((40, 2), 0.1, dtype=np.float32)
    constant[:, 1] = 1e6
    weight, _ = RidgePath.of(inputs).towards(targets).solve(1.0)
    path = RidgePath.of(np.concatenate([inputs, constant], axis=1))
    with_constant, _ = path.towards(targets).solve(1.0)
    np.testing.assert_allclose(with_constant[:5], weight, atol=1e-5)
    # Were they to vary after all, they must not blow up.
    assert np.abs(with_constant[5:] / path.scale[5:, None]).max() < 1e-5


def test_many_rows_far_from_zero_lose_no_digits():
    generator = np.random.default_rng(0)
    inputs = (1000 + generator.normal(size=(50_000, 2))).astype(np.float32)
    path = RidgePath.of(inputs)
    exact = inputs.astype(np.float64)
    np.testing.assert_allclose(path.mean, exact.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(path.scale, exact.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("n", [2, 7, 1000])
def test_equal_rows_are_refused(n):
    row = np.random.default_rng(0).normal(size=(1, 30)).astype(np.float32)
    with pytest.raises(InvalidInputError, match="all training features are equal"):
        RidgePath.of(row.repeat(n, axis=0))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_refused(n):
    with pytest.raises(InvalidInputError, match=f"{n} training items; a head needs at least two"):
        RidgePath.of(np.ones((n, 3), dtype=np.float32))


@pytest.mark.parametrize("strength", [0.0, -1.0, float("nan")])
def test_a_strength_that_is_not_above_zero_is_refused(strength):
    inputs, targets = draw((5, 3))
    path = RidgePath.of(inputs)
    with pytest.raises(InvalidInputError, match="it must be above 0"):
        path.towards(targets).solve(strength)
    with pytest.raises(InvalidInputError, match="it must be above 0"):
        path.towards(targets).left_out(strength, [np.array([0])])


def test_a_fold_of_all_rows_is_refused():
    inputs, targets = draw((5, 3))
    with pytest.raises(InvalidInputError, match="a fold of all 5 rows leaves none to fit"):
        RidgePath.of(inputs).towards(targets).left_out(1.0, [np.arange(5)])
