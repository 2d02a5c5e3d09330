import numpy as np
import pytest

from unibind.alignment.centers import ClassCenters
from unibind.alignment.reasons import line_reasons
from unibind.types import SpaceId

LINES = ["It purrs.", "It has whiskers.", "It hunts mice.", "It sleeps by day."]


@pytest.fixture
def centers(draw):
    return ClassCenters(("a cat", "a dog"), draw(2, 5, 8), SpaceId("s"))


def test_shares_are_what_each_line_adds_to_the_score(centers, draw):
    item = draw(1, 8)[0]
    reasons = line_reasons(item, centers, "a cat", LINES, n_reasons=4)
    parts = [float((centers.vectors[0, k] - centers.common()) @ item) for k in range(4)]
    total = sum(map(abs, parts))
    expected = sorted(
        ((part / total, line) for part, line in zip(parts, LINES, strict=True)), reverse=True
    )
    assert [reason.text for reason in reasons] == [line for _, line in expected]
    assert [reason.share for reason in reasons] == pytest.approx([s for s, _ in expected], abs=1e-5)
    assert sum(abs(reason.share) for reason in reasons) == pytest.approx(1)
    assert {reason.source for reason in reasons} == {"description"}


def test_the_nearest_lines_come_first_and_no_more_than_asked_for(centers):
    for k, line in enumerate(LINES):
        first, *rest = line_reasons(centers.vectors[1, k], centers, "a dog", LINES, n_reasons=2)
        assert first.text == line
        assert len(rest) == 1


def test_an_item_that_no_line_says_anything_of_has_no_reasons(centers):
    assert line_reasons(np.zeros(8, dtype=np.float32), centers, "a cat", LINES) == ()
