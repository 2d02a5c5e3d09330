import json
import subprocess
import sys
from pathlib import Path

import pytest

from unibind.datasets import SETS


def unibind(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from unibind.cli import main; main()", "data", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("UNIBIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNIBIND_DATA_DIR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def three_stamps(small_stamps_deb, monkeypatch) -> None:
    monkeypatch.setenv("UNIBIND_DATA_DIR", str(small_stamps_deb().parent))


def test_list_says_what_each_set_is_its_licence_and_whether_it_is_here(three_stamps):
    assert unibind("fetch", "stamps").returncode == 0
    rows = {row["name"]: row for row in json.loads(unibind("list", "--json").stdout)}
    assert rows.keys() == SETS.keys()
    assert {name: row["present"] for name, row in rows.items()} == {
        name: name == "stamps" for name in SETS
    }
    assert rows["furniture"]["licence"] == SETS["furniture"].licence
    told = unibind("list").stdout
    assert "538 items, here" in told
    assert "143 MB to download" in told
    assert "GPL-2.0" in told


def test_fetch_shows_licence_credit_version_and_place(three_stamps, cache):
    finished = unibind("fetch", "stamps")
    assert "3 items" in finished.stdout
    assert str(cache / "datasets" / "stamps") in finished.stdout
    assert "licence: GPL-2.0; credit: Tux Paint" in finished.stdout
    assert "161 MB, licence GPL-2.0" in finished.stderr  # before the download, too
    assert "another version" in finished.stderr
    (row,) = json.loads(unibind("fetch", "stamps", "stamps", "--json").stdout)
    assert row["source"] == "tuxpaint-stamps-default 2099.01-1 (apt)"


def test_a_wrong_name_among_right_ones_is_told_before_anything_is_fetched(three_stamps, cache):
    finished = unibind("fetch", "stamps", "furnitur")
    assert finished.returncode == 1
    assert "did you mean 'furniture'?" in finished.stderr
    assert not cache.exists()


def test_fetch_without_a_name_is_wrong_use():
    assert unibind("fetch").returncode == 2


def test_show_counts_a_folder_of_classes_and_says_what_is_left_out_and_missing(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/3.png", "dog/notes.txt", "dog/.hidden"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "pets" / "dog" / "gone.png").symlink_to("nowhere")
    arguments = ("show", str(tmp_path / "pets"), "--suffix", ".png", "--rows", "1")
    result = json.loads(unibind(*arguments, "--json").stdout)
    assert result["items"] == 4
    assert result["labels"] == {"cat": 2, "dog": 2}
    assert result["skipped"] == {"hidden": 1, "suffix .txt": 1}
    assert result["missing"] == ["dog/gone.png"]
    assert [row["key"] for row in result["rows"]] == ["cat/1.png"]
    told = unibind(*arguments).stdout
    assert "labels: cat 2, dog 2" in told
    assert "missing files: 1, first dog/gone.png" in told
    assert "left out: 1 (suffix .txt)" in told


def test_show_counts_the_groups_and_splits_of_a_manifest(tmp_path):
    manifest = tmp_path / "set.csv"
    lines = [f"{n}.png,label{n},g{n % 2},{'train' if n else 'test'}" for n in range(10)]
    manifest.write_text("\n".join(["path,label,group,split", *lines]))
    result = json.loads(unibind("show", str(manifest), "--json").stdout)
    assert result["groups"] == {"g0": 5, "g1": 5}
    assert result["splits"] == {"train": 9, "test": 1}
    assert len(result["missing"]) == 10
    told = unibind("show", str(manifest)).stdout
    assert "2 more" in told  # ten labels, eight shown
    assert "splits: train 9, test 1" in told


def test_show_of_a_malformed_manifest_is_one_line_with_file_and_line(tmp_path):
    (tmp_path / "set.csv").write_text("path,label\na.png,  \n")
    finished = unibind("show", str(tmp_path / "set.csv"))
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr == (
        f"error: {tmp_path}/set.csv, line 2: 'label' is only spaces; "
        "write it, or leave the cell empty\n"
    )


def test_show_of_a_set_that_is_not_here_says_what_to_type():
    finished = unibind("show", "emoji")
    assert finished.returncode == 1
    assert "`unibind data fetch emoji`" in finished.stderr
