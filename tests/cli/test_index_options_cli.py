"""``unibind index add --option``: what files do not say of themselves."""

import json

import numpy as np


def events(path) -> None:
    """Write an edge that crosses a small sensor, times in whole microseconds."""
    rows = [(t * 100, t // 4 % 48, y, t % 2) for t in range(400) for y in range(0, 32, 8)]
    np.savetxt(path, rows, fmt="%d", delimiter=",", header="t,x,y,p", comments="")


def test_files_are_stored_with_what_the_user_says_of_them(unibind, here):
    events(here / "edge.csv")
    without = unibind("index", "add", "edge.csv", "--modality", "event", "--json")
    assert without.code == 1
    assert "time_unit" in without.err
    told = ("--option", "time_unit=us", "--option", "width=48", "--option", "height=32")
    stored = unibind("index", "add", "edge.csv", "--modality", "event", *told, "--json")
    assert (stored.code, json.loads(stored.out)["added"]) == (0, 1)
    (found,) = json.loads(unibind("index", "scan", "--json").out)
    assert found["modality"] == "event"
