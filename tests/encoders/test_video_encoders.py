import numpy as np
import pytest

from unibind.encoders import efficientnet_lite, video_frames, video_motion
from unibind.encoders.registry import open_encoder
from unibind.encoders.video_motion import N_ENERGIES, attention_mean, frame_energies
from unibind.errors import InvalidInputError, PluginError
from unibind.modalities.video import accept
from unibind.protocols import LabelledEncoder, PicturingEncoder
from unibind.testing import check_encoder


@pytest.fixture(scope="module")
def tower():
    return efficientnet_lite.load()


@pytest.fixture(scope="module")
def clips():
    generator = np.random.default_rng(0)
    lengths = (1, 2, 3)
    return [
        accept(generator.integers(0, 256, (n, 30, 40, 3), dtype=np.uint8), frames_per_s=10)
        for n in lengths
    ]


def test_video_frames_is_a_true_encoder(clips):
    check_encoder(open_encoder("video-frames"), clips)


def test_video_motion_is_a_true_encoder(clips):
    check_encoder(open_encoder("video-motion"), clips)


def test_a_clip_is_the_mean_of_its_frames_to_the_image_tower(tower, clips):
    encoder = video_frames.load()
    expected = [tower.encode(list(clip.frames)).mean(axis=0) for clip in clips]
    np.testing.assert_allclose(encoder.encode(clips), expected, atol=1e-4)
    assert isinstance(encoder, PicturingEncoder)
    assert encoder.image_tower == tower.fingerprint
    assert isinstance(encoder, LabelledEncoder)
    assert encoder.labels == tower.labels
    features = encoder.encode(clips)
    np.testing.assert_array_equal(encoder.logits(features), tower.logits(features))


def test_a_tower_that_is_none_is_an_error():
    with pytest.raises(PluginError, match="no encoder is called 'no-such-tower'"):
        open_encoder("video-frames:no-such-tower")


def test_motion_features_hold_mean_attention_change_and_energies_in_turn(tower, clips):
    encoder = video_motion.load()
    features = encoder.encode(clips)
    assert features.shape == (3, 3 * 1280 + N_ENERGIES)
    frames = tower.encode(list(clips[2].frames))
    np.testing.assert_allclose(features[2, :1280], frames.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(features[2, 1280:2560], attention_mean(frames), atol=1e-4)
    change = (np.abs(frames[1] - frames[0]) + np.abs(frames[2] - frames[1])) / 2
    np.testing.assert_allclose(features[2, 2560:3840], change, atol=1e-4)
    np.testing.assert_array_equal(features[2, 3840:], frame_energies(clips[2]))
    assert (features[0, 2560:] == 0).all()  # one frame does not change
    assert not isinstance(encoder, LabelledEncoder)
    assert not isinstance(encoder, PicturingEncoder)


def test_attention_leaves_out_a_frame_unlike_the_others():
    like = np.tile([1.0, 1.0, 0.0], (5, 1)) + np.random.default_rng(0).normal(0, 0.01, (5, 3))
    odd = np.array([[0.0, 0.0, 1.0]])
    features = np.concatenate([like, odd]).astype(np.float32)
    assert attention_mean(features)[2] < 0.01 < features.mean(axis=0)[2]
    np.testing.assert_allclose(attention_mean(features[:1]), features[0], rtol=1e-6)


def test_energies_say_where_it_moves():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    frames[1, :8, 24:] = 255  # the upper right cell flashes
    energies = frame_energies(accept(frames, frames_per_s=1))
    grid = energies[:16].reshape(4, 4)
    assert grid[0, 3] == pytest.approx(1)
    assert grid.sum() == pytest.approx(1)
    assert energies[16:] == pytest.approx([1 / 16, 0, 1 / 16])


@pytest.mark.parametrize("name", ["video-frames", "video-motion"])
def test_what_is_no_clip_is_refused(name):
    with pytest.raises(InvalidInputError, match="a video was needed"):
        open_encoder(name).encode(["film.mp4"])
