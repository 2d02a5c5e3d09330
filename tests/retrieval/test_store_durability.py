"""Full disks, read-only folders, other writers: a clear error, and nothing lost."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from unibind.errors import StoreError
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId

SPACE = SpaceId("durable")
_CONTEXT = multiprocessing.get_context("forkserver")


def _in_child(function, *arguments) -> None:
    process = _CONTEXT.Process(target=function, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def _rows(n_rows: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n_rows, 64), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _fill(store: LocalStore, stored: list) -> None:
    for number in range(10_000):
        n_rows = 200 if number % 2 else 3
        keys = [f"{number} {row}" for row in range(n_rows)]
        rows = _rows(n_rows, number)
        store.upsert(keys, rows, modality="image", metadata=[{"c": "x" * 200}] * n_rows)
        stored.append((keys, rows))


def _fill_until_full(path: Path) -> None:
    stored = []
    with LocalStore.open(path, space=SPACE, dim=64) as store:
        with pytest.raises(StoreError, match=r"nothing acknowledged is lost|disk of the store"):
            _fill(store, stored)
        assert stored
        # The store goes on reading, and every acknowledged row is there.
        assert store.count() == sum(len(keys) for keys, _ in stored)
    with LocalStore.open(path, read_only=True) as store:
        for keys, rows in stored:
            assert store.vectors(keys).tobytes() == rows.tobytes()
        assert store.verify().is_clean


def _fill_with_a_quota(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    _fill_until_full(path)


def test_a_full_disk_is_an_error_and_nothing_acknowledged_is_lost(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    is_mounted = shutil.which("mount") and subprocess.run(call, capture_output=True).returncode == 0
    try:
        # Who may not mount gets a limit on the size of files instead.
        _in_child(_fill_until_full if is_mounted else _fill_with_a_quota, place / "store")
    finally:
        if is_mounted:
            subprocess.run(["umount", str(place)], check=True)


def test_a_quota_is_an_error_and_nothing_acknowledged_is_lost(tmp_path):
    _in_child(_fill_with_a_quota, tmp_path / "store")


def _use_what_cannot_be_written(path: Path) -> None:
    with LocalStore.open(path, read_only=True) as store:
        store.search(_rows(5))  # Imports what nobody else may read.
        store.verify()
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    with pytest.raises(StoreError, match=r"permission|read_only=True"):
        LocalStore.open(path).upsert(["new"], _rows(1), modality="image")
    with LocalStore.open(path, read_only=True) as store:
        assert store.count() == 5
        assert store.search(_rows(5), k=1)[2][0].key == "k2"
        assert store.verify().is_clean
        with pytest.raises(StoreError, match="opened read-only"):
            store.delete(["k1"])


def test_a_folder_without_leave_to_write_is_read_and_nothing_else():
    # Not under pytest's own folder, into which nobody else may look.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        Path(folder).chmod(0o755)
        with LocalStore.open(path, space=SPACE, dim=64) as store:
            store.upsert([f"k{n}" for n in range(5)], _rows(5), modality="image")
        for place in [path, *path.rglob("*")]:
            place.chmod(0o555 if place.is_dir() else 0o444)
        try:
            _in_child(_use_what_cannot_be_written, path)
        finally:
            for place in [path, *path.rglob("*")]:
                place.chmod(0o755 if place.is_dir() else 0o644)


def test_a_second_writer_waits_and_then_names_the_first(tmp_path):
    first = LocalStore.open(tmp_path, space=SPACE, dim=64)
    second = LocalStore.open(tmp_path, timeout_s=0.2)
    with first._database.writing("a long import"), second:
        with pytest.raises(StoreError, match=rf"process {os.getpid()} on .*a long import"):
            second.upsert(["a"], _rows(1), modality="image")
        assert second.count() == 0  # Readers do not wait.
    with LocalStore.open(tmp_path, timeout_s=5) as second:
        second.upsert(["a"], _rows(1), modality="image")
    assert first.count() == 1
    first.close()
    with pytest.raises(StoreError, match="was closed"):
        first.count()


def test_a_writer_that_was_killed_leaves_no_lock(tmp_path):
    code = (
        "import sys, os, signal; from unibind.retrieval.store import LocalStore\n"
        "store = LocalStore.open(sys.argv[1], space='durable', dim=64)\n"
        "with store._database.writing('dying'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert json.loads((tmp_path / "writer.json").read_text())["purpose"] == "dying"
    with LocalStore.open(tmp_path, timeout_s=0.1) as store:
        store.upsert(["a"], _rows(1), modality="image")
    assert json.loads((tmp_path / "writer.json").read_text())["purpose"] == "upsert"


def test_a_fork_may_use_the_store_it_inherited(tmp_path):
    with LocalStore.open(tmp_path, space=SPACE, dim=64) as store:
        store.upsert(["a"], _rows(1), modality="image")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                store.upsert(["b"], _rows(1, 1), modality="image")
                status = 0 if store.count() == 2 else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert store.count() == 2
        assert store.verify().is_clean


def test_the_store_needs_no_torch():
    code = (
        "import sys, unibind.retrieval.store\n"
        "assert not {'torch', 'pandas', 'pyarrow', 'pymilvus'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
