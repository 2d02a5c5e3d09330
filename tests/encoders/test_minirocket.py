import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from unibind.encoders import minirocket
from unibind.encoders.minirocket import N_FEATURES, MiniRocket
from unibind.encoders.recording_windows import MAX_WINDOWS, N_STEPS, VIEWS, windows_of
from unibind.encoders.reference_signals import reference_signals
from unibind.encoders.registry import open_encoder
from unibind.errors import PluginError
from unibind.modalities.timeseries import accept
from unibind.testing import check_encoder


@pytest.fixture(scope="module")
def encoder():
    return open_encoder("minirocket")


def recording(seed, *shape):
    return accept(
        np.random.default_rng(seed).standard_normal(shape), rate_hz=10, axis="channel,time"
    )


def test_it_keeps_the_promises_of_an_encoder(encoder):
    check_encoder(encoder, [recording(0, 1, 80), recording(1, 6, 100), recording(2, 2, 3000)])


def test_features_have_one_width_and_range_for_any_channels_and_length(encoder):
    items = [recording(n, *shape) for n, shape in enumerate([(1, 8), (70, 90), (3, 40_000)])]
    features = encoder.encode(items)
    assert features.shape == (3, N_FEATURES * len(VIEWS))
    assert features.min() >= 0
    assert features.max() <= 1


def test_level_and_scale_of_a_channel_and_the_order_of_channels_do_not_matter(encoder):
    values = recording(3, 3, 200).values
    changed = (values * [[5], [0.01], [1e4]] + [[3], [-7], [1e4]])[::-1].astype(np.float32)
    features = encoder.encode(
        [accept(x, rate_hz=10, axis="channel,time") for x in (values, changed)]
    )
    np.testing.assert_allclose(features[0], features[1], atol=0.02)


def test_a_constant_recording_has_finite_features(encoder):
    constant = accept(np.full((2, 50), 1e6), rate_hz=1)
    assert np.isfinite(encoder.encode([constant])).all()


def test_features_are_shares_of_steps_above_a_threshold_by_the_formula(encoder):
    # The first kernel, at dilation 1 with padding: weights -1 but 2 at three places.
    item = recording(4, 1, N_STEPS)
    transform = encoder._transforms[0]
    _, _, dilations, n_per_dilation, biases = transform.parameters
    assert dilations[0] == 1
    x = np.pad(windows_of(item.values, view="values")[0, 0].astype(np.float64), 4)
    weights = np.full(9, -1.0)
    weights[[0, 1, 2]] = 2
    outputs = np.array([x[step : step + 9] @ weights for step in range(N_STEPS)])
    shares = [(outputs > bias).mean() for bias in biases[: n_per_dilation[0]]]
    found = encoder.encode([item])[0, : n_per_dilation[0]]
    np.testing.assert_allclose(found, shares, atol=2 / N_STEPS)


def test_threads_may_encode_at_once(encoder):
    items = [recording(n, 2, 300) for n in range(4)]
    expected = encoder.encode(items)
    found = {}

    def encode(n):
        found[n] = encoder.encode(items)

    threads = [threading.Thread(target=encode, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for features in found.values():
        np.testing.assert_array_equal(features, expected)
    assert len(found) == 4


def test_another_process_gives_the_same_features_and_compiles_nothing(encoder):
    # Machine code lies in our cache folder, where the first process of all has put it.
    program = (
        "import numpy as np, numba\n"
        "from unibind.encoders.minirocket import load\n"
        "from unibind.modalities.timeseries import accept\n"
        "before = numba.config.CACHE_DIR\n"
        "x = np.sin(np.arange(400) / 7)\n"
        "features = load().encode([accept(x, rate_hz=10)])\n"
        "from aeon.transformations.collection.convolution_based import _minirocket as m\n"
        "stats = m._static_transform_uni.stats\n"
        "print(float(features.sum()), len(stats.cache_misses), numba.config.CACHE_DIR == before)"
    )
    item = accept(np.sin(np.arange(400) / 7), rate_hz=10)
    expected = float(encoder.encode([item]).sum())
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    total, n_compiled, is_restored = finished.stdout.split()
    assert float(total) == pytest.approx(expected)
    assert (n_compiled, is_restored) == ("0", "True")


def test_the_global_random_state_is_left_alone():
    minirocket._transforms.cache_clear()
    np.random.seed(7)
    expected = np.random.random(3)
    np.random.seed(7)
    minirocket.load()
    np.testing.assert_array_equal(np.random.random(3), expected)


def test_without_aeon_the_error_says_what_to_install(monkeypatch):
    minirocket._import_aeon.cache_clear()
    minirocket._transforms.cache_clear()
    monkeypatch.setitem(sys.modules, "aeon.transformations.collection.convolution_based", None)
    with pytest.raises(PluginError, match=r"pip install 'unibind\[timeseries\]'"):
        minirocket.load()


def test_the_fingerprint_and_the_signals_behind_it_are_pinned():
    # If this fails, the features of every user's cache and head have changed: raise a version.
    signals = reference_signals(240, 64, seed=0)
    assert [round(float(x), 4) for x in signals[:6, 5]] == SIGNALS
    assert MiniRocket.fingerprint[:16] == FINGERPRINT


def test_windows_cover_a_long_recording_evenly_and_stretch_a_short_one():
    ramp = np.arange(5.0 * N_STEPS)[None].astype(np.float32)
    windows = windows_of(ramp, view="values")
    assert windows.shape == (5, 1, N_STEPS)
    np.testing.assert_allclose(np.diff(windows[:, 0, 0]), np.diff(windows[:, 0, 0])[0], rtol=1e-5)
    assert windows.mean() == pytest.approx(0, abs=1e-6)
    short = windows_of(ramp[:, :10], view="values")
    assert short.shape == (1, 1, N_STEPS)
    np.testing.assert_allclose(short[0, 0, [0, -1]], [-1.5667, 1.5667], rtol=1e-4)
    assert windows_of(np.zeros((1, 10**5), "f"), view="values").shape[0] == MAX_WINDOWS


SIGNALS = [0.3616, 1.4041, 1.0359, 0.9197, 1.0544, 0.5222]
FINGERPRINT = "2b5e86609e5d09bb"
