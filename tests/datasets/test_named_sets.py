"""The public sets, fetched for real, and what goes wrong on the way, with small archives."""

import hashlib
import logging
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from unibind.datasets import SETS, fetch, is_here, open_dataset, read_manifest
from unibind.errors import ArtifactError, FetchError, InvalidInputError

PNG = b"\x89PNG\r\n\x1a\n"
FETCH = [sys.executable, "-c", "import sys; from unibind.cli import main; main()", "data", "fetch"]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and no program on the PATH that could bring anything into it."""
    monkeypatch.setenv("UNIBIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("UNIBIND_DATA_DIR", raising=False)
    (tmp_path / "bin").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def mirror(cache, small_stamps_deb, monkeypatch) -> Path:
    """A mirror folder with three stamps, of another version than the pinned one."""
    deb = small_stamps_deb()
    monkeypatch.setenv("UNIBIND_DATA_DIR", str(deb.parent))
    return deb.parent


def script(folder: Path, name: str, text: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def visible(folder: Path) -> list[str]:
    """Return what lies in a folder of the cache, without the locks."""
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def test_stamps_are_pictures_outside_symbols_with_a_caption_and_a_class(stamps):
    assert len(stamps) == SETS["stamps"].n_items == 538
    assert len({item.caption for item in stamps.items}) == 498
    assert all(item.path.read_bytes().startswith(PNG) for item in stamps.items)
    assert all(item.caption and item.label and item.group for item in stamps.items)
    assert not {item.key for item in stamps.items if "symbols" in item.key or "_mirror" in item.key}
    lion = next(item for item in stamps.items if item.key == "animals/mammals/cats/lion.png")
    assert (lion.caption, lion.label, lion.group) == ("A lion.", "cats", "animals")
    assert lion.extra["captions"]["ja"] == "ライオン"
    assert lion.extra["sounds"]["effect"] == "animals/mammals/cats/lion.ogg"
    assert lion.extra["sounds"]["speech"]["fr"] == "animals/mammals/cats/lion_desc_fr.ogg"


def test_emoji_are_the_same_concepts_in_two_styles_without_flags_and_symbols(emoji):
    assert len(emoji) == SETS["emoji"].n_items
    styles = {
        style: {item.label for item in emoji.items if item.extra["style"] == style}
        for style in ("google", "twitter")
    }
    assert styles["google"] == styles["twitter"]
    assert len(styles["google"]) == len(emoji) / 2
    assert {item.extra["category"] for item in emoji.items} == {
        "activities",
        "animals-nature",
        "food-drink",
        "objects",
        "people-body",
        "smileys-emotion",
        "travel-places",
    }
    dog = next(item for item in emoji.items if item.key == "twitter/1f415.png")
    assert (dog.label, dog.caption, dog.group) == ("dog", "dog", "animal-mammal")
    assert "pet" in dog.extra["tags"]
    assert dog.extra["licence"] == "CC-BY-4.0"
    assert all(item.path.read_bytes().startswith(PNG) for item in emoji.items)


def test_furniture_has_names_and_real_sizes(furniture):
    assert len(furniture) == SETS["furniture"].n_items
    assert Counter(item.group for item in furniture.items) == {
        "BlendSwap-CC-0": 175,
        "BlendSwap-CC-BY": 135,
        "KatorLegaz": 90,
    }
    chair = next(i for i in furniture.items if i.key == "BlendSwap-CC-0/armchair.png")
    assert (chair.label, chair.extra["category"]) == ("Armchair", "Office")
    sizes = [chair.extra[f"{side}_cm"] for side in ("width", "depth", "height")]
    assert sizes == [59.4, 62.7, 105]
    assert not [item.label for item in furniture.items if "\\u" in item.label]
    assert all(item.path.read_bytes().startswith(PNG) for item in furniture.items)


@pytest.mark.parametrize("name", SETS)
def test_a_set_says_licence_credit_and_version_and_its_keys_are_sorted(name):
    dataset = fetch(name)
    assert dataset.licence == SETS[name].licence
    assert dataset.attribution == SETS[name].attribution
    for package in SETS[name].packages:
        assert f"{package.name} {package.version}" in dataset.source
    keys = [item.key for item in dataset.items]
    assert keys == sorted(set(keys))
    assert not dataset.missing()


def test_what_was_fetched_opens_with_no_program_and_no_network(stamps, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UNIBIND_DATA_DIR", str(tmp_path))
    assert open_dataset("stamps") == stamps
    assert fetch("stamps") == stamps


def test_another_version_from_the_mirror_is_taken_recorded_and_told(mirror, caplog):
    dataset = fetch("stamps")
    assert dataset.source == "tuxpaint-stamps-default 2099.01-1 (apt)"
    assert "taking tuxpaint-stamps-default 2099.01-1, another version" in caplog.text
    assert visible(mirror) == ["tuxpaint-stamps-default_2099.01-1_all.deb"]
    assert [(item.caption, item.label) for item in dataset.items] == [
        ("Cat 0.", "cats"),
        ("Cat 1.", "cats"),
        ("Cat 2.", "cats"),
    ]
    first = dataset.items[0]
    assert first.key == "animals/mammals/cats/cartoon/cat0.png"
    stem = "animals/mammals/cats/cartoon/cat0"
    assert first.extra == {
        "folder": "animals/mammals/cats/cartoon",
        "captions": {"fr": "Chat 0."},
        "sounds": {
            "effect": f"{stem}.ogg",
            "speech": {"en": f"{stem}_desc.ogg", "pt_BR": f"{stem}_desc_pt_BR.ogg"},
        },
    }


def test_only_the_files_of_the_items_are_kept(mirror, cache):
    fetch("stamps")
    folder = cache / "datasets" / "stamps"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"items.jsonl", "manifest.json"} | {
        f"animals/mammals/cats/cartoon/cat{number}.png" for number in range(3)
    }
    assert len(read_manifest(folder / "items.jsonl")) == 3


def test_a_download_is_removed_once_the_set_is_whole(cache, small_stamps_deb):
    downloads = cache / "downloads"
    downloads.mkdir(parents=True)
    deb = small_stamps_deb()
    deb.rename(downloads / deb.name)
    fetch("stamps")
    assert visible(downloads) == []
    assert len(fetch("stamps")) == 3


def test_progress_counts_bytes_up_to_the_whole(mirror):
    seen: list[tuple[int, int]] = []
    fetch("stamps", progress=lambda n_done, n_total: seen.append((n_done, n_total)))
    assert seen == sorted(seen)
    assert seen[-1] == (SETS["stamps"].n_bytes, SETS["stamps"].n_bytes)


def test_a_set_that_was_not_fetched_is_an_error_that_says_what_to_type(cache):
    assert not is_here(SETS["emoji"])
    with pytest.raises(FetchError, match=r"not on this machine.*`unibind data fetch emoji`"):
        open_dataset("emoji")


def test_a_flipped_byte_is_found_when_the_set_is_opened_and_fetch_mends_it(mirror, cache, caplog):
    whole = fetch("stamps")
    picture = whole.items[1].path
    content = bytearray(picture.read_bytes())
    content[-1] ^= 1
    picture.write_bytes(content)
    with pytest.raises(FetchError, match="damaged; mend it with `unibind data fetch stamps`"):
        open_dataset("stamps")
    assert fetch("stamps") == whole
    assert "fetching again" in caplog.text


def test_a_corrupted_archive_is_an_error_and_leaves_nothing(mirror, cache):
    deb = next(mirror.glob("*.deb"))
    deb.write_bytes(deb.read_bytes()[:-200])
    with pytest.raises(FetchError, match="damaged"):
        fetch("stamps")
    assert visible(cache / "datasets") == []


@pytest.mark.parametrize(
    ("name", "archive", "program"),
    [
        ("stamps", "tuxpaint-stamps-default_2022.06.04-1_all.deb", "apt-get"),
        ("emoji", "emojibase-data-17.0.0.tgz", "npm"),
    ],
)
def test_the_pinned_version_with_another_hash_is_not_used_and_told(
    cache, tmp_path, monkeypatch, caplog, name, archive, program
):
    monkeypatch.setenv("UNIBIND_DATA_DIR", str(tmp_path))
    (tmp_path / archive).write_bytes(b"cut")
    with pytest.raises(FetchError, match=f"{program} is not installed"):
        fetch(name)
    assert f"{archive} is not used: its sha256 is not" in caplog.text


def test_a_package_that_holds_nothing_of_the_set_is_an_error(mirror, cache, small_stamps_deb):
    small_stamps_deb(0)
    with pytest.raises(FetchError, match=r"nothing of the set 'stamps' is in .*checked with"):
        fetch("stamps")
    assert visible(cache / "datasets") == []


def test_no_npm_on_the_path_is_an_error_that_says_how_to_bring_the_file_by_hand(cache):
    with pytest.raises(FetchError, match=r"npm is not installed.*run `npm pack emojibase-data@"):
        fetch("emoji")
    assert visible(cache / "datasets") == []


def test_the_version_that_apt_offers_is_taken_when_the_pinned_one_is_gone(
    cache, small_stamps_deb, tmp_path, caplog
):
    deb = small_stamps_deb()
    sha256 = hashlib.sha256(deb.read_bytes()).hexdigest()
    script(
        tmp_path / "bin",
        "apt-get",
        f'[ "$2" = tuxpaint-stamps-default=2099.01-1 ] && exec /bin/cp {deb} .\n'
        f"echo \"E: Version '$2' for 'tuxpaint-stamps-default' was not found\" >&2; exit 100",
    )
    script(
        tmp_path / "bin",
        "apt-cache",
        f"echo 'Package: tuxpaint-stamps-default'; echo 'Version: 2099.01-1'\n"
        f"echo 'Size: {deb.stat().st_size}'; echo 'SHA256: {sha256}'",
    )
    assert fetch("stamps").source == "tuxpaint-stamps-default 2099.01-1 (apt)"
    assert "another version" in caplog.text


def test_no_network_is_told_as_such_although_apt_knows_the_version(cache, tmp_path):
    pinned = SETS["stamps"].packages[0].version
    script(tmp_path / "bin", "apt-get", "echo 'E: Could not connect to mirror' >&2; exit 100")
    script(tmp_path / "bin", "apt-cache", f"echo 'Version: {pinned}'")
    with pytest.raises(FetchError, match="no network"):
        fetch("stamps")
    script(tmp_path / "bin", "apt-cache", "exit 100")
    with pytest.raises(FetchError, match="no network"):
        fetch("stamps")


def test_a_full_disk_leaves_nothing_half_written_and_keeps_the_download(cache, small_stamps_deb):
    downloads = cache / "downloads"
    downloads.mkdir(parents=True)
    deb = small_stamps_deb(n_bytes=1_000_000)
    deb = deb.rename(downloads / deb.name)

    def only_small_files() -> None:  # the system refuses to write more, as a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    finished = subprocess.run(
        [*FETCH, "stamps"], preexec_fn=only_small_files, capture_output=True, text=True
    )
    assert finished.returncode == 1
    assert "error: no space left" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert visible(cache / "datasets") == []
    assert deb.is_file()
    assert len(fetch("stamps")) == 3


def test_ctrl_c_while_unpacking_leaves_nothing_half_written(cache, small_stamps_deb, monkeypatch):
    deb = small_stamps_deb(2000)
    monkeypatch.setenv("UNIBIND_DATA_DIR", str(deb.parent))
    running = subprocess.Popen([*FETCH, "stamps"], stderr=subprocess.PIPE, text=True)
    datasets = cache / "datasets"
    while not list(datasets.glob(".stamps.writing*/.scratch/*")):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.001)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in told
    assert visible(datasets) == []
    assert len(fetch("stamps")) == 2000


def runs(pid: int) -> bool:
    """Return whether a process still does anything; a dead one may wait for init to bury it."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def test_ctrl_c_while_downloading_ends_the_download_and_leaves_nothing(cache, tmp_path):
    script(
        tmp_path / "bin",
        "apt-get",
        f"echo $$ > {tmp_path}/pid; echo part > part.deb; exec /bin/sleep 60",
    )
    running = subprocess.Popen([*FETCH, "stamps"], stderr=subprocess.PIPE, text=True)
    while not list(cache.glob("downloads/.*.part/arrival/part.deb")):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.001)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in told
    assert visible(cache / "downloads") == []
    assert visible(cache / "datasets") == []
    assert not runs(int((tmp_path / "pid").read_text()))


