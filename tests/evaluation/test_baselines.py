import numpy as np
import pytest
from PIL import Image, ImageDraw

from unibind.errors import InvalidInputError
from unibind.evaluation.baselines import RawPixels, linear_probe, picture_hashes
from unibind.evaluation.captions import NEAR_BITS
from unibind.testing import check_encoder


def drawing(seed: int, side: int) -> np.ndarray:
    """A picture of ten ellipses, the same at any size."""
    generator = np.random.default_rng(seed)
    sheet = Image.new("RGB", (512, 512), "white")
    pen = ImageDraw.Draw(sheet)
    for _ in range(10):
        x, y, w, h = generator.integers(0, 300, 4)
        colour = tuple(int(c) for c in generator.integers(0, 256, 3))
        pen.ellipse((x, y, x + w + 20, y + h + 20), fill=colour)
    return np.asarray(sheet.resize((side, side), Image.Resampling.LANCZOS))


def distance(one: np.ndarray, other: np.ndarray) -> int:
    hashes = picture_hashes(RawPixels().encode([one, other]))
    return int((hashes[0] != hashes[1]).sum())


def test_raw_pixels_keep_the_promises_of_an_encoder():
    check_encoder(RawPixels(), [drawing(seed, 40 + seed) for seed in range(4)])


def test_raw_pixels_are_means_over_a_grid_in_0_to_1():
    picture = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    means = picture.reshape(16, 4, 16, 2, 3).mean(axis=(1, 3)) / 255
    found = RawPixels().encode([picture]).reshape(16, 16, 3)
    np.testing.assert_allclose(found, means, atol=1 / 255)


def test_raw_pixels_refuse_what_is_no_picture():
    with pytest.raises(InvalidInputError, match="float"):
        RawPixels().encode([np.full((4, 4, 3), 7.0)])


def test_a_hash_bit_tells_whether_the_picture_grows_brighter():
    pixels = np.random.default_rng(1).random((3, RawPixels.dim), dtype=np.float32)
    hashes = picture_hashes(pixels)
    assert hashes.shape == (3, 240)
    grey = pixels.reshape(3, 16, 16, 3).mean(axis=3)
    for n in range(3):
        for y in range(16):
            for x in range(15):
                step = grey[n, y, x + 1] - grey[n, y, x]
                if abs(step) > 0.01:  # less is flat
                    assert hashes[n, y * 15 + x] == (step > 0)


@pytest.mark.parametrize("seed", range(10))
def test_one_drawing_at_two_sizes_is_near_itself(seed):
    assert distance(drawing(seed, 512), drawing(seed, 100)) <= NEAR_BITS


def test_a_little_noise_and_another_brightness_leave_a_drawing_near_itself():
    noise = np.random.default_rng(0).integers(-3, 4, (200, 200, 3))
    for seed in range(10):
        dimmed = drawing(seed, 200) * 0.8 + 20
        noisy = np.clip(dimmed + noise, 0, 255).astype(np.uint8)
        assert distance(drawing(seed, 200), noisy) <= NEAR_BITS


def test_different_drawings_are_far_from_each_other():
    hashes = picture_hashes(RawPixels().encode([drawing(seed, 100) for seed in range(20)]))
    distances = (hashes[:, None] != hashes[None]).sum(axis=2)
    assert distances[np.triu_indices(20, 1)].min() > NEAR_BITS


@pytest.fixture
def planted():
    """Three clouds of items, standardised."""
    generator = np.random.default_rng(2)
    labels = np.arange(90) % 3
    features = generator.normal(size=(3, 8))[labels] * 2 + generator.normal(size=(90, 8))
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return features.astype(np.float32), labels


def test_a_linear_probe_tells_planted_classes_apart(planted):
    features, labels = planted
    weight, bias = linear_probe(features, labels, n_classes=3)
    assert ((features @ weight + bias).argmax(axis=1) == labels).mean() > 0.95


@pytest.mark.parametrize("decay", [1e-2, 1.0])
def test_a_linear_probe_stands_where_the_gradient_is_zero(planted, decay):
    features, labels = planted
    weight, bias = linear_probe(features, labels, n_classes=3, decay=decay)
    powers = np.exp(features.astype(np.float64) @ weight + bias)
    errors = powers / powers.sum(axis=1, keepdims=True) - np.eye(3)[labels]
    np.testing.assert_allclose(features.T @ errors / 90 + decay * weight, 0, atol=1e-4)
    np.testing.assert_allclose(errors.mean(axis=0), 0, atol=1e-4)


def test_a_class_without_items_is_never_the_answer(planted):
    features, labels = planted
    weight, bias = linear_probe(features, labels, n_classes=4)
    assert not ((features @ weight + bias).argmax(axis=1) == 3).any()
