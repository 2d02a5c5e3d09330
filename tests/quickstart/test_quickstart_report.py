from unibind.evaluation.arms import Row
from unibind.quickstart.measure import Measured
from unibind.quickstart.report import markdown, table_lines


def row(arm: str, *, default: bool = False) -> Row:
    return Row(
        arm=arm, default=default, r_at_1=0.25, r_at_5=0.5, interval_r_at_1=[0.2, 0.3],
        interval_r_at_5=[0.4, 0.6], n=173, gallery=166, chance=0.006, seeds=5, note=f"on {arm}",
    )  # fmt: skip


MEASURED = Measured(
    captions=[row("head", default=True), row("chance")],
    unseen=[row("prior")],
    seen=[row("probe")],
    differences={"a minus b": {"mean": -0.0123, "low": -0.02, "high": 0.001}},
    generalised={"calibrated": {"seen": 0.5, "unseen": 0.25, "harmonic": 0.3333}},
)


def test_every_row_of_a_table_has_the_columns_of_its_head():
    lines = table_lines(MEASURED.captions)
    assert {line.count("|") for line in lines} == {10}
    assert lines[2] == (
        "| **head** | **0.250** | 0.200 to 0.300 | **0.500** | 0.400 to 0.600 "
        "| 173 | 166 | 0.006 | on head |"
    )
    assert "**" not in lines[3]


def test_the_report_holds_all_that_was_measured():
    text = markdown(MEASURED, sets=["a set"], seeds=5, pictures={"map.png": "The map"})
    lines = text.splitlines()
    for rows in (MEASURED.captions, MEASURED.unseen, MEASURED.seen):
        for line in table_lines(rows):
            assert line in lines
    assert "- a minus b: -0.012 [-0.020, +0.001]" in lines
    assert "| calibrated | 0.500 | 0.250 | 0.333 |" in lines
    assert "![The map](map.png)" in lines
    assert "- a set" in lines
    assert "over 5 seeds" in text


def test_what_was_measured_is_plain_json():
    assert MEASURED.to_json() == {
        "captions": MEASURED.captions,
        "unseen": MEASURED.unseen,
        "seen": MEASURED.seen,
        "differences": MEASURED.differences,
        "generalised": MEASURED.generalised,
    }
