"""Finds attribute ranges that cannot be true, and classes that no attribute separates."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from unibind.knowledge.faults import SEVERITIES, Severity
from unibind.knowledge.lint import Finding
from unibind.knowledge.sensors import Attribute, Sensor, sensors
from unibind.knowledge.values import AttributeRanges, KnowledgeBase

__all__ = ["lint_attributes", "overlap"]

_WIDEST: Final = 300.0  # high over low, beyond which a range says nothing
_SPREAD: Final = 10.0  # factor between samples that contradict each other
_INSEPARABLE: Final = 0.75  # share of each range that all attributes of a pair have in common


def lint_attributes(base: KnowledgeBase, *, severity: Severity = "warning") -> list[Finding]:
    """Return what is wrong with a base's attribute ranges; rows count lines of attributes.jsonl."""
    findings: list[Finding] = []
    for row, entry in enumerate(base.attributes, start=1):
        sensor = sensors().get(entry.sensor)
        if sensor is None:
            known = ", ".join(sensors())
            told = f"sensor {entry.sensor!r}"
            findings.append(Finding(row, "unknown-sensor", "error", told, f"use one of {known}"))
            continue
        if entry.class_name not in base.lines_by_class:
            told = f"class {entry.class_name!r}"
            remedy = "add the class, or drop the ranges"
            findings.append(Finding(row, "unknown-class", "error", told, remedy))
        for name, bounds in entry.ranges.items():
            findings += _range_faults(row, entry, sensor, name, bounds)
        findings += _sample_faults(row, entry)
    findings += _repeated(base.attributes)
    findings += _inseparable(base.attributes)
    least = SEVERITIES.index(severity)
    findings = [f for f in findings if SEVERITIES.index(f.severity) >= least]
    return sorted(findings, key=lambda f: (f.row, f.kind))


def overlap(first: tuple[float, float], second: tuple[float, float], attribute: Attribute) -> float:
    """Return the share that two ranges have in common of the wider one, on the attribute's scale.

    Returns:
        In [0, 1]: 0 if they do not meet, 1 if they are equal.
    """
    (a_low, a_high), (b_low, b_high) = (_scaled(bounds, attribute) for bounds in (first, second))
    common = min(a_high, b_high) - max(a_low, b_low)
    widest = max(a_high - a_low, b_high - b_low)
    if widest == 0:
        return float(a_low == b_low)
    return max(0.0, common / widest)


def _range_faults(
    row: int, entry: AttributeRanges, sensor: Sensor, name: str, bounds: tuple[float, float]
) -> Iterator[Finding]:
    low, high = bounds
    told = f"{entry.class_name!r} {entry.sensor} {name} {low:g} to {high:g}"
    attribute = sensor.attributes.get(name)
    if attribute is None:
        known = ", ".join(sensor.attributes)
        yield Finding(row, "unknown-attribute", "error", told, f"use one of {known}")
        return
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        yield Finding(row, "range-order", "error", told, "low must be below high")
        return
    if low < attribute.low or high > attribute.high:
        limits = f"{attribute.low:g} to {attribute.high:g} {attribute.unit}".strip()
        yield Finding(row, "impossible-value", "error", told, f"physical limits are {limits}")
    if attribute.scale == "log" and low > 0 and high / low > _WIDEST:
        yield Finding(
            row, "range-too-wide", "note", f"{told}, a factor {high / low:.0f}", "narrow it"
        )


def _sample_faults(row: int, entry: AttributeRanges) -> Iterator[Finding]:
    """Yield attributes on which the samples that were aggregated contradict each other."""
    for name, (low, high) in entry.ranges.items():
        for sample_low, sample_high in entry.samples.get(name, ()):
            middle, other = math.sqrt(abs(low * high)), math.sqrt(abs(sample_low * sample_high))
            if middle > 0 and other > 0 and max(middle / other, other / middle) > _SPREAD:
                yield Finding(
                    row,
                    "samples-disagree",
                    "warning",
                    f"{entry.class_name!r} {name}: a sample says {sample_low:g} to "
                    f"{sample_high:g}, the median {low:g} to {high:g}",
                    "check the unit; ask for more samples",
                )
                break


def _repeated(entries: Sequence[AttributeRanges]) -> Iterator[Finding]:
    first: dict[tuple[str, str], int] = {}
    for row, entry in enumerate(entries, start=1):
        before = first.setdefault((entry.class_name, entry.sensor), row)
        if before != row:
            told = f"{entry.class_name!r} {entry.sensor} stands on line {before} already"
            yield Finding(row, "repeated-ranges", "error", told, "keep one")


def _inseparable(entries: Sequence[AttributeRanges]) -> Iterator[Finding]:
    by_sensor: dict[str, list[tuple[int, AttributeRanges]]] = defaultdict(list)
    for row, entry in enumerate(entries, start=1):
        by_sensor[entry.sensor].append((row, entry))
    for name, group in by_sensor.items():
        sensor = sensors().get(name)
        if sensor is None:
            continue
        for (row, a), (_, b) in combinations(group, 2):
            shared = [key for key in a.ranges if key in b.ranges and key in sensor.attributes]
            common = min(
                (overlap(a.ranges[key], b.ranges[key], sensor.attributes[key]) for key in shared),
                default=0.0,
            )
            if common >= _INSEPARABLE and a.class_name != b.class_name:
                yield Finding(
                    row,
                    "classes-inseparable",
                    "note",
                    f"{a.class_name!r} and {b.class_name!r}: every {name} range is common to at "
                    f"least {common:.0%}",
                    "narrow the ranges, or tell them apart by sentences",
                )


def _scaled(bounds: tuple[float, float], attribute: Attribute) -> tuple[float, float]:
    if attribute.scale == "linear":
        return bounds
    low, high = (math.log(max(value, 1e-9)) for value in bounds)
    return low, high
