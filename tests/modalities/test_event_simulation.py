import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.errors import InvalidInputError
from unibind.modalities.event import accept, counts
from unibind.modalities.event_simulation import (
    DARK,
    SACCADE_S,
    simulate_from_clip,
    simulate_from_frames,
    simulate_saccades,
)
from unibind.modalities.video import accept as accept_clip


def slow(frames, times_s, threshold):
    """Return (t, x, y, polarity) pixel by pixel and crossing by crossing."""
    light = np.log(DARK + (frames / 255.0).astype(np.float32).astype(np.float64))
    found = []
    for y in range(frames.shape[1]):
        for x in range(frames.shape[2]):
            level = light[0, y, x]
            for k in range(1, len(frames)):
                before, now = light[k - 1, y, x], light[k, y, x]
                while abs(now - level) >= threshold * (1 - 1e-9):
                    level += threshold if now > level else -threshold
                    share = min(max((level - before) / (now - before), 0), 1)
                    t = times_s[k - 1] + share * (times_s[k] - times_s[k - 1])
                    found.append((t, x, y, now > before))
    return sorted(found)


@given(seed=st.integers(0, 10**6), threshold=st.sampled_from([0.15, 0.35, 1.0]))
@settings(max_examples=15, deadline=None)
def test_events_fall_where_a_pixel_by_pixel_loop_finds_them(seed, threshold):
    frames = np.random.default_rng(seed).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    times_s = np.array([0.0, 0.1, 0.15, 0.4, 0.5])
    events = simulate_from_frames(frames, times_s, threshold=threshold)
    expected = slow(frames, times_s, threshold)
    assert len(events.t_s) == len(expected)
    first = expected[0][0]
    got = sorted(zip(events.t_s + first, events.x, events.y, events.polarity.tolist(), strict=True))
    np.testing.assert_allclose([row[0] for row in got], [row[0] for row in expected], atol=1e-9)
    assert (events.width, events.height) == (3, 4)
    accept(events)


def test_a_pixel_that_brightens_fires_once_for_each_threshold():
    frames = np.zeros((2, 1, 1), np.uint8)
    frames[1] = 255
    rise = np.log((1 + DARK) / DARK)
    events = simulate_from_frames(frames, np.array([0.0, 1.0]), threshold=rise / 4.5)
    assert events.polarity.all()
    np.testing.assert_allclose(np.diff(events.t_s), [1 / 4.5] * 3)


def test_a_lower_threshold_fires_more():
    picture = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    n_events = [len(simulate_saccades(picture, threshold=each).t_s) for each in (0.2, 0.4, 0.8)]
    assert n_events == sorted(n_events, reverse=True)


def test_three_saccades_take_three_times_100_ms_and_bring_the_camera_back():
    picture = np.zeros((28, 28), np.uint8)
    picture[8:20, 10:18] = 200
    events = simulate_saccades(picture)
    assert 0.2 < events.t_s[-1] < 3 * SACCADE_S
    spans = counts(events, 3)
    assert (spans.sum(axis=(1, 2, 3)) > 20).all()
    # Back at its place every pixel is as bright as before, to less than one threshold.
    net = counts(events)[0, 1] - counts(events)[0, 0]
    assert np.abs(net).max() <= 1
    # Nothing happens far from an edge.
    assert counts(events)[0].sum(axis=0)[:4].sum() == 0


def test_a_coloured_picture_is_seen_in_grey():
    grey = np.random.default_rng(1).integers(0, 256, (16, 16, 1), dtype=np.uint8)
    alone = simulate_saccades(grey[:, :, 0])
    in_colour = simulate_saccades(np.repeat(grey, 3, axis=2))
    assert abs(len(alone.t_s) - len(in_colour.t_s)) <= 2


def test_events_from_a_clip_are_those_of_its_frames():
    pixels = np.random.default_rng(2).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)
    clip = accept_clip(pixels, frames_per_s=30)
    events = simulate_from_clip(clip)
    again = simulate_from_frames(clip.frames, clip.times_s)
    np.testing.assert_array_equal(events.t_s, again.t_s)
    assert (events.width, events.height) == (9, 8)


@pytest.mark.parametrize(
    ("frames", "times_s", "telling"),
    [
        (np.zeros((1, 4, 4), np.uint8), [0.0], "at least two frames"),
        (np.zeros((2, 4, 4), np.uint8), [0.0], "each with a time"),
        (np.zeros((2, 4, 4), np.uint8), [1.0, 1.0], "ascending"),
        (np.zeros((2, 4, 4), np.uint8), [0.0, 1.0], "0 events came of it; .* nothing moves"),
        (np.zeros((2, 4, 4), np.float32), [0.0, 1.0], "float32 of shape"),
        (np.zeros((2, 4, 4, 2), np.uint8), [0.0, 1.0], "needed: uint8"),
    ],
)
def test_frames_that_give_no_events_are_refused(frames, times_s, telling):
    with pytest.raises(InvalidInputError, match=telling):
        simulate_from_frames(frames, np.array(times_s))


def test_arguments_out_of_range_are_refused():
    picture = np.eye(8, dtype=np.uint8) * 255
    with pytest.raises(InvalidInputError, match="the threshold is 0"):
        simulate_saccades(picture, threshold=0)
    with pytest.raises(InvalidInputError, match="amplitude -1 px"):
        simulate_saccades(picture, amplitude_px=-1)
    with pytest.raises(InvalidInputError, match="too even"):
        simulate_saccades(np.full((8, 8), 100, np.uint8))
