import logging
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from unibind.encoders.cache import FeatureCache, content_key, item_key
from unibind.testing import FakeEncoder

DIM = 8


def keys_of(n, start=0):
    return [content_key(str(number).encode()) for number in range(start, start + n)]


def features_of(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)


@pytest.fixture
def cache(tmp_path):
    with FeatureCache(tmp_path, "a tower", DIM) as opened:
        yield opened


def test_what_was_put_is_got_back_to_the_bit(cache):
    keys, features = keys_of(5), features_of(5)
    cache.put(keys, features)
    found = cache.get([*keys, *keys_of(2, start=90)])
    assert list(found) == keys
    np.testing.assert_array_equal([found[key] for key in keys], features)
    assert len(cache) == 5


def test_features_outlive_the_process_that_stored_them(tmp_path):
    with FeatureCache(tmp_path, "a tower", DIM) as first:
        first.put(keys_of(3), features_of(3))
    with FeatureCache(tmp_path, "a tower", DIM) as second:
        assert len(second.get(keys_of(3))) == 3


def test_another_tower_has_another_cache(tmp_path):
    with (
        FeatureCache(tmp_path, "a tower", DIM) as one,
        FeatureCache(tmp_path, "../another", DIM) as two,
    ):
        one.put(keys_of(1), features_of(1))
        assert two.get(keys_of(1)) == {}
        assert {one.path.parent, two.path.parent} == {tmp_path}


def test_the_cache_of_an_encoder_lies_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNIBIND_CACHE", str(tmp_path))
    with FeatureCache.of(FakeEncoder(dim=DIM)) as cache:
        assert cache.path.is_relative_to(tmp_path / "features")
        assert cache.dim == DIM


def test_putting_a_key_again_replaces_its_feature(cache):
    cache.put(keys_of(1), features_of(1, seed=0))
    cache.put(keys_of(1), features_of(1, seed=1))
    np.testing.assert_array_equal(cache.get(keys_of(1))[keys_of(1)[0]], features_of(1, seed=1)[0])


def test_keys_tell_content_arrays_and_texts_apart():
    zeros = np.zeros(4, np.uint8)
    keys = [
        content_key(b"cat"),
        item_key("cat"),
        item_key("dog"),
        item_key(zeros),
        item_key(zeros.reshape(2, 2)),
        item_key(zeros.view(np.int8)),
        item_key(zeros + 1),
    ]
    assert len(set(keys)) == len(keys)
    assert item_key(np.arange(6).reshape(2, 3).T) == item_key(np.arange(6).reshape(2, 3).T.copy())
    assert item_key(object()) is None
    assert item_key(np.array([object()])) is None


def test_a_flipped_byte_anywhere_never_gives_a_wrong_feature(tmp_path, caplog):
    keys, features = keys_of(40), features_of(40)
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        cache.put(keys, features)
        path = cache.path
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    n_lost = 0
    for place in [*range(100), *generator.integers(0, len(whole), 300)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << generator.integers(8)
        for leftover in tmp_path.iterdir():
            leftover.unlink()
        path.write_bytes(damaged)
        with FeatureCache(tmp_path, "a tower", DIM) as cache:
            found = cache.get(keys)
            for key, feature in zip(keys, features, strict=True):
                if key in found:
                    np.testing.assert_array_equal(found[key], feature)
            n_lost += len(found) < len(keys)
    assert n_lost > 50


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100, b"SQLite format 3\0junk"])
def test_a_file_that_is_no_database_is_moved_aside_and_begun_anew(tmp_path, content, caplog):
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        path = cache.path
    path.write_bytes(content)
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        cache.put(keys_of(2), features_of(2))
        assert len(cache.get(keys_of(2))) == 2
    if content:
        assert path.with_suffix(".damaged").read_bytes() == content
        assert "moved aside and begun anew" in caplog.text


