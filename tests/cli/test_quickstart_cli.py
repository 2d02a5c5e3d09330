"""``unibind quickstart``: Ctrl-C in each phase, without npm, its JSON, and run again.

All of it with the stamps alone, which is what is left where there is no npm.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from unibind import artifact
from unibind.sources import cache_dir

ARMS = (
    "chance",
    "raw pixels",
    "prior",
    "head",
    "head + prior",
    "unseen classes: everyday centers",
    "unseen classes: class-name centers",
    "seen classes: everyday centers",
    "seen classes: linear probe (supervised ceiling)",
)
PHASES = {"encoding": 1.0, "measuring": 1.0, "storing": 0.0}
"""What it says when a phase begins, and after how many seconds it is interrupted."""


class Machine:
    """A computer with the weights and the stamps, but without npm, and nothing encoded yet."""

    def __init__(self, root: Path) -> None:
        self.folder, self.cache, nowhere = root / "here", root / "cache", root / "nowhere"
        for path in (self.folder, self.cache / "datasets", nowhere):
            path.mkdir(parents=True)
        for name in ("models", "networks", "datasets/stamps"):
            self.share(name)
        self.how: dict[str, Any] = {
            "cwd": self.folder,
            "env": os.environ
            | {"PATH": str(nowhere), "UNIBIND_CACHE": str(self.cache), "COLUMNS": "120"},
            "text": True,
        }

    def share(self, name: str) -> None:
        """Take a folder from the cache of all tests instead of its own."""
        own, place = self.cache / name, cache_dir() / name
        place.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(own, ignore_errors=True)
        own.symlink_to(place, target_is_directory=True)

    def run(self, *arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "unibind", *map(str, arguments)],
            capture_output=True,
            check=False,
            **self.how,
        )

    def interrupt(self, phase: str, *arguments: str) -> tuple[int, str, str]:
        """Send SIGINT some time after a line of stderr that tells of the phase."""
        process = subprocess.Popen(
            [sys.executable, "-m", "unibind", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **self.how,
        )
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith(phase):
                time.sleep(PHASES[phase])
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=120)
        return process.returncode, out, said + err

    def half_written(self) -> list[str]:
        """Return what a writer left that did not finish."""
        return [path.name for path in self.folder.rglob(".*")]

    def built(self) -> list[str]:
        """Return the artefacts that are there, and whole."""
        root = self.folder / "indexes/mini"
        names = ("centers/everyday", "heads/image", "report", "space")
        return [name for name in names if artifact.exists(root / name)]


RUN = ("quickstart", "--seeds", "1", "--json")


@pytest.fixture(scope="module")
def machine(tmp_path_factory, mini_weights, stamps) -> Machine:
    return Machine(tmp_path_factory.mktemp("quickstart"))


@pytest.fixture(scope="module")
def interrupted(machine):
    """Interrupt it in each phase; return exit code, output, and what it left, by phase."""
    if os.name == "nt":
        pytest.skip("no SIGINT for a child there")
    outcomes = {}
    for phase in PHASES:
        ended = machine.interrupt(phase, *RUN)
        outcomes[phase] = (*ended, machine.half_written(), machine.built())
        if phase == "encoding":
            machine.share("features")  # the other tests need not wait for all of it
    return outcomes


@pytest.fixture(scope="module")
def finished(machine, interrupted):
    """What came of the run after the interrupted ones."""
    done = machine.run(*RUN)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_ends_it_as_shells_expect_and_leaves_nothing_half_written(interrupted, phase):
    code, out, err, half_written, built = interrupted[phase]
    assert (code, out, half_written) == (130, "", [])
    assert phase in err
    assert err.endswith("interrupted; what was finished is kept, nothing is half written\n")
    assert "Traceback" not in err
    assert built == (
        ["centers/everyday", "heads/image", "space"] if phase == "storing" else ["space"]
    )


def test_the_next_run_finishes_with_all_in_place(machine, finished):
    result, _ = finished
    assert result["is_new"]
    assert machine.half_written() == []
    assert machine.built() == ["centers/everyday", "heads/image", "report", "space"]
    for file in (result["report"], *result["pictures"]):
        assert (machine.folder / file).stat().st_size > 1000
    assert len(result["pictures"]) == 4


def test_without_npm_it_goes_on_with_the_stamps_and_says_so(finished):
    _, err = finished
    (line,) = [line for line in err.splitlines() if "going on without emoji" in line]
    assert "npm is not installed" in line
    assert "encoding 538 pictures" in err


def test_its_json_has_the_rows_and_fields_that_others_rely_on(finished):
    result, _ = finished
    rows = {row["arm"]: row for row in result["table"]}
    assert set(ARMS) <= set(rows)
    assert [arm for arm, row in rows.items() if row["default"] is True] == ["head + prior"]
    assert result["seconds"] > 0
    for row in rows.values():
        low, high = row["interval_r_at_1"]
        assert 0 <= low <= row["r_at_1"] <= high <= 1
        assert row["r_at_1"] <= row["r_at_5"] <= 1
        assert all(isinstance(row[name], int) for name in ("n", "gallery", "seeds"))
        assert row["seeds"] == 1
        assert min(row["n"], row["gallery"]) > 1
    for arm in ("chance", "raw pixels"):
        assert rows["head + prior"]["r_at_1"] > rows[arm]["r_at_1"]


def test_run_again_it_changes_nothing(machine, finished):
    first, _ = finished
    done = machine.run(*RUN)
    again = json.loads(done.stdout)
    assert not again["is_new"]
    assert again["seconds"] < first["seconds"]
    for name in ("table", "tables", "pictures", "report"):
        assert again[name] == first[name]
    assert "nothing has changed since the last run" in done.stderr
    assert "measuring" not in done.stderr


def test_a_damaged_report_is_measured_again_and_people_read_a_table(machine, finished):
    tables = machine.folder / "indexes/mini/report/tables.json"
    whole = tables.read_bytes()
    tables.write_bytes(whole.replace(b"0.", b"9.", 1))
    done = machine.run("quickstart", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "measuring" in done.stderr
    assert tables.read_bytes() == whole
    for words in ("head + prior (default)", "R@1", "What to type next:", "map.png", "report.md"):
        assert words in done.stdout
    for arm in ARMS:
        assert arm in done.stdout


def test_a_place_that_cannot_be_written_is_told_before_anything_is_encoded(machine):
    (machine.folder / "a-file").write_text("mine")
    done = machine.run(*RUN, "--space", "a-file/space")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: cannot write a-file/space")
    assert "choose a place that can be written" in last
    assert "encoding" not in done.stderr
    assert (machine.folder / "a-file").read_text() == "mine"


def test_without_the_stamps_it_cannot_go_on(tmp_path, mini_weights, stamps):
    machine = Machine(tmp_path)
    (machine.cache / "datasets/stamps").unlink()
    done = machine.run(*RUN)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "apt-get" in line
    assert not any(machine.folder.iterdir())


def test_no_seed_is_a_wrong_use(unibind):
    finished = unibind("quickstart", "--seeds", "0")
    assert finished.code == 2
    assert "--seeds" in finished.err
