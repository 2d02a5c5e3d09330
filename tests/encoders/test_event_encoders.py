"""On simulated events: no recording of a real event camera can be had."""

import numpy as np
import pytest

from unibind.encoders import efficientnet_lite, event_pictures
from unibind.encoders.event_histograms import histogram
from unibind.encoders.registry import open_encoder
from unibind.errors import InvalidInputError
from unibind.modalities.event import accept, counts, polarity_picture, time_surface
from unibind.modalities.event_simulation import simulate_saccades
from unibind.protocols import LabelledEncoder, PicturingEncoder
from unibind.testing import check_encoder


@pytest.fixture(scope="module")
def recordings():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 12, 10), dtype=np.uint8)
    return [simulate_saccades(picture) for picture in pictures]


def test_event_pictures_is_a_true_encoder(recordings):
    encoder = open_encoder("event-pictures")
    check_encoder(encoder, recordings)
    assert isinstance(encoder, PicturingEncoder)
    assert isinstance(encoder, LabelledEncoder)


def test_event_histograms_is_a_true_encoder(recordings):
    encoder = open_encoder("event-histograms")
    check_encoder(encoder, recordings)
    assert not isinstance(encoder, PicturingEncoder)


def test_the_tower_sees_the_surface_and_the_first_third(recordings):
    surface, first = event_pictures.pictures_of(recordings[0])
    faded, fresh = time_surface(recordings[0])
    darker, brighter = counts(recordings[0], 3)[0]
    np.testing.assert_array_equal(surface, polarity_picture(fresh - faded))
    np.testing.assert_array_equal(first, polarity_picture(brighter - darker))
    expected = efficientnet_lite.load().encode([surface, first]).mean(axis=0)
    np.testing.assert_allclose(event_pictures.load().encode(recordings[:1])[0], expected, atol=1e-4)


def test_histograms_follow_the_features_of_the_tower(recordings):
    features = open_encoder("event-histograms").encode(recordings)
    np.testing.assert_array_equal(
        features[:, :1280], open_encoder("event-pictures").encode(recordings)
    )
    np.testing.assert_array_equal(features[:, 1280:], [histogram(each) for each in recordings])


def test_a_histogram_is_what_a_loop_counts(recordings):
    events = recordings[0]
    expected = np.zeros((3, 2, 16, 16))
    for t, x, y, p in zip(events.t_s, events.x, events.y, events.polarity, strict=True):
        span = min(int(t / events.t_s[-1] * 3), 2)
        expected[span, int(p), int(y) * 16 // 12, int(x) * 16 // 10] += 1 / len(events.t_s)
    np.testing.assert_allclose(histogram(events), np.sqrt(expected).ravel(), rtol=1e-5)
    assert (histogram(events) ** 2).sum() == pytest.approx(1, rel=1e-5)


def test_a_histogram_does_not_depend_on_length_or_number():
    columns = {"x": [0, 1, 1, 3], "y": [0, 0, 2, 3], "p": [0, 1, 1, 0]}
    once = accept({"t_s": [0.0, 0.1, 0.6, 1.0], **columns}, width=4, height=4)
    twice = {name: np.repeat(values, 2) for name, values in columns.items()}
    slower = accept({"t_s": np.repeat([0.0, 1, 6, 10], 2), **twice}, width=4, height=4)
    np.testing.assert_allclose(histogram(once), histogram(slower), rtol=1e-6)


@pytest.mark.parametrize("name", ["event-pictures", "event-histograms"])
def test_what_is_no_recording_is_refused(name):
    with pytest.raises(InvalidInputError, match="events were needed"):
        open_encoder(name).encode(["events.npy"])
