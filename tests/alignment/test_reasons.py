import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.reasons import Part, as_reasons, line_parts
from unibind.types import SpaceId

LINES = ["It purrs.", "It has whiskers.", "It hunts mice.", "It sleeps by day."]


@pytest.fixture
def centers(draw):
    """Of a cat by four lines and of a dog by three."""
    lines = [draw(4, 8), draw(3, 8)]
    return ClassCenters.from_lines(("a cat", "a dog"), lines, space=SpaceId("s"))


@pytest.mark.parametrize(("label", "n_lines"), [("a cat", 4), ("a dog", 3)])
def test_what_the_lines_add_is_the_score(centers, draw, label, n_lines):
    item = draw(1, 8)
    parts = line_parts(item[0], centers, label, LINES[:n_lines])
    assert [part.text for part in parts] == LINES[:n_lines]
    score = centers.scores(item)[0, centers.labels.index(label)]
    assert sum(part.value for part in parts) == pytest.approx(score, abs=1e-6)


def test_the_nearer_line_adds_more(centers, draw):
    item = draw(1, 8)[0]
    values = [part.value for part in line_parts(item, centers, "a cat", LINES)]
    cosines = (centers.vectors[0] @ item).tolist()
    assert np.argsort(values).tolist() == np.argsort(cosines).tolist()


def test_a_name_alone_says_that_it_was_all(draw):
    centers = ClassCenters(("a cat", "a dog"), draw(2, 1, 8), SpaceId("s"))
    item = draw(1, 8)
    (part,) = line_parts(item[0], centers, "a dog", ["a dog"])
    score = centers.scores(item)[0, 1]
    assert part.value == pytest.approx(score, abs=1e-6)
    assert part.text == f'only the name was compared: cosine {score:.2f} to "a dog"'


def test_shares_are_of_all_that_was_weighed_and_the_strongest_comes_first():
    parts = [
        Part(line, value, "description") for line, value in zip(LINES, (1, 4, -2, 3), strict=True)
    ]
    parts += [Part("2 m high", -5.0, "measurement"), Part("1 m long", 0.0, "measurement")]
    reasons = as_reasons(parts, n_lines=2)
    assert [(reason.text, reason.share) for reason in reasons] == [
        ("2 m high", pytest.approx(-5 / 15)),
        ("It has whiskers.", pytest.approx(4 / 15)),
        ("It sleeps by day.", pytest.approx(3 / 15)),
    ]
    assert [reason.source for reason in reasons] == ["measurement", "description", "description"]
    every = as_reasons(parts, n_lines=4)
    assert sum(abs(reason.share) for reason in every) == pytest.approx(1)


def test_what_says_nothing_is_no_reason():
    assert as_reasons([]) == ()
    assert as_reasons([Part("It purrs.", 0.0, "description")]) == ()