def test_a_feature_with_a_wrong_checksum_is_not_returned(tmp_path, caplog):
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        cache.put(keys_of(2), features_of(2))
        path = cache.path
    connection = sqlite3.connect(path)
    connection.execute("UPDATE features SET feature = zeroblob(32) WHERE rowid = 1")
    connection.commit()
    connection.close()
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        assert cache.get(keys_of(2)) == {}
        assert "checksum is wrong" in caplog.text
        cache.put(keys_of(2), features_of(2))
        assert len(cache.get(keys_of(2))) == 2


def test_a_feature_of_another_width_is_not_returned(tmp_path, caplog):
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        cache.put(keys_of(1), features_of(1))
    with FeatureCache(tmp_path, "a tower", DIM + 1) as cache:
        assert cache.get(keys_of(1)) == {}
    assert "wrong length" in caplog.text


def test_a_cache_of_an_unknown_version_is_begun_anew(tmp_path, caplog):
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        path = cache.path
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        cache.put(keys_of(1), features_of(1))
        assert len(cache) == 1
    assert "format version 99" in caplog.text


def test_damage_found_by_one_process_keeps_what_another_has_begun_anew(tmp_path, caplog):
    first = FeatureCache(tmp_path, "a tower", DIM)
    first.put(keys_of(1), features_of(1))
    second = FeatureCache(tmp_path, "a tower", DIM)
    connection = sqlite3.connect(first.path)
    connection.execute("UPDATE features SET checksum = zeroblob(8)")
    connection.commit()
    connection.close()
    assert first.get(keys_of(1)) == {}
    first.put(keys_of(3), features_of(3))
    assert second.get(keys_of(1)) == {}  # sees the damage in the file that was moved aside
    assert len(second.get(keys_of(3))) == 3
    first.close()
    second.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_a_full_disk_ends_storing_with_one_warning_and_reading_goes_on(tmp_path):
    # A limit on file size is a full disk that needs no disk.
    program = textwrap.dedent(
        """
        import logging, resource, sys
        from pathlib import Path
        import numpy as np
        from unibind.encoders.cache import FeatureCache, content_key

        logging.basicConfig(format="LOG %(message)s")
        keys = [content_key(str(n).encode()) for n in range(4000)]
        features = np.ones((4000, 64), np.float32)
        with FeatureCache(Path(sys.argv[1]), "a tower", 64) as cache:
            cache.put(keys[:10], features[:10])
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            for start in range(10, 4000, 500):
                cache.put(keys[start : start + 500], features[start : start + 500])
            assert len(cache.get(keys[:10])) == 10
            assert len(cache.get(keys[3900:])) == 0
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("LOG") == 1, done.stderr
    assert "takes no more features" in done.stderr


def test_a_place_that_cannot_be_written_ends_caching_with_one_warning(tmp_path, caplog):
    (tmp_path / "a file").write_text("not a folder")
    with FeatureCache(tmp_path / "a file", "a tower", DIM) as cache:
        cache.put(keys_of(1), features_of(1))
        assert cache.get(keys_of(1)) == {}
        assert len(cache) == 0
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "going on without the feature cache" in warnings[0].getMessage()


def test_a_closed_cache_finds_nothing_and_stores_nothing(cache):
    cache.close()
    cache.put(keys_of(1), features_of(1))
    assert cache.get(keys_of(1)) == {}


def _store_many(root, start):
    with FeatureCache(root, "a tower", DIM) as cache:
        for number in range(start, start + 50):
            cache.put(keys_of(1, start=number), features_of(1, seed=number))


def test_two_processes_store_at_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_store_many, args=(tmp_path, start)) for start in (0, 25)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with FeatureCache(tmp_path, "a tower", DIM) as cache:
        found = cache.get(keys_of(75))
        for number, key in enumerate(keys_of(75)):
            np.testing.assert_array_equal(found[key], features_of(1, seed=number)[0])
    assert not list(tmp_path.glob("*.damaged"))


def test_threads_share_a_cache(cache):
    def work(start):
        for number in range(start, start + 30):
            cache.put(keys_of(1, start=number), features_of(1, seed=number))
            assert cache.get(keys_of(1, start=number))

    threads = [threading.Thread(target=work, args=(30 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 120
