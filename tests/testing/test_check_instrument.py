import numpy as np
import pytest

from unibind.errors import InvalidInputError
from unibind.modalities.text import TEXT
from unibind.testing import check_instrument

ITEMS = ["a", "bcd"]


class Ruler:
    """Measures how long a text is, as an instrument should."""

    modality = TEXT
    sensor = "ruler"
    attributes = ("length_letters", "spaces")

    def measure(self, items):
        rows = [[len(TEXT.accept(item)), TEXT.accept(item).count(" ")] for item in items]
        return np.array(rows, dtype=np.float32).reshape(-1, 2)


def test_an_honest_instrument_passes():
    check_instrument(Ruler(), ITEMS)


def broken(**changes):
    return type("Broken", (Ruler,), changes)()


def measure_with(change):
    return {"measure": lambda self, items: change(Ruler.measure(self, items))}


def lenient(self, items):
    return np.array([[len(str(item)), 0] for item in items], dtype=np.float32).reshape(-1, 2)


def by_the_batch(self, items):
    return Ruler.measure(self, items) + np.float32(len(items))


@pytest.mark.parametrize(
    ("changes", "telling"),
    [
        ({"modality": "text"}, "must be a unibind.types.Modality"),
        ({"sensor": ""}, "sensor must be"),
        ({"attributes": ()}, "at least one"),
        ({"attributes": ("a", "a")}, "name twice"),
        ({"attributes": ("a",)}, r"shape \(2, 2\) for 2 items, 1 attributes"),
        (measure_with(lambda rows: rows.tolist()), "list, a numpy array"),
        (measure_with(lambda rows: rows.astype(float)), "float64, float32"),
        (measure_with(lambda rows: rows / np.float32(0)), "measure returned inf"),
        (measure_with(lambda rows: rows * np.float32([1, np.nan])), "no item has a value of 'sp"),
        ({"measure": lenient}, "must raise InvalidInputError"),
        ({"measure": by_the_batch}, "alone and among others"),
    ],
)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value)")
def test_a_broken_promise_is_named(changes, telling):
    with pytest.raises(AssertionError, match=telling):
        check_instrument(broken(**changes), ITEMS)


def test_what_is_no_instrument_is_refused():
    with pytest.raises(AssertionError, match="has not all of them"):
        check_instrument(object(), ITEMS)
    with pytest.raises(AssertionError, match="two items or more"):
        check_instrument(Ruler(), ["a"])


def test_a_measurement_that_changes_is_found():
    generator = np.random.default_rng(0)

    def guess(self, items):
        return Ruler.measure(self, items) + generator.random((len(items), 2), dtype=np.float32)

    with pytest.raises(AssertionError, match="second measurement"):
        check_instrument(broken(measure=guess), ITEMS)


def test_the_example_refuses_what_is_no_text():
    with pytest.raises(InvalidInputError):
        Ruler().measure([3])
