"""The sound tower with its real weights: equal to torch, and to the front end's definition."""

import numpy as np
import pytest
import torch

from unibind import weights
from unibind.encoders import aisfx
from unibind.encoders.aisfx import MAX_WINDOWS, WINDOW, log_mel, windows_of
from unibind.encoders.networks.aisfx import Aisfx as Network
from unibind.encoders.networks.aisfx import ConvBlock
from unibind.encoders.registry import open_encoder
from unibind.testing import check_encoder


@pytest.fixture(scope="module")
def tower():
    weights.fetch("aisfx")
    return open_encoder("aisfx")


@pytest.fixture(scope="module")
def network():
    return aisfx._network(weights.fetch("aisfx") / "checkpoint.pth")


def tone(duration_s=1.0, rate_hz=44100, hertz=440.0):
    seconds = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hertz * seconds)).astype(np.float32), rate_hz


def test_it_keeps_the_promises_of_an_encoder(tower):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16000).astype(np.float32)
    check_encoder(tower, [tone(0.01), tone(1, 8000), tone(4), (noise, 16000)])
    assert tower.dim == 512


def test_the_exported_network_agrees_with_torch(tower, network):
    samples, rate_hz = tone(4)
    with torch.inference_mode():
        expected = network(torch.from_numpy(windows_of(log_mel(samples)))).numpy().mean(axis=0)
    np.testing.assert_allclose(tower.encode([(samples, rate_hz)])[0], expected, atol=1e-4)


def test_silence_has_a_feature(tower):
    assert np.isfinite(tower.encode([(np.zeros(8000, np.float32), 8000)])).all()


def test_the_rate_of_a_file_hardly_matters(tower):
    first, other, lower = tower.encode([tone(2), tone(2, 22050), tone(2, hertz=880)])
    assert np.linalg.norm(first - other) < 0.3 * np.linalg.norm(first - lower)


def test_the_log_mel_is_that_of_its_definition():
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 5000).astype(np.float32)
    ours = log_mel(samples)
    assert ours.shape == (1 + 5000 // 1024, 96)
    padded = np.concatenate([np.zeros(1024), samples, np.zeros(1024)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2047)  # symmetric
    power = np.abs(np.fft.rfft(padded[2 * 1024 : 2 * 1024 + 2048] * window)) ** 2
    mel = 2595 * np.log10(1 + np.arange(1025) * 44100 / 2048 / 700)
    edges = np.linspace(0, mel[-1], 98)
    for band in (0, 1, 40, 95):
        low, middle, high = edges[band : band + 3]
        weight = np.interp(mel, [low, middle, high], [0, 1, 0])
        expected = np.log10(1 + 1e4 * (weight @ power) / weight.sum()) / 9.457798957824707
        assert ours[2, band] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("n_frames", "starts"),
    [
        (1, [0]),
        (100, [0]),
        (101, [0, 1]),
        (150, [0, 50]),
        (200, [0, 50, 100]),
        (210, [0, 37, 73, 110]),
    ],
)
def test_windows_cover_a_sound_to_its_end(n_frames, starts):
    mel = np.arange(1, n_frames + 1, dtype=np.float32)[:, None] * np.ones((1, 96), np.float32)
    windows = windows_of(mel)
    assert windows.shape == (len(starts), WINDOW, 96)
    assert [int(window[0, 0]) - 1 for window in windows] == starts
    assert windows.max() == n_frames
    assert (windows == 0).any() == (n_frames < WINDOW)  # silence after a short sound


def test_a_long_sound_is_looked_at_in_a_bounded_number_of_windows():
    windows = windows_of(np.zeros((26_000, 96), np.float32))
    assert len(windows) == MAX_WINDOWS


def test_a_checkpoint_of_another_network_is_refused(network):
    state = {f"embedding_net.{name}": value for name, value in network.state_dict().items()}
    del state["embedding_net.conv_block2.bn1.weight"]
    with pytest.raises(RuntimeError, match=r"conv_block2\.bn1\.weight"):
        Network(state)


def test_a_block_is_two_convolutions_and_a_maximum():
    torch.manual_seed(0)
    block = ConvBlock(1, 2, pool=2).eval()
    planes = torch.rand(1, 1, 6, 4)
    inner = torch.relu(block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(planes))))))
    expected = inner.reshape(1, 2, 3, 2, 2, 2).amax(dim=(3, 5))
    torch.testing.assert_close(block(planes), expected)
    torch.testing.assert_close(ConvBlock(1, 2, pool=1).eval()(planes).shape, inner.shape)
