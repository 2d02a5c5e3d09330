"""The README's figures are those of the committed results."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def result(name: str) -> dict:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def told(mean: float, interval: list[float]) -> str:
    return f"{mean:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def arm(rows: list[dict], name: str) -> dict:
    return next(row for row in rows if row["arm"] == name)


def test_wrists_are_told_as_they_were_measured():
    found = result("timeseries")["basic-motions"]["attributes"]["6 attributes"]
    accuracy = found["accuracy"]
    assert told(accuracy["mean"], [accuracy["low"], accuracy["high"]]) in README
    assert f"permuted ranges {found['permuted_ranges_mean']:.2f}" in README


def test_shapes_are_told_as_they_were_measured():
    found = result("pointcloud")["measured_only"]
    row = found["arms"]["all five"]
    assert f"{found['n']} models" in README
    assert f"among {found['candidates']} classes" in README
    assert told(row["r_at_1"], row["interval_r_at_1"]) in README
    assert told(row["r_at_5"], row["interval_r_at_5"]) in README


def test_sounds_are_told_as_they_were_measured():
    rows = result("audio")["15 unseen classes, both sets"]["table"]
    for name in ("measured", "head + measured"):
        row = arm(rows, name)
        assert told(row["r_at_1"], row["interval_r_at_1"]) in README
    for name in ("head", "raw log-mel"):
        assert f"{arm(rows, name)['r_at_1']:.3f}" in README


def test_pictures_of_unseen_classes_are_told_as_they_were_measured():
    row = arm(result("alignment_bars")["unseen"], "head + prior")
    assert told(row["r_at_1"], row["interval_r_at_1"]) in README
