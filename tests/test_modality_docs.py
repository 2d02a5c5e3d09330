"""Each modality has a page, and the page says what the code says."""

from math import isfinite
from pathlib import Path

import pytest

from unibind.modalities.registry import installed

DOCS = Path(__file__).parents[1] / "docs" / "modalities"
MODALITIES = [modality for modality in installed().values() if modality.draw is not None]


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda each: each.name)
def test_the_page_of_a_modality_names_its_options_and_how_it_is_drawn(modality):
    page = (DOCS / f"{modality.name}.md").read_text(encoding="utf-8")
    assert "unibind show" in page
    missing = [name for name in modality.options if f"`{name}" not in page]
    assert not missing


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda each: each.name)
def test_each_modality_that_is_drawn_has_limits_in_its_value(modality):
    assert modality.limits
    assert all(isfinite(limit) for limit in modality.limits.values())
