import numpy as np
import pytest
import torch
from PIL import Image

from unibind import weights
from unibind.encoders.efficientnet_lite import CROP, SIDE, plain_ground, preprocess
from unibind.encoders.networks.efficientnet_lite import EfficientNetLite0, MBConv
from unibind.errors import InvalidInputError
from unibind.modalities.image import IMAGE
from unibind.protocols import LabelledEncoder
from unibind.testing import check_encoder

# Photographs cut out on white, and what ImageNet calls them.
KNOWN = {
    "hen": "hen",
    "rooster": "rooster",
    "camel": "arabian camel",
    "edward_bear": "teddy bear",
}


@pytest.fixture(scope="module")
def state():
    file = weights.fetch("efficientnet-lite0") / "efficientnet-lite0.pth"
    return torch.load(file, weights_only=True)


def pictures(n=5, seed=0):
    generator = np.random.default_rng(seed)
    sizes = [(240, 320), (50, 40), (1, 1), (900, 20), (300, 300)]
    return [generator.integers(0, 256, (*sizes[i % 5], 3), dtype=np.uint8) for i in range(n)]


def test_it_keeps_the_promises_of_an_encoder(image_tower):
    check_encoder(image_tower, pictures())
    assert isinstance(image_tower, LabelledEncoder)
    assert image_tower.dim == 1280
    assert len(image_tower.labels) == len(set(image_tower.labels)) == 1000


def test_the_exported_network_agrees_with_torch(image_tower, state):
    network = EfficientNetLite0(state)
    items = pictures()
    pixels = torch.from_numpy(np.stack([preprocess(item) for item in items]))
    with torch.inference_mode():
        features = network.trunk(pixels).numpy()
        logits = network(pixels).numpy()
    ours = image_tower.encode(items)
    np.testing.assert_allclose(ours, features, atol=1e-4)
    np.testing.assert_allclose(image_tower.logits(ours), logits, atol=1e-4)


def test_known_photographs_get_their_names(image_tower, stamps):
    paths = {item.path.stem: item.path for item in stamps.items if item.path.suffix == ".png"}
    items = [IMAGE.read(paths[stem].read_bytes()) for stem in KNOWN]
    best = image_tower.logits(image_tower.encode(items)).argmax(axis=1)
    assert [image_tower.labels[index] for index in best] == list(KNOWN.values())


def test_logits_of_no_features_are_empty(image_tower):
    assert image_tower.logits(np.zeros((0, 1280), np.float32)).shape == (0, 1000)


def test_what_is_no_picture_is_refused(image_tower):
    with pytest.raises(InvalidInputError, match="int64"):
        image_tower.encode([np.zeros((4, 4, 3), np.int64)])


@pytest.mark.parametrize("size", [(256, 256), (300, 500), (500, 300)])
def test_a_photographs_square_is_what_a_resize_and_a_crop_give(size):
    # On a picture of low frequencies: resized to 256 on the shorter side, the middle 224 cut out.
    height, width = size
    coarse = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    scale = SIDE / CROP / min(size)
    large = picture.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    left, top = (large.width - SIDE) / 2, (large.height - SIDE) / 2
    cut = np.asarray(large.crop((left, top, left + SIDE, top + SIDE)), dtype=int)
    square = preprocess(np.asarray(picture))
    assert square.shape == (SIDE, SIDE, 3)
    assert np.abs(square - cut).max() <= 6
    assert np.abs(square - cut).mean() < 0.6


