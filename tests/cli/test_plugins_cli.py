"""``unibind plugins``: what is declared, from a real second package, too."""

import json

import pytest

from unibind.plugins import GROUPS, plugins


@pytest.fixture
def stranger(here, monkeypatch):
    """A package of somebody else, with an encoder that loads and a store that does not."""
    folder = here / "stranger-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.2\n")
    (folder / "entry_points.txt").write_text(
        "[unibind.encoders]\nodd = stranger_parts:load\n\n[unibind.stores]\nlost = nowhere:Store\n"
    )
    (here / "stranger_parts.py").write_text("def load():\n    raise RuntimeError('never called')\n")
    monkeypatch.syspath_prepend(str(here))


def test_every_part_is_listed_with_its_package(unibind, stranger):
    finished = unibind("plugins", "--json")
    assert (finished.code, finished.err) == (0, "")
    rows = json.loads(finished.out)
    assert {(row["group"], row["name"]) for row in rows} == {
        (group, each.name) for group in GROUPS for each in plugins(group)
    }
    assert {
        "group": "unibind.encoders",
        "name": "odd",
        "target": "stranger_parts:load",
        "package": "stranger 1.2",
    } in rows
    shown = unibind("plugins").out
    assert "odd" in shown
    assert "stranger 1.2" in shown


def test_check_tells_what_does_not_load_and_fails(unibind, stranger):
    finished = unibind("plugins", "--check", "--json")
    errors = {row["name"]: row["error"] for row in json.loads(finished.out)}
    assert errors["minilm-l6"] is None
    assert errors["odd"] is None
    assert "does not import" in errors["lost"]
    assert finished.code == 1
    assert finished.err.startswith("error: 1 of ")
    assert "lost" in finished.err
    assert finished.err.count("\n") == 1


def test_our_own_parts_all_load(unibind):
    finished = unibind("plugins", "--check")
    assert finished.code == 0, finished.err
    assert {line.split()[-1] for line in finished.out.splitlines()} == {"loads", "yes"}
