import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unibind.datasets import read_folder
from unibind.errors import InvalidInputError


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_file_has_the_class_of_its_own_folder_and_the_group_of_those_above(tmp_path):
    make(tmp_path, "cat/a.png", "animals/wild/lion/b.png", "c.png")
    found = {item.key: (item.label, item.group) for item in read_folder(tmp_path).items}
    assert found == {
        "animals/wild/lion/b.png": ("lion", "animals/wild"),
        "c.png": (None, None),
        "cat/a.png": ("cat", None),
    }


def test_items_are_sorted_by_key_and_keys_do_not_name_the_machine(tmp_path):
    make(tmp_path, "b/2.png", "a/1.png", "b/1.png")
    keys = [item.key for item in read_folder(tmp_path).items]
    assert keys == ["a/1.png", "b/1.png", "b/2.png"]


def test_hidden_files_other_suffixes_and_pipes_are_left_out_and_counted(tmp_path):
    make(tmp_path, "cat/a.PNG", "cat/.DS_Store", ".git/x.png", "cat/notes.txt", "cat/README")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    dataset = read_folder(tmp_path, suffixes=[".png"])
    assert [item.key for item in dataset.items] == ["cat/a.PNG"]
    assert dataset.skipped == {"hidden": 2, "suffix .txt": 1, "suffix (none)": 1, "not a file": 1}


def test_of_a_thousand_files_the_missing_and_the_empty_are_listed_too(tmp_path):
    make(tmp_path, *(f"class{number % 7}/{number}.png" for number in range(998)))
    (tmp_path / "class0" / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "class0" / "empty.png").touch()
    dataset = read_folder(tmp_path, suffixes=[".png"])
    assert len(dataset) == 1000
    assert [item.key for item in dataset.missing()] == ["class0/dangling.png"]


def test_a_link_to_a_folder_above_is_not_followed_for_ever(tmp_path):
    make(tmp_path, "cat/a.png")
    (tmp_path / "cat" / "loop").symlink_to(tmp_path)
    assert len(read_folder(tmp_path)) == 1


def test_a_folder_below_that_cannot_be_listed_is_counted(tmp_path, monkeypatch):
    make(tmp_path, "cat/a.png", "locked/b.png")
    scandir = os.scandir

    def refuse(path):  # the tests may run as root, for whom no folder is locked
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    dataset = read_folder(tmp_path)
    assert [item.key for item in dataset.items] == ["cat/a.png"]
    assert dataset.skipped == {"folder that cannot be listed": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_gets_a_key_that_can_be_printed(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).touch()
    (item,) = read_folder(tmp_path).items
    assert item.key == "caf\\xe9.png"
    assert item.path.is_file()


@pytest.mark.parametrize("suffixes", [None, [".png", ".jpg"]])
def test_a_folder_without_items_is_an_error_that_says_what_was_there(tmp_path, suffixes):
    with pytest.raises(InvalidInputError, match=r"no files .*\(it is empty\)"):
        read_folder(tmp_path, suffixes=suffixes)


def test_a_folder_of_other_files_only_is_an_error_that_counts_them(tmp_path):
    make(tmp_path, "a/1.txt", "a/2.txt", ".hidden")
    with pytest.raises(InvalidInputError, match=r"ending in \.png .*hidden: 1, suffix \.txt: 2"):
        read_folder(tmp_path, suffixes=[".png"])


def test_a_folder_that_is_none_is_an_error_with_its_path(tmp_path):
    make(tmp_path, "file")
    for path in (tmp_path / "file", tmp_path / "absent"):
        with pytest.raises(InvalidInputError, match=f"cannot list the folder {path}"):
            read_folder(path)


names = st.text("ab.é ", min_size=1, max_size=3).filter(lambda name: set(name) != {"."})


@given(st.sets(st.lists(names, min_size=1, max_size=3).map(tuple), min_size=1, max_size=8))
def test_every_file_is_an_item_or_is_counted(paths):
    with tempfile.TemporaryDirectory() as scratch:
        n_visible = n_hidden = 0
        for parts in sorted(paths, key=len, reverse=True):
            path = Path(scratch, *parts)
            if path.exists():  # a folder of a longer path
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            if any(part.startswith(".") for part in parts):
                n_hidden += 1
            else:
                n_visible += 1
        if not n_visible:
            with pytest.raises(InvalidInputError, match="hidden"):
                read_folder(Path(scratch))
            return
        dataset = read_folder(Path(scratch))
        assert len(dataset) == n_visible
        # A hidden folder counts once, whatever it holds.
        assert bool(dataset.skipped.get("hidden")) == bool(n_hidden)
        assert len({item.key for item in dataset.items}) == n_visible
