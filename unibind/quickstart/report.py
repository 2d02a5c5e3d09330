"""The quickstart's report: what was measured and shown, as Markdown."""

from collections.abc import Mapping, Sequence

from unibind.evaluation.arms import Row
from unibind.quickstart.measure import Measured

__all__ = ["markdown", "table_lines"]

_HEADER = "| arm | R@1 | 95 % interval | R@5 | 95 % interval | n | gallery | chance | note |"
_RULE = "|---|---|---|---|---|---|---|---|---|"


def table_lines(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a Markdown table; the default arm is bold."""
    return [_HEADER, _RULE, *(_line(row) for row in rows)]


def markdown(
    measured: Measured, *, sets: Sequence[str], seeds: int, pictures: Mapping[str, str]
) -> str:
    """Return the report.

    Args:
        measured: The tables.
        sets: One line about each data set: name, size, source, licence.
        seeds: How many seeds there were.
        pictures: File name of each picture to what it shows.
    """
    shown = [line for name, text in pictures.items() for line in (f"![{text}]({name})", "")]
    return "\n".join(
        [
            "# Space mini: what it can do, measured here",
            "",
            f"Means over {seeds} seeds; intervals by bootstrap over captions or classes, which the",
            "seeds share. n is the mean number of pictures tested per seed.",
            "",
            "## Held-out captions",
            "",
            "A third of the captions was never trained on, nor any picture with nearly the same",
            "name or look. Each held-out picture looks for its caption among the held-out ones.",
            "",
            *table_lines(measured.captions),
            "",
            "## Unseen classes",
            "",
            "A third of the classes was never trained on; their pictures look for their class",
            "among the unseen ones. (The image tower itself was trained on ImageNet's labels, and",
            "has met many of these things there: unseen means unseen by the head.)",
            "",
            *table_lines(measured.unseen),
            "",
            "Differences in R@1, paired over pictures, with 95 % intervals:",
            "",
            *(
                f"- {name}: {value['mean']:+.3f} [{value['low']:+.3f}, {value['high']:+.3f}]"
                for name, value in measured.differences.items()
            ),
            "",
            "## Seen classes",
            "",
            "Other pictures of the classes that were trained on. The probe sees labels, no text:",
            "seen classes do not test what the text means.",
            "",
            *table_lines(measured.seen),
            "",
            "## Seen and unseen together",
            "",
            "| rule | seen | unseen | harmonic mean |",
            "|---|---|---|---|",
            *(
                f"| {rule} | {at['seen']:.3f} | {at['unseen']:.3f} | {at['harmonic']:.3f} |"
                for rule, at in measured.generalised.items()
            ),
            "",
            "## Searches",
            "",
            "The space's own head was trained on all of these pictures; the heads behind the",
            "tables were trained on none of those that they test.",
            "",
            *shown,
            "## Data",
            "",
            *(f"- {line}" for line in sets),
            "",
        ]
    )


def _line(row: Row) -> str:
    first, fifth = row["interval_r_at_1"], row["interval_r_at_5"]
    bold = "**" if row["default"] else ""
    return (
        f"| {bold}{row['arm']}{bold} | {bold}{row['r_at_1']:.3f}{bold} "
        f"| {first[0]:.3f} to {first[1]:.3f} | {bold}{row['r_at_5']:.3f}{bold} "
        f"| {fifth[0]:.3f} to {fifth[1]:.3f} | {row['n']} | {row['gallery']} "
        f"| {row['chance']:.3f} | {row['note']} |"
    )
