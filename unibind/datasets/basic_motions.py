"""Four activities, recorded by a smart watch: a demonstration, too easy for a benchmark."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.datasets.ts_format import read_cases, write_case
from unibind.sources import Package, extract

__all__ = ["AEON", "BASIC_MOTIONS", "unpack_splits"]

AEON = Package(
    "pip",
    "aeon",
    "1.6.0",
    "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    6_421_000,
)
"""The wheel whose data files are read; no code in it is run."""

_STEP_S = 0.1
_NAMES = {
    "Standing": "standing",
    "Walking": "walking",
    "Running": "running",
    "Badminton": "playing badminton",
}
# Units are not stated by the set's makers; the sizes are those of m/s2 and rad/s, and a watch at
# rest shows about 0, so gravity was removed.
_HEADINGS = (
    *(f"linear acceleration {axis} [m/s2]" for axis in "xyz"),
    *(f"turn {axis} [rad/s]" for axis in "xyz"),
)


def unpack_splits(
    archive: Path,
    folder: Path,
    scratch: Path,
    *,
    problem: str,
    names: dict[str, str],
    step_s: float,
    headings: tuple[str, ...],
) -> Iterator[LabelledItem]:
    """Write the recordings of one problem of the wheel as CSV files, and yield them as items.

    Args:
        archive: The wheel.
        folder: Of the set; the files go into ``train`` and ``test``.
        scratch: For what is taken out of the wheel on the way.
        problem: Name of the problem.
        names: Label in the file to the class's name.
        step_s: Seconds from one step to the next.
        headings: Of the channels.
    """
    wanted = {f"{problem}_{split.upper()}.ts": split for split in ("train", "test")}

    def select(member: str) -> str | None:
        path = PurePosixPath(member)
        return path.name if path.name in wanted and path.parent.name == problem else None

    for source in extract(archive, scratch, select=select):
        split = wanted[source.name]
        for number, case in enumerate(read_cases(source)):
            label = names[case.label]
            path = folder / split / f"{label.replace(' ', '-')}-{number:03d}.csv"
            write_case(path, case, step_s=step_s, headings=headings)
            yield LabelledItem(path, label=label, split=split, key=f"{split}/{path.name}")


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    (archive,) = archives
    return unpack_splits(
        archive,
        folder,
        scratch,
        problem="BasicMotions",
        names=_NAMES,
        step_s=_STEP_S,
        headings=_HEADINGS,
    )


BASIC_MOTIONS = NamedSet(
    name="basic-motions",
    what="smart-watch recordings of standing, walking, running and badminton (6 channels, 10 Hz)",
    packages=(AEON,),
    n_items=80,
    licence="BSD-3-Clause (the package); data of the UEA archive",
    attribution="UEA time series classification archive; aeon developers",
    unpack=_unpack,
)
