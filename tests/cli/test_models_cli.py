"""``unibind models`` as a shell sees it: exit codes, stdout for results, stderr for the rest."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from loopback import CLOSED, pip_settings

from unibind.weights import MODELS

MINI = ["minilm-l6", "efficientnet-lite0", "imagenet-labels"]


def _run(*arguments: str, cache: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "unibind", "models", *arguments],
        env=os.environ | {"UNIBIND_CACHE": str(cache), "COLUMNS": "80"} | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def _json(finished: subprocess.CompletedProcess[str]) -> Any:
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_list_tells_purpose_size_licence_and_state(mini_cache: Path) -> None:
    rows = _json(_run("list", "--json", cache=mini_cache))
    assert [row["name"] for row in rows] == list(MODELS)
    assert {row["name"] for row in rows if row["state"] == "present"} == set(MINI)
    assert {row["state"] for row in rows} == {"present", "absent"}
    for row in rows:
        model = MODELS[row["name"]]
        assert row["bytes"] == sum(file.n_bytes for file in model.files)
        assert (row["licence"], row["purpose"]) == (model.licence, model.purpose)


def test_list_for_people_fits_a_terminal_and_cuts_nothing_off(mini_cache: Path) -> None:
    shown = _run("list", cache=mini_cache).stdout
    assert max(map(len, shown.splitlines())) <= 80
    for model in MODELS.values():
        assert model.name in shown
    assert "…" not in shown


def test_a_damaged_model_is_listed_as_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "aisfx"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pth").write_bytes(b"half")
    rows = {row["name"]: row["state"] for row in _json(_run("list", "--json", cache=tmp_path))}
    assert rows["aisfx"] == "damaged"


def test_fetch_without_a_name_is_what_mini_needs_and_tells_whom_to_thank(
    mini_cache: Path,
) -> None:
    nothing_to_do = _run("fetch", "--json", cache=mini_cache, **pip_settings(CLOSED))
    rows = _json(nothing_to_do)
    assert [row["name"] for row in rows] == MINI
    assert [row["path"] for row in rows] == [str(mini_cache / "models" / name) for name in MINI]
    assert nothing_to_do.stderr == ""

    shown = _run("fetch", "minilm-l6", cache=mini_cache).stdout
    assert "Apache-2.0" in shown
    assert MODELS["minilm-l6"].attribution in shown


def test_path_prints_the_folder_and_nothing_else(mini_cache: Path) -> None:
    folder = str(mini_cache / "models" / "minilm-l6")
    assert _run("path", "minilm-l6", cache=mini_cache).stdout == f"{folder}\n"
    answer = _json(_run("path", "minilm-l6", "--json", cache=mini_cache))
    assert answer == {"name": "minilm-l6", "path": folder}


def test_path_of_an_absent_model_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    finished = _run("path", "minilm-l6", cache=tmp_path)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.count("\n") == 1
    assert "run `unibind models fetch minilm-l6`" in finished.stderr


def test_one_model_that_fails_does_not_keep_the_others_back(
    mini_cache: Path, tmp_path: Path
) -> None:
    finished = _run(
        "fetch", "aisfx", "imagenet-labels", "--json", cache=tmp_path,
        UNIBIND_MODEL_DIR=str(mini_cache / "models"), **pip_settings(CLOSED),
    )  # fmt: skip
    assert finished.returncode == 1
    assert [row["name"] for row in json.loads(finished.stdout)] == ["imagenet-labels"]
    assert "error: cannot fetch aisfx: cannot bring aisfx 0.1.2: no network" in finished.stderr


@pytest.mark.parametrize(
    "arguments",
    [("fetch", "clip"), ("path", "clip"), ("fetch", "--all", "aisfx"), ("path",), ("nonsense",)],
)
def test_wrong_use_is_exit_code_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    finished = _run(*arguments, cache=tmp_path)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr
