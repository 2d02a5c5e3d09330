"""The conformance check of an encoder, and an encoder for tests that need none in particular."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from unibind.errors import InvalidInputError
from unibind.protocols import Encoder
from unibind.types import FloatArray, Modality

__all__ = ["FakeEncoder", "check_encoder"]


def check_encoder(encoder: Encoder, items: Sequence[Any]) -> None:
    """Check that an encoder keeps the promises that the engine and its caches rely on.

    Args:
        encoder: The encoder.
        items: At least two items of its modality that differ from each other.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    assert len(items) >= 2, f"check_encoder needs two items or more, got {len(items)}"
    assert isinstance(encoder, Encoder), (
        "an encoder has modality, dim, fingerprint and encode; this has not all of them"
    )
    assert isinstance(encoder.modality, Modality), (
        "encoder.modality must be a unibind.types.Modality"
    )
    assert isinstance(encoder.dim, int) and encoder.dim > 0, "encoder.dim must be a positive int"
    fingerprint = encoder.fingerprint
    assert isinstance(fingerprint, str) and fingerprint, (
        "encoder.fingerprint must be a non-empty str"
    )
    returned = encoder.encode(items)
    assert isinstance(returned, np.ndarray), (
        f"encode returned {type(returned).__name__}, a numpy array was needed"
    )
    assert returned.shape == (len(items), encoder.dim), (
        f"encode returned shape {returned.shape} for {len(items)} items, dim is {encoder.dim}"
    )
    assert returned.dtype == np.float32, f"encode returned {returned.dtype}, float32 was needed"
    assert np.isfinite(returned).all(), "encode returned NaN or inf"
    assert encoder.encode([]).shape == (0, encoder.dim), "encode([]) must have shape (0, dim)"
    assert np.ptp(returned, axis=0).max() > 0, "different items got the same feature"
    features = returned.copy()
    np.testing.assert_array_equal(
        encoder.encode(items), features, err_msg="a second encode of the same items differs"
    )
    _check_batches(encoder, items, features)
    np.testing.assert_array_equal(
        returned, features, err_msg="encode wrote to an array that it had returned before"
    )
    _check_refusal(encoder)
    assert encoder.fingerprint == fingerprint, "the fingerprint changed between calls"


def _check_batches(encoder: Encoder, items: Sequence[Any], features: FloatArray) -> None:
    scale = float(np.abs(features).max())
    for item, feature in zip(items, features, strict=True):
        alone = encoder.encode([item])[0]
        # A batch may round differently, not more than that.
        np.testing.assert_allclose(
            alone, feature, atol=1e-3 * scale, err_msg="an item alone and in a batch differ"
        )
    turned = encoder.encode(list(reversed(items)))[::-1]
    np.testing.assert_allclose(
        turned, features, atol=1e-3 * scale, err_msg="the order of the items matters"
    )


def _check_refusal(encoder: Encoder) -> None:
    try:
        encoder.encode([object()])
    except InvalidInputError:
        return
    raise AssertionError("encode took an object() for an item; it must raise InvalidInputError")


def _read_utf8(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"not UTF-8 text ({error}); save the file as UTF-8") from error


def _accept_str(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"a str was needed, got {type(value).__name__}")
    return value


class FakeEncoder:
    """A deterministic encoder of strings: each item's feature is drawn from its own hash.

    Equal items get equal features, different ones nearly orthogonal ones, so a test knows the
    answer of a search without weights or training.

    Args:
        dim: Width of the features.
        seed: Another seed is another encoder, with another fingerprint.
    """

    def __init__(self, dim: int = 32, *, seed: int = 0) -> None:
        self.modality = Modality("fake", "a str", _read_utf8, _accept_str, (".fake",))
        self.dim = dim
        self.fingerprint = hashlib.sha256(f"fake {dim} {seed}".encode()).hexdigest()

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the features, shape (N, dim), of strings.

        Raises:
            InvalidInputError: An item is not a str.
        """
        features = np.zeros((len(items), self.dim), dtype=np.float32)
        for row, item in enumerate(items):
            digest = hashlib.sha256(f"{self.fingerprint}{_accept_str(item)}".encode()).digest()
            generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            features[row] = generator.standard_normal(self.dim, dtype=np.float32)
        return features
