import io
import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unibind.encoders import pipeline
from unibind.encoders.cache import FeatureCache
from unibind.encoders.pipeline import encode_sources, read_source
from unibind.errors import InvalidInputError
from unibind.modalities.image import IMAGE
from unibind.modalities.text import TEXT
from unibind.testing import FakeEncoder


class MeanColour:
    """An honest tower: a picture's mean colour. Counts what it was asked."""

    modality = IMAGE
    dim = 3
    fingerprint = "mean colour"

    def __init__(self):
        self.n_encoded = 0
        self.largest_batch = 0

    def encode(self, items):
        for item in items:
            if (item == 13).all():
                raise InvalidInputError("thirteen is refused")
        self.n_encoded += len(items)
        self.largest_batch = max(self.largest_batch, len(items))
        return np.array([item.mean(axis=(0, 1)) for item in items], np.float32).reshape(-1, 3)


def png(grey, size=(4, 4)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    for grey in range(10):
        (tmp_path / f"{grey}.png").write_bytes(png(grey))
    return tmp_path


def test_paths_contents_and_arrays_give_the_same_feature(folder):
    sources = [
        folder / "7.png",
        str(folder / "7.png"),
        png(7),
        np.full((4, 4, 3), 7, np.uint8),
        Image.new("RGB", (4, 4), (7, 7, 7)),
    ]
    encoded = encode_sources(MeanColour(), sources)
    np.testing.assert_array_equal(encoded.features, np.full((5, 3), 7))
    np.testing.assert_array_equal(encoded.rows, range(5))
    assert encoded.features.dtype == np.float32
    assert encoded.failures == ()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_features_stand_in_the_order_of_the_sources(folder, batch_size):
    order = np.random.default_rng(0).permutation(10)
    encoder = MeanColour()
    sources = [folder / f"{grey}.png" for grey in order]
    encoded = encode_sources(encoder, sources, batch_size=batch_size)
    np.testing.assert_array_equal(encoded.features[:, 0], order)
    assert encoder.largest_batch <= batch_size


def test_a_str_is_a_text_for_a_text_tower_and_a_path_for_others(folder):
    encoder = FakeEncoder(dim=4)
    encoder.modality = TEXT
    (folder / "a.txt").write_text("a cat")
    encoded = encode_sources(encoder, ["a cat", folder / "a.txt", b"a cat"])
    np.testing.assert_array_equal(encoded.features, encoder.encode(["a cat"] * 3))


def test_bad_sources_are_listed_and_the_rest_is_done(folder):
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(png(3, (64, 64))[:-30])
    sources = [
        folder / "1.png",
        folder / "missing.png",
        folder / "empty.png",
        folder / "2.png",
        folder,
        folder / "cut.png",
        b"no picture",
        np.zeros((2, 2, 3), np.int32),
        folder / "3.png",
        "nul\0byte.png",
    ]
    encoded = encode_sources(MeanColour(), sources, batch_size=2)
    np.testing.assert_array_equal(encoded.rows, [0, 3, 8])
    np.testing.assert_array_equal(encoded.features[:, 0], [1, 2, 3])
    reasons = {failure.row: (failure.source, failure.error) for failure in encoded.failures}
    assert list(reasons) == [1, 2, 4, 5, 6, 7, 9]
    assert reasons[1][0] == str(folder / "missing.png")
    assert "No such file" in reasons[1][1]
    assert "empty (0 bytes)" in reasons[2][1]
    assert "no plain file" in reasons[4][1]
    assert "truncated or damaged" in reasons[5][1]
    assert reasons[6] == ("10 bytes", reasons[6][1])
    assert "int32" in reasons[7][1]
    assert "null" in reasons[9][1]


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_an_unreadable_file_is_listed(folder):
    (folder / "loop.png").symlink_to(folder / "loop.png")
    failure = encode_sources(MeanColour(), [folder / "loop.png"]).failures[0]
    assert "cannot read" in failure.error
    assert "symbolic links" in failure.error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in its file system")
def test_a_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe.png")
    assert "no plain file" in encode_sources(MeanColour(), [folder / "pipe.png"]).failures[0].error


def test_a_huge_file_is_refused_without_reading_it(folder):
    with (folder / "huge.png").open("wb") as file:
        file.truncate(pipeline.MAX_FILE_BYTES + 1)
    failure = encode_sources(MeanColour(), [folder / "huge.png"]).failures[0]
    assert "1,073,741,825 bytes, at most 1,073,741,824" in failure.error


def test_what_the_encoder_refuses_is_set_apart_from_its_batch(folder):
    sources = [folder / "1.png", png(13), folder / "2.png", png(13)]
    encoded = encode_sources(MeanColour(), sources)
    np.testing.assert_array_equal(encoded.rows, [0, 2])
    assert [failure.error for failure in encoded.failures] == ["thirteen is refused"] * 2


def test_a_bug_in_an_encoder_is_not_hidden(folder):
    class Broken(MeanColour):
        def encode(self, items):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        encode_sources(Broken(), [folder / "1.png"])


def test_equal_contents_are_encoded_once(folder):
    encoder = MeanColour()
    (folder / "copy.png").write_bytes(png(5))
    sources = [folder / "5.png", folder / "copy.png", png(5), folder / "6.png"] * 20
    encoded = encode_sources(encoder, sources, batch_size=4)
    assert encoder.n_encoded == 2
    np.testing.assert_array_equal(encoded.features[:, 0], [5, 5, 5, 6] * 20)


def test_a_second_run_encodes_nothing(folder):
    sources = sorted(folder.glob("*.png"))
    encoder = MeanColour()
    with FeatureCache.of(encoder, folder / "cache") as cache:
        first = encode_sources(encoder, sources, cache=cache)
    with FeatureCache.of(encoder, folder / "cache") as cache:
        second = encode_sources(encoder, sources, cache=cache)
    assert encoder.n_encoded == 10
    np.testing.assert_array_equal(first.features, second.features)


def test_decoded_values_are_cached_too(tmp_path):
    encoder = MeanColour()
    items = [np.full((2, 2, 3), grey, np.uint8) for grey in range(5)]
    with FeatureCache.of(encoder, tmp_path) as cache:
        for _ in range(2):
            encode_sources(encoder, items, cache=cache)
    assert encoder.n_encoded == 5


def test_failures_are_not_cached(tmp_path):
    with FeatureCache.of(MeanColour(), tmp_path) as cache:
        for _ in range(2):
            assert len(encode_sources(MeanColour(), [b"no picture"], cache=cache).failures) == 1
        assert len(cache) == 0


def test_an_interrupted_run_keeps_what_was_finished_and_goes_on_there(folder):
    sources = sorted(folder.glob("*.png"))
    encoder = MeanColour()
    n_threads = threading.active_count()

    def interrupt(n_done, n_total):
        if n_done >= 6:
            raise KeyboardInterrupt

    with FeatureCache.of(encoder, folder / "cache") as cache:
        with pytest.raises(KeyboardInterrupt):
            encode_sources(encoder, sources, cache=cache, batch_size=2, progress=interrupt)
        assert len(cache) == 6
    assert threading.active_count() == n_threads
    with FeatureCache.of(encoder, folder / "cache") as cache:
        encoded = encode_sources(encoder, sources, cache=cache)
    assert encoder.n_encoded == 10
    np.testing.assert_array_equal(encoded.features[:, 0], range(10))


def test_a_damaged_cache_costs_time_and_nothing_else(folder, caplog):
    sources = sorted(folder.glob("*.png"))
    encoder = MeanColour()
    with FeatureCache.of(encoder, folder / "cache") as cache:
        encode_sources(encoder, sources, cache=cache)
    connection = sqlite3.connect(cache.path)
    connection.execute("UPDATE features SET checksum = zeroblob(8)")
    connection.commit()
    connection.close()
    with FeatureCache.of(encoder, folder / "cache") as cache:
        encoded = encode_sources(encoder, sources, cache=cache)
        assert len(cache) == 10
    np.testing.assert_array_equal(encoded.features[:, 0], range(10))
    assert "moved aside" in caplog.text


def test_progress_rises_to_the_number_of_sources(folder):
    calls = []
    sources = [*sorted(folder.glob("*.png")), b"bad", folder / "1.png"]
    encode_sources(MeanColour(), sources, batch_size=4, progress=lambda *call: calls.append(call))
    n_done = [done for done, _ in calls]
    assert n_done == sorted(n_done)
    assert calls[-1] == (12, 12)
    assert {total for _, total in calls} == {12}


def test_reading_does_not_run_far_ahead_of_encoding(folder):
    n_read = 0
    lock = threading.Lock()

    class Slow(MeanColour):
        modality = type(IMAGE)("image", "", lambda content: count(content), IMAGE.accept)

        def encode(self, items):
            ahead.append(n_read - self.n_encoded)
            return super().encode(items)

    def count(content):
        nonlocal n_read
        with lock:
            n_read += 1
        return IMAGE.read(content)

    ahead = []
    encode_sources(
        Slow(), [png(14 + n % 200, (1 + n // 200, 2)) for n in range(1000)], batch_size=8
    )
    assert max(ahead) <= 8 + 2 * 8 + 1


def test_no_sources_give_no_features():
    encoded = encode_sources(MeanColour(), [])
    assert encoded.features.shape == (0, 3)
    assert encoded.rows.shape == (0,)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(InvalidInputError, match="batch_size is 0, at least 1"):
        encode_sources(MeanColour(), [], batch_size=0)


def test_one_source_is_read_alone(folder):
    assert read_source(IMAGE, folder / "3.png").mean() == 3
    assert read_source(IMAGE, str(folder / "3.png")).mean() == 3
    assert read_source(TEXT, "a cat") == "a cat"
    with pytest.raises(InvalidInputError, match="cannot read"):
        read_source(IMAGE, Path("missing.png"))
