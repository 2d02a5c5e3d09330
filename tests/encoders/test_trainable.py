import numpy as np
import pytest
import torch

from unibind.encoders.cnn_1d import MAX_STEPS, Cnn1d
from unibind.encoders.pointnet import N_POINTS, PointNet
from unibind.encoders.registry import open_encoder
from unibind.encoders.trainable import Preparing, TrainableEncoder, hash_of
from unibind.errors import ArtifactError, InvalidInputError, SpaceMismatchError
from unibind.modalities import pointcloud, timeseries
from unibind.protocols import Encoder, NetworkDesign
from unibind.testing import check_encoder
from unibind.types import SpaceId

SPACE = SpaceId("a space")


def recording(seed, n_channels=2, n_steps=60):
    values = np.random.default_rng(seed).standard_normal((n_channels, n_steps))
    return timeseries.accept(values, rate_hz=10, axis="channel,time")


def cloud(seed, n_points=300):
    return pointcloud.accept(np.random.default_rng(seed).standard_normal((n_points, 3)))


def trained(design, seed=0):
    state = design.network(seed).state_dict()
    return TrainableEncoder(design, {name: each.numpy() for name, each in state.items()})


ITEMS = {
    "cnn-1d": lambda: [recording(0), recording(1, 9, 3000), recording(2, 1, 8)],
    "pointnet": lambda: [cloud(0), cloud(1, 5000), cloud(2, 2)],
}
DESIGNS = {"cnn-1d": Cnn1d, "pointnet": PointNet}


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_declared_as_an_encoder_that_has_to_be_trained(name):
    encoder = open_encoder(name)
    assert isinstance(encoder, TrainableEncoder)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder.design, NetworkDesign)
    assert not encoder.is_trained
    with pytest.raises(InvalidInputError, match=r"not trained yet.*unibind align --modality"):
        encoder.encode(ITEMS[name]())


@pytest.mark.parametrize("name", DESIGNS)
def test_with_weights_it_keeps_the_promises_of_an_encoder(name):
    check_encoder(trained(DESIGNS[name]()), ITEMS[name]())


@pytest.mark.parametrize("name", DESIGNS)
def test_weights_come_back_as_they_were_saved(name, tmp_path):
    encoder = trained(DESIGNS[name]())
    encoder.save(tmp_path / "w", space=SPACE, params={"n_epochs": 3})
    again = TrainableEncoder(DESIGNS[name]()).opened(tmp_path / "w")
    assert again.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(again.encode(ITEMS[name]()), encoder.encode(ITEMS[name]()))


def test_other_weights_are_another_encoder():
    prints = {trained(Cnn1d(), seed).fingerprint for seed in (0, 1)} | {
        TrainableEncoder(Cnn1d()).fingerprint
    }
    assert len(prints) == 3


def test_the_hash_of_weights_tells_name_shape_and_value_apart():
    ones = {"a": np.ones((2, 3), "f")}
    hashes = {
        hash_of(each) for each in (ones, {"b": ones["a"]}, {"a": ones["a"].T}, {"a": 2 * ones["a"]})
    }
    assert len(hashes) == 4


def test_where_nothing_was_trained_it_stays_untrained(tmp_path):
    assert not TrainableEncoder(Cnn1d()).opened(tmp_path / "nothing").is_trained


def test_weights_of_another_design_or_damaged_ones_are_refused(tmp_path):
    trained(PointNet()).save(tmp_path / "w", space=SPACE, params={})
    with pytest.raises(SpaceMismatchError, match="train again"):
        TrainableEncoder(Cnn1d()).opened(tmp_path / "w")
    file = tmp_path / "w" / "network.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="hash differs"):
        TrainableEncoder(PointNet()).opened(tmp_path / "w")


@pytest.mark.parametrize("name", DESIGNS)
def test_what_was_augmented_is_of_the_same_kind_and_by_the_generator_alone(name):
    design = DESIGNS[name]()
    batch = torch.from_numpy(design.prepare(ITEMS[name]()))
    first, again, other = (
        design.augment(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.nan_to_num(), again.nan_to_num())
    assert not torch.equal(first.nan_to_num(), other.nan_to_num())
    assert design.network(0)(first).isfinite().all()


def test_preparing_lets_the_pipeline_read_items():
    check_encoder(Preparing(PointNet()), [cloud(0), cloud(1)])


def test_a_network_over_time_does_not_notice_padding():
    network = Cnn1d().network(0).eval()
    short = Cnn1d().prepare([recording(0, 2, 50)])
    beside_a_long_one = Cnn1d().prepare([recording(0, 2, 50), recording(1, 2, 700)])
    with torch.inference_mode():
        alone = network(torch.from_numpy(short))[0]
        padded = network(torch.from_numpy(beside_a_long_one))[0]
    torch.testing.assert_close(alone, padded, rtol=1e-4, atol=1e-5)


def test_a_network_over_time_tells_strengths_and_channels_apart():
    encoder = trained(Cnn1d())
    item = recording(0, 2, 80)
    louder = timeseries.accept(item.values * 10, rate_hz=10)
    turned = timeseries.accept(item.values[::-1].copy(), rate_hz=10)
    features = encoder.encode([item, louder, turned])
    assert np.abs(features[0] - features[1]).max() > 0.05
    assert np.abs(features[0] - features[2]).max() > 0.05


def test_a_long_recording_is_shrunk_by_means():
    ramp = np.arange(3.0 * MAX_STEPS)
    prepared = Cnn1d().prepare([timeseries.accept(ramp, rate_hz=1)])
    expected = ramp.reshape(-1, 3).mean(axis=1) - ramp.mean()
    np.testing.assert_allclose(prepared[0, 0], expected, rtol=1e-4)
    assert np.isnan(prepared[0, 1:]).all()


def test_a_network_over_points_does_not_notice_their_order_number_size_or_place():
    network = PointNet().network(0).eval()
    points = torch.randn(1, 200, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shuffled = network(points[:, torch.randperm(200)])
        torch.testing.assert_close(network(points), shuffled, rtol=1e-4, atol=1e-5)
    raw = np.random.default_rng(0).standard_normal((N_POINTS, 3)).astype(np.float32)
    here, there = PointNet().prepare([pointcloud.accept(each) for each in (raw, 7 * raw + 3)])
    np.testing.assert_allclose(here, there, atol=1e-4)
    assert np.linalg.norm(here, axis=1).max() == pytest.approx(1, abs=1e-5)
