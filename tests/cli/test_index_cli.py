"""``unibind index`` as a shell sees it, on a store that needs no encoder."""

import contextlib
import io
import json
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unibind.cli import main
from unibind.retrieval.store import LocalStore
from unibind.types import SpaceId


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a space t of fifty items in indexes/."""
    rows = np.random.default_rng(0).standard_normal((50, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    metadata = [{"n": n, "caption": "a red bird" if n % 2 else "a fish"} for n in range(50)]
    folder = tmp_path / "indexes" / "t" / "store"
    with LocalStore.open(folder, space=SpaceId("sp"), dim=8) as store:
        store.upsert([f"k{n}" for n in range(50)], rows, modality="image", metadata=metadata)
    return tmp_path


@dataclass(frozen=True)
class Finished:
    returncode: int
    stdout: str
    stderr: str


def _run(place: Path, *arguments: str) -> Finished:
    """Run the command line in this process, from its arguments to its exit code."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        contextlib.chdir(place),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(sys, "argv", ["unibind", "index", *arguments])
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
    return Finished(code, out.getvalue(), err.getvalue())


def _json(place: Path, *arguments: str) -> Any:
    finished = _run(place, *arguments, "--json")
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_a_store_is_searched_by_key_and_by_words(place: Path) -> None:
    hits = _json(
        place, "search", "--space", "t", "--key", "k3", "-k", "3", "--where", '{"n": {"$lt": 9}}'
    )
    assert hits[0]["key"] == "k3"
    assert hits[0]["score"] == pytest.approx(1)
    assert all(hit["metadata"]["n"] < 9 for hit in hits)
    hits = _json(place, "search", "--space", "t", "--words", "birds? bird", "-k", "4")
    assert [hit["metadata"]["caption"] for hit in hits] == ["a red bird"] * 4
    finished = _run(place, "search", "--space", "t", "--key", "nobody")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.count("\n") == 1
    assert "no item has the key 'nobody'" in finished.stderr


def test_items_are_removed_by_key_and_by_condition(place: Path) -> None:
    assert _json(place, "remove", "k1", "--space", "t") == {"removed": 1, "missing": []}
    assert _json(place, "remove", "--where", '{"n": {"$gte": 40}}', "--space", "t") == {
        "removed": 10,
        "missing": [],
    }
    both = ["--where", "caption=a fish", "--where", '{"n": {"$lt": 6}}']
    assert _json(place, "remove", *both, "--space", "t")["removed"] == 3
    assert _json(place, "remove", "k3", "k8", "--where", "n=8", "--space", "t")["removed"] == 1
    assert _json(place, "stats", "--space", "t")["n_items"] == 35
    finished = _run(place, "remove", "k5", "nobody", "no one", "--space", "t", "--json")
    assert finished.returncode == 1
    assert json.loads(finished.stdout) == {"removed": 1, "missing": ["nobody", "no one"]}
    assert "no item has the key 'nobody', 'no one'" in finished.stderr
    for wrong in ([], ["--where", "no json"], ["--where", "{1}"]):
        finished = _run(place, "remove", "--space", "t", *wrong)
        assert (finished.returncode, finished.stdout) == (2, "")


def test_a_store_goes_through_its_whole_life(place: Path) -> None:
    _json(place, "remove", "k1", "--space", "t")
    assert _json(place, "verify", "--space", "t")["is_clean"]
    assert _json(place, "rebuild", "--space", "t", "--memory", "1MB")["image"]["kind"] == "exact"
    _json(place, "snapshot", "snap", "--space", "t")
    assert _json(place, "compact", "--space", "t") == {"freed": 1}
    _json(place, "restore", "snap", "--space", "u")
    assert _json(place, "export", "all.parquet", "--space", "u")["exported"] == 49
    assert _json(place, "import", "all.parquet", "--space", "v") == {"imported": 49}
    assert _json(place, "calibrate", "none", "--space", "v") == {"calibration": "none"}
    told = _json(place, "stats", "--space", "v")
    assert (told["n_items"], told["space"], told["calibration"]) == (49, "sp", "none")
    assert _json(place, "stats", "--space", "indexes/v/store") == told
    assert "keys have the same" not in _run(place, "stats", "--space", "v").stdout
    finished = _run(place, "restore", "snap", "--space", "u")
    assert (finished.returncode, "is there already" in finished.stderr) == (1, True)
    people = _run(place, "stats", "--space", "v")
    assert "49 items" in people.stdout