def test_two_that_fetch_at_once_both_get_the_set(cache, small_stamps_deb):
    downloads = cache / "downloads"
    downloads.mkdir(parents=True)
    deb = small_stamps_deb(200)
    deb.rename(downloads / deb.name)  # there for the first only: it is removed once it is whole
    both = [subprocess.Popen([*FETCH, "stamps"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert len(open_dataset("stamps")) == 200


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_variable(
    mirror, cache, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNIBIND_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match="UNIBIND_CACHE"):
        fetch("stamps")


def test_a_disk_that_fills_while_the_set_is_made_safe_is_an_error(mirror, cache, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="no space left on the disk"):
        fetch("stamps")
    assert visible(cache / "datasets") == []


@pytest.mark.parametrize(
    ("name", "telling"),
    [
        ("stamp", r"no data set is called 'stamp'; did you mean 'stamps'\?"),
        ("set.csv", r"no data set is called 'set\.csv'"),
        ("zebra", r"no data set is called 'zebra'; there are .*emoji, .*furniture, .*stamps"),
    ],
)
def test_a_wrong_name_is_an_error_that_suggests_the_nearest(name, telling):
    with pytest.raises(InvalidInputError, match=telling):
        fetch(name)
    with pytest.raises(
        InvalidInputError, match=f"there is no file or folder {name}, and {telling}"
    ):
        open_dataset(name)


def test_a_path_where_nothing_lies_is_an_error_with_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=f"there is nothing at {tmp_path}/stamps"):
        open_dataset(tmp_path / "stamps")
    for place in (Path("stamps"), "./stamps"):
        with pytest.raises(InvalidInputError, match=r"there is nothing at stamps"):
            open_dataset(place)


def test_a_path_is_read_by_what_lies_there(tmp_path, monkeypatch, mirror):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stamps" / "dog").mkdir(parents=True)
    (tmp_path / "stamps" / "dog" / "a.jpg").touch()
    (tmp_path / "stamps" / "dog" / "a.txt").touch()
    (tmp_path / "set.csv").write_text("path,label\nstamps/dog/a.jpg,dog\n")
    for place in ("./stamps", Path("stamps")):
        assert [item.label for item in open_dataset(place, suffixes=[".jpg"]).items] == ["dog"]
    assert len(open_dataset("./stamps")) == 2
    assert [item.path for item in open_dataset("set.csv").items] == [Path("stamps/dog/a.jpg")]
    fetch("stamps")
    assert open_dataset("stamps").items[0].label == "cats"  # a name wins over a folder


def test_listing_files_needs_no_heavy_library():
    heavy = {"torch", "pandas", "pyarrow", "PIL"}
    program = f"import sys, unibind.datasets; print({heavy!r} & sys.modules.keys())"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.stdout == "set()\n"


def test_the_log_is_silent_when_all_is_as_pinned(stamps, caplog):
    with caplog.at_level(logging.DEBUG, logger="unibind.datasets"):
        fetch("stamps")
    assert caplog.text == ""
