import numpy as np
import pytest

from unibind.errors import InvalidInputError
from unibind.testing import FakeEncoder, check_encoder

ITEMS = ["one", "two", "three"]


class Broken(FakeEncoder):
    """An honest encoder whose features a fault has gone through."""

    def __init__(self, fault) -> None:
        super().__init__(8)
        self.fault = fault

    def encode(self, items):
        return self.fault(super().encode(items), items)


def nan_in(features, items):
    features[:1] = np.nan
    return features


def drift():
    generator = np.random.default_rng(0)
    return lambda features, items: features + np.float32(generator.uniform())


def reused():
    buffer = np.zeros((3, 8), dtype=np.float32)

    def fault(features, items):
        buffer[: len(features)] = features
        return buffer[: len(features)]

    return fault


def no_empty_batch(features, items):
    return features if len(items) else np.zeros((0,), dtype=np.float32)


FAULTS = {
    "one row too few": (lambda f, i: f[:-1], "returned shape (2, 8) for 3 items, dim is 8"),
    "too narrow": (lambda f, i: f[:, :4], "returned shape (3, 4) for 3 items, dim is 8"),
    "flat": (lambda f, i: f.ravel(), "returned shape (24,)"),
    "a list": (lambda f, i: f.tolist(), "encode returned list, a numpy array was needed"),
    "float64": (lambda f, i: f.astype(np.float64), "encode returned float64, float32"),
    "nan": (nan_in, "NaN or inf"),
    "inf": (lambda f, i: f / np.float32(0), "NaN or inf"),
    "nothing for nothing": (no_empty_batch, "encode([]) must have shape (0, dim)"),
    "blind": (lambda f, i: f * 0 + 1, "different items got the same feature"),
    "drifts": (drift(), "a second encode of the same items differs"),
    "normalised by batch": (
        lambda f, i: f - f.mean(axis=0) if len(f) > 1 else f,
        "an item alone and in a batch differ",
    ),
    "by position": (
        lambda f, i: f * np.linspace(1, 2, max(1, len(f)), dtype=np.float32)[: len(f), None],
        "differ",
    ),
    "remembers the last": (
        lambda f, i: f + np.float32(len(i) > 1 and i[0] == "three"),
        "the order of the items matters",
    ),
    "a buffer used again": (reused(), "wrote to an array that it had returned before"),
}


@pytest.mark.filterwarnings("ignore:divide by zero|invalid value")
@pytest.mark.parametrize("fault", FAULTS)
def test_an_encoder_with_a_fault_is_caught(fault):
    break_it, said = FAULTS[fault]
    with pytest.raises(AssertionError) as caught:
        check_encoder(Broken(break_it), ITEMS)
    assert said in str(caught.value)


def altered(**attributes) -> FakeEncoder:
    encoder = FakeEncoder(8)
    for name, value in attributes.items():
        setattr(encoder, name, value)
    return encoder


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"modality": "image"}, "must be a unibind.types.Modality"),
        ({"dim": 8.0}, "dim must be a positive int"),
        ({"dim": 0}, "dim must be a positive int"),
        ({"fingerprint": ""}, "fingerprint must be a non-empty str"),
        ({"fingerprint": 5}, "fingerprint must be a non-empty str"),
    ],
)
def test_an_attribute_that_is_not_as_promised_is_caught(attributes, said):
    with pytest.raises(AssertionError, match=said):
        check_encoder(altered(**attributes), ITEMS)


def test_an_encoder_that_lacks_an_attribute_is_caught():
    encoder = FakeEncoder()
    del encoder.fingerprint
    with pytest.raises(AssertionError, match="this has not all of them"):
        check_encoder(encoder, ITEMS)


class Restless(FakeEncoder):
    """Its features stay, its fingerprint does not."""

    def encode(self, items):
        self.fingerprint += "0"
        return FakeEncoder(self.dim).encode(items)


def test_a_fingerprint_that_changes_is_caught():
    with pytest.raises(AssertionError, match="the fingerprint changed between calls"):
        check_encoder(Restless(), ITEMS)


class Lax(FakeEncoder):
    """Takes anything for an item."""

    def encode(self, items):
        return super().encode([str(item) for item in items])


def test_an_encoder_that_takes_anything_is_caught():
    with pytest.raises(AssertionError, match=r"took an object\(\) for an item"):
        check_encoder(Lax(), ITEMS)


def test_an_honest_encoder_passes():
    check_encoder(FakeEncoder(), ITEMS)
    check_encoder(FakeEncoder(3, seed=5), ITEMS[:2])


def test_a_check_needs_two_items():
    with pytest.raises(AssertionError, match="needs two items or more, got 1"):
        check_encoder(FakeEncoder(), ITEMS[:1])


def test_the_fake_gives_equal_items_equal_features_and_others_nearly_orthogonal_ones():
    encoder = FakeEncoder(4000)
    features = encoder.encode(["a", "b", "a"])
    np.testing.assert_array_equal(features[0], features[2])
    cosine = features[0] @ features[1] / np.linalg.norm(features[0]) / np.linalg.norm(features[1])
    assert abs(cosine) < 0.1
    np.testing.assert_array_equal(FakeEncoder(4000).encode(["a"])[0], features[0])


def test_another_seed_or_width_is_another_encoder():
    encoders = [FakeEncoder(8), FakeEncoder(8, seed=1), FakeEncoder(9)]
    assert len({encoder.fingerprint for encoder in encoders}) == 3
    assert not np.array_equal(encoders[0].encode(["a"]), encoders[1].encode(["a"]))


def test_the_fake_reads_and_accepts_text_only():
    modality = FakeEncoder().modality
    assert modality.read("ü".encode()) == modality.accept("ü") == "ü"
    with pytest.raises(InvalidInputError, match="not UTF-8 text"):
        modality.read(b"\xff")
    with pytest.raises(InvalidInputError, match="a str was needed, got int"):
        FakeEncoder().encode([5])