def test_statistics_say_what_is_the_same_and_who_made_it(place: Path) -> None:
    rows = np.eye(3, 8, dtype=np.float32)[[0, 0, 1, 2]]
    with LocalStore.open(place / "indexes" / "t" / "store") as store:
        hashes = [None, None, "sha256:1", "sha256:1"]
        store.upsert(
            ["a", "b", "c", "d"],
            rows,
            modality="sound",
            content_hashes=hashes,
            made_by="the head of June",
        )
    told = _run(place, "stats", "--space", "t").stdout
    assert "2 keys have the same vector, bit for bit: 'a', 'b'" in told
    assert "2 keys have the same content, by the hash that was told: 'c', 'd'" in told
    assert "4 made by the head of June" in told
    modalities = _json(place, "stats", "--space", "t")["modalities"]
    assert modalities["sound"]["made_by"] == {"the head of June": 4}
    assert modalities["image"]["made_by"] == {"": 50}


def test_verify_says_what_is_damaged_and_repairs_what_it_can(place: Path) -> None:
    database = place / "indexes" / "t" / "store" / "store.sqlite3"
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM fields")
    connection.commit()
    connection.close()
    finished = _run(place, "verify", "--space", "t", "--json")
    assert finished.returncode == 1
    assert "say --repair" in finished.stderr
    assert not json.loads(finished.stdout)["is_clean"]
    assert _json(place, "verify", "--repair", "--space", "t")["repaired"]
    assert _json(place, "verify", "--space", "t")["is_clean"]


def test_what_is_not_there_is_one_clear_line(place: Path) -> None:
    for command in (["stats"], ["verify"], ["compact"], ["search", "--key", "a"], ["export", "x"]):
        finished = _run(place, *command, "--space", "nowhere")
        assert (finished.returncode, finished.stdout) == (1, "")
        assert finished.stderr.startswith("error: no store at")
    assert not (place / "indexes" / "nowhere").exists()
    for wrong in (["search", "--space", "t"], ["search", "--key", "a", "--text", "b"], ["add"]):
        assert _run(place, *wrong).returncode == 2


def test_items_are_told_counted_and_listed(place: Path) -> None:
    (item,) = _json(place, "get", "k7", "--space", "t")
    assert (item["key"], item["modality"], item["metadata"]["n"]) == ("k7", "image", 7)
    assert item["content_hash"].startswith("vector:")
    rows = _json(place, "scan", "--space", "t", "--where", '{"n": {"$lt": 20}}', "--limit", "3")
    assert [row["key"] for row in rows] == ["k0", "k1", "k10"]
    assert _json(place, "count", "--space", "t") == {"count": 50}
    assert _json(place, "count", "--space", "t", "--modality", "sound") == {"count": 0}
    finished = _run(place, "get", "k1", "nobody", "--space", "t")
    assert (finished.returncode, "k1" in finished.stdout) == (1, True)
    assert "no item has the key 'nobody'" in finished.stderr


def test_files_are_added_found_and_those_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "bird.txt").write_text("a small red bird on a branch")
    (tmp_path / "notes" / "car.txt").write_text("a lorry on the motorway")
    (tmp_path / "notes" / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    common = '{"licence": "CC0"}'
    finished = _run(tmp_path, "add", "notes", "--space", "mini", "--metadata", common, "--json")
    assert finished.returncode == 1
    told = json.loads(finished.stdout)
    assert finished.stderr.count("bad.txt") == 1, "it is told once why a file is left out"
    assert (told["added"], [row["key"] for row in told["failures"]]) == (2, ["notes/bad.txt"])
    hits = _json(tmp_path, "search", "--text", "some birds", "--where", common)
    assert [hit["key"] for hit in hits] == ["notes/bird.txt", "notes/car.txt"]
    (again,) = _json(tmp_path, "search", "notes/car.txt", "-k1", "--words", "CC0", "--exact")
    assert again["metadata"]["licence"] == "CC0"
    assert _run(tmp_path, "add", "nowhere.txt").returncode == 1
    assert _json(tmp_path, "verify")["outdated"] == {}
    with LocalStore.open(tmp_path / "indexes" / "mini" / "store") as store:
        rows = store.vectors(["notes/car.txt"])
        store.upsert(["notes/car.txt"], rows, modality="text", made_by="a head of before")
    assert _json(tmp_path, "verify")["outdated"] == {"text": 1}
    assert "text: an earlier head embedded 1 items" in _run(tmp_path, "verify").stdout


def test_a_shell_gets_json_and_an_exit_code(place: Path) -> None:
    call = [sys.executable, "-m", "unibind", "index", "verify", "--space", "t", "--json"]
    finished = subprocess.run(call, cwd=place, capture_output=True, check=True)
    assert json.loads(finished.stdout)["is_clean"]
