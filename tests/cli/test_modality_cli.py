import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from installing import install, run


@pytest.mark.parametrize("instrument", [False, True])
def test_a_new_modality_installs_passes_its_test_and_is_listed(unibind, tmp_path, instrument):
    more = ["--instrument"] if instrument else []
    made = unibind("modality", "new", "eddy_current", "--into", tmp_path, "--json", *more)
    assert made.code == 0, made.err
    package = tmp_path / "unibind-eddy-current"
    told = json.loads(made.out)
    assert told["folder"] == str(package)
    assert sorted(told["files"]) == sorted(
        path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()
    )
    env = install(package, tmp_path / "site")
    assert " passed" in run("pytest", "-q", "-p", "no:cacheprovider", env=env, folder=package)
    listed = json.loads(run("unibind", "plugins", "--json", env=env, folder=tmp_path))
    found = {(row["group"], row["name"]) for row in listed if "eddy" in row["package"]}
    wanted = {("modalities", "eddy_current"), ("encoders", "eddy-current-features")}
    wanted |= {("instruments", "eddy-current")} if instrument else set()
    assert found == {(f"unibind.{group}", name) for group, name in wanted}


def test_people_are_told_what_to_do_next(unibind, tmp_path):
    shown = unibind("modality", "new", "sonar", "--into", tmp_path).out
    assert f"pip install -e {tmp_path / 'unibind-sonar'}" in shown
    assert "unibind plugins" in shown
    text = (tmp_path / "unibind-sonar" / "README.md").read_text()
    assert "unibind align --modality sonar --encoder sonar-features" in text
    assert "$" not in text


@pytest.mark.parametrize("name", ["Sonar", "2d", "a-b", "a__b", "", "../evil", "sonar_"])
def test_a_name_that_no_package_can_have_is_refused(unibind, tmp_path, name):
    refused = unibind("modality", "new", name, "--into", tmp_path)
    assert refused.code == 1
    assert "a modality cannot be called" in refused.err
    assert not list(tmp_path.glob("unibind*"))


def test_a_modality_that_is_installed_and_a_folder_that_is_there_are_refused(unibind, tmp_path):
    assert "installed already" in unibind("modality", "new", "image", "--into", tmp_path).err
    unibind("modality", "new", "sonar", "--into", tmp_path)
    again = unibind("modality", "new", "sonar", "--into", tmp_path)
    assert (again.code, again.out) == (1, "")
    assert "is there already" in again.err
    (tmp_path / "file").write_text("")
    blocked = unibind("modality", "new", "radar", "--into", tmp_path / "file")
    assert "cannot write" in blocked.err
