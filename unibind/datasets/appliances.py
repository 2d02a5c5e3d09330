"""The power that ten kinds of appliance draw, one reading every ten seconds, without its scale."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from unibind.datasets.basic_motions import AEON, unpack_splits
from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet

__all__ = ["APPLIANCES"]

_STEP_S = 10.0
# The order of the classes in the file's own description; its labels are numbers.
_NAMES = {
    "0": "mobile phone",
    "1": "coffee machine",
    "2": "desktop computer",
    "3": "refrigerator",
    "4": "hi-fi system",
    "5": "compact fluorescent lamp",
    "6": "laptop",
    "7": "microwave oven",
    "8": "printer",
    "9": "television",
}


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    (archive,) = archives
    return unpack_splits(
        archive,
        folder,
        scratch,
        problem="ACSF1",
        names=_NAMES,
        step_s=_STEP_S,
        headings=("power",),  # z-normalised by the set's makers: it has no unit any more
    )


APPLIANCES = NamedSet(
    name="appliances",
    what="power drawn by ten kinds of appliance (1 channel, 0.1 Hz, z-normalised)",
    packages=(AEON,),
    n_items=200,
    licence="BSD-3-Clause (the package); data of the UCR archive",
    attribution="C. Gisler et al., ACS-F1 (2013); UCR time series archive; aeon developers",
    unpack=_unpack,
)