@pytest.mark.parametrize(("height", "width"), [(100, 300), (300, 100), (600, 600)])
def test_a_thing_on_a_plain_ground_is_shown_whole(height, width):
    pixels = np.full((height, width, 3), (250, 240, 230), np.uint8)
    pixels[1 : height // 2, 1:-1] = (200, 10, 20)
    square = preprocess(pixels)
    scale = SIDE / max(height, width)
    top = round((SIDE - height * scale) / 2)
    middle = SIDE // 2
    np.testing.assert_array_equal(square[top + 6, middle], (200, 10, 20))
    np.testing.assert_array_equal(square[middle + 6, middle], (250, 240, 230))
    # Seen whole: the thing covers its share of the square.
    is_thing = square[:, :, 1] < 120
    expected = (height // 2 - 1) * (width - 2) * scale**2
    assert is_thing.sum() == pytest.approx(expected, rel=0.03)


def test_a_ground_is_the_colour_of_most_of_the_border():
    pixels = pictures(1)[0]
    assert plain_ground(pixels) is None
    pixels[[0, -1]] = (9, 8, 7)
    assert plain_ground(pixels) == (9, 8, 7)
    pixels[0, : pixels.shape[1] // 2] = 100
    assert plain_ground(pixels) is None


def test_pixels_are_scaled_as_the_weights_were_trained(state):
    network = EfficientNetLite0(state)
    pixels = torch.from_numpy(np.stack([preprocess(item) for item in pictures(2)]))
    seen = []
    network.trunk._conv_stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(pixels)
    expected = (pixels.numpy().astype(np.float64) - 127) / 128
    np.testing.assert_allclose(seen[0].numpy(), expected.transpose(0, 3, 1, 2), atol=1e-6)


def slow_mbconv(planes, block, stride):
    """MBConv from its definition: plain loops, padding as TensorFlow's SAME."""

    def normed(values, bn):
        shift = (values - bn.running_mean) / (bn.running_var + 1e-3) ** 0.5
        return shift * bn.weight + bn.bias

    def relu6(values):
        return values.clip(0, 6)

    height, width, _ = planes.shape
    inner = planes
    if block._expand_conv is not None:
        inner = relu6(normed(inner @ block._expand_conv.weight[:, :, 0, 0].T, block._bn0))
    filters = block._depthwise_conv.weight[:, 0]
    kernel = filters.shape[1]
    n_rows, n_columns = -(-height // stride), -(-width // stride)
    top = max((n_rows - 1) * stride + kernel - height, 0) // 2
    left = max((n_columns - 1) * stride + kernel - width, 0) // 2
    filtered = torch.zeros(n_rows, n_columns, inner.shape[2])
    for row in range(n_rows):
        for column in range(n_columns):
            for dy in range(kernel):
                for dx in range(kernel):
                    y, x = row * stride + dy - top, column * stride + dx - left
                    if 0 <= y < height and 0 <= x < width:
                        filtered[row, column] += inner[y, x] * filters[:, dy, dx]
    narrow = relu6(normed(filtered, block._bn1)) @ block._project_conv.weight[:, :, 0, 0].T
    narrow = normed(narrow, block._bn2)
    return planes + narrow if stride == 1 and planes.shape[2] == narrow.shape[2] else narrow


@pytest.mark.parametrize(
    ("n_in", "n_out", "kernel", "stride", "expansion"),
    [(4, 4, 3, 1, 6), (4, 6, 5, 1, 6), (4, 6, 3, 2, 6), (4, 6, 5, 2, 6), (4, 3, 3, 1, 1)],
)
def test_a_block_is_what_slow_loops_give(n_in, n_out, kernel, stride, expansion):
    torch.manual_seed(0)
    block = MBConv(n_in, n_out, kernel=kernel, stride=stride, expansion=expansion).eval()
    for bn in (module for module in block.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2)
    planes = torch.randn(8, 6, n_in)  # (H, W, C)
    with torch.inference_mode():
        quick = block(planes.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        slow = slow_mbconv(planes, block, stride)
    assert quick.shape == slow.shape
    torch.testing.assert_close(quick, slow, atol=1e-5, rtol=1e-5)


def test_weights_of_another_network_are_refused(state):
    other = {name: value for name, value in state.items() if "_blocks.3" not in name}
    with pytest.raises(RuntimeError, match="Missing key"):
        EfficientNetLite0(other)
