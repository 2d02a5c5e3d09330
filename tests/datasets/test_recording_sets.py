"""The two sets of recordings, and the plain-text format that they come in."""

from collections import Counter

import numpy as np
import pytest

from unibind.datasets import SETS, fetch
from unibind.datasets.ts_format import Case, read_cases, write_case
from unibind.errors import FetchError
from unibind.knowledge.base import open_base
from unibind.modalities.timeseries import read


@pytest.mark.parametrize(
    ("name", "n_each", "shape", "rate_hz", "gravity"),
    [
        ("basic-motions", 10, (6, 100), 10.0, "removed"),
        ("appliances", 10, (1, 1460), 0.4, ""),
    ],
)
def test_a_set_of_recordings_says_all_of_itself(name, n_each, shape, rate_hz, gravity):
    dataset = fetch(name)
    assert len(dataset) == SETS[name].n_items
    counts = Counter((item.label, item.split) for item in dataset.items)
    assert set(counts.values()) == {n_each}
    for item in dataset.items[::20]:
        recording = read(item.path.read_bytes())
        assert recording.values.shape == shape
        assert recording.rate_hz == rate_hz
        assert recording.gravity == gravity


def test_classes_are_called_as_the_knowledge_base_calls_them():
    assert {item.label for item in fetch("basic-motions").items} == {
        "standing", "walking", "running", "playing badminton",
    }  # fmt: skip
    labels = {item.label for item in fetch("appliances").items}
    assert len(labels) == 10
    assert labels < set(open_base("everyday").classes)


def test_the_readings_of_appliances_are_four_quantities_in_turn():
    for item in fetch("appliances").items[::20]:
        readings = read(item.path.read_bytes()).values[0].reshape(-1, 4)
        assert readings[:, 2].std() < 0.1  # the mains voltage: it hardly moves, and is the largest
        assert np.median(readings[:, 2]) > np.median(readings, axis=0)[[0, 1, 3]].max()


def test_the_plain_text_format_is_read_line_by_line(tmp_path):
    path = tmp_path / "a.ts"
    path.write_text("# words\n@dimensions 2\n@data\n1,2.5,3:4,5,6:up\n\n-1,0,1:2,2,2:down\n")
    cases = list(read_cases(path))
    assert cases[0] == Case((("1", "2.5", "3"), ("4", "5", "6")), "up")
    assert cases[1].label == "down"


@pytest.mark.parametrize(
    ("line", "telling"),
    [
        ("up", "line 2: 0 channels"),
        ("1,2:3:up", r"line 2: 2 channels of \[1, 2\] values"),
        ("1,high:up", "line 2: could not convert.*'high'"),
    ],
)
def test_a_line_that_is_no_recording_is_an_error_with_its_number(tmp_path, line, telling):
    path = tmp_path / "a.ts"
    path.write_text(f"@data\n{line}\n")
    with pytest.raises(FetchError, match=telling):
        list(read_cases(path))


def test_a_recording_that_was_written_is_read_back(tmp_path):
    case = Case((tuple("123456789"), tuple("987654321")), "up")
    path = tmp_path / "deep" / "a.csv"
    write_case(path, case, step_s=0.02, headings=("a [g]", "b"))
    found = read(path.read_bytes())
    assert (found.rate_hz, found.channels, found.units) == (50, ("a", "b"), ("g", ""))
    np.testing.assert_array_equal(found.values, [range(1, 10), range(9, 0, -1)])
