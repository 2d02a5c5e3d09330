from pathlib import Path

from unibind.datasets import Dataset, LabelledItem


def test_a_frame_has_a_row_per_item_in_order_and_a_column_per_further_field():
    items = (
        LabelledItem(Path("b.png"), label="dog", extra={"licence": "CC0"}),
        LabelledItem(Path("a.png"), label="cat", caption="A cat.", extra={"licence": "MIT"}),
    )
    frame = Dataset("pets", items).to_frame()
    assert list(frame.columns) == ["key", "path", "label", "caption", "group", "split", "licence"]
    assert frame["key"].tolist() == ["a.png", "b.png"]
    assert frame["licence"].tolist() == ["MIT", "CC0"]
    assert frame["caption"].isna().tolist() == [False, True]


def test_a_frame_of_no_items_still_has_its_columns():
    frame = Dataset("none", ()).to_frame()
    assert len(frame) == 0
    assert list(frame.columns) == ["key", "path", "label", "caption", "group", "split"]
