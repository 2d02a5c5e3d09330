"""The ``.ts`` files of the UEA and UCR archives: one labelled recording a line, as plain text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unibind.errors import FetchError

__all__ = ["Case", "read_cases", "write_case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a ``.ts`` file.

    Attributes:
        channels: The values of each channel as they are written there, equally many.
        label: The class, as the file calls it.
    """

    channels: tuple[tuple[str, ...], ...]
    label: str


def read_cases(path: Path) -> Iterator[Case]:
    """Yield the recordings of a file.

    A line holds the channels, separated by colons, then the label; values are separated by
    commas. Lines that start with # or @ describe the file.

    Raises:
        FetchError: A line has no label, channels of different lengths, or a value that is no
            number.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line[0] in "#@":
            continue
        *texts, label = line.strip().split(":")
        channels = tuple(tuple(value.strip() for value in text.split(",")) for text in texts)
        if not channels or len({len(channel) for channel in channels}) > 1:
            raise FetchError(
                f"{path.name}, line {number}: {len(channels)} channels of "
                f"{sorted({len(channel) for channel in channels})} values; needed: equally many"
            )
        try:
            for channel in channels:
                list(map(float, channel))
        except ValueError as error:
            raise FetchError(f"{path.name}, line {number}: {error}") from None
        yield Case(channels, label)


def write_case(path: Path, case: Case, *, step_s: float, headings: tuple[str, ...]) -> None:
    """Write a recording as CSV with a column of times, as the modality timeseries reads it.

    Args:
        path: Where; its folder is made.
        case: The recording.
        step_s: Seconds from one step to the next.
        headings: One for each channel: ``"power [W]"``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        ",".join((f"{step * step_s:.10g}", *values))
        for step, values in enumerate(zip(*case.channels, strict=True))
    ]
    heading = ",".join(("time [s]", *headings))
    path.write_text("\n".join((heading, *rows)) + "\n", encoding="utf-8")
