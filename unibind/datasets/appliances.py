"""What ten kinds of appliance draw from the mains, as an archive of benchmarks keeps it.

Each series has four quantities in turn (reactive power, power, voltage and current, to judge by
their sizes), together every ten seconds for an hour, with mean 0 and standard deviation 1 over all
of them. It is kept so: results on the archive's series can be compared.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from unibind.datasets.basic_motions import AEON, unpack_splits
from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet

__all__ = ["APPLIANCES"]

_STEP_S = 2.5
# The order of the classes in the file's own description; its labels are numbers. What is drawn
# fits several of these names badly, see docs/modalities/timeseries.md: the classes are real, their
# names are not certain.
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
        headings=("reading",),
    )


APPLIANCES = NamedSet(
    name="appliances",
    what="what ten kinds of appliance draw (1 channel of mixed readings; names not certain)",
    packages=(AEON,),
    n_items=200,
    licence="BSD-3-Clause (the package); data of the UCR archive",
    attribution="C. Gisler et al., ACS-F1 (2013); UCR time series archive; aeon developers",
    unpack=_unpack,
)
