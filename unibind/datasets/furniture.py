"""Furniture and household things from the libraries of Sweet Home 3D, with their real sizes."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.sources import Package, extract

__all__ = ["CATALOGUE", "FURNITURE", "LIBRARIES", "models_of"]

LIBRARIES = {
    "BlendSwap-CC-0": "CC0-1.0",
    "BlendSwap-CC-BY": "CC-BY-3.0",
    "KatorLegaz": "CC-BY-3.0-US",
}
CATALOGUE = "PluginFurnitureCatalog.properties"


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    (archive,) = archives

    def library(member: str) -> str | None:
        path = PurePosixPath(member)
        return path.name if path.suffix == ".sh3f" and path.stem in LIBRARIES else None

    for models in extract(archive, scratch, select=library):
        yield from _library(models, folder / models.stem, scratch / models.stem)


def _library(archive: Path, folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    (table,) = extract(archive, scratch, select=lambda name: name if name == CATALOGUE else None)
    by_icon = {
        model["icon"].lstrip("/"): model for model in models_of(table.read_text(encoding="latin-1"))
    }
    # A texture of the same name may lie deeper, in the folder of a model.
    icons = {icon: PurePosixPath(icon).name for icon in by_icon}
    extract(archive, folder, select=icons.get)
    for icon, model in by_icon.items():
        yield LabelledItem(
            folder / icons[icon],
            label=model["name"],
            caption=model["name"],
            group=archive.stem,
            extra={
                "category": model["category"],
                "width_cm": float(model["width"]),
                "depth_cm": float(model["depth"]),
                "height_cm": float(model["height"]),
                "model": model["model"].lstrip("/"),
                "creator": model.get("creator", ""),
                "licence": LIBRARIES[archive.stem],
            },
        )


def models_of(properties: str) -> list[Mapping[str, str]]:
    r"""Return the models of a catalogue, which has a line ``name#7=Armchair`` for each fact.

    It is a Java properties file: Latin-1, other characters as ``\u00e9``.
    """
    models: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for fact, number, value in re.findall(r"^(\w+)#(\d+)=(.*)$", properties, re.MULTILINE):
        unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), value)
        models[int(number)][fact] = unescaped.strip()
    return list(models.values())


FURNITURE = NamedSet(
    name="furniture",
    what="rendered pictures of furniture and household things, with names and real sizes",
    packages=(
        Package(
            "apt",
            "sweethome3d-furniture",
            "1.8-1",
            "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
            119_782_356,
        ),
    ),
    n_items=400,
    licence="CC0-1.0, CC-BY-3.0, CC-BY-3.0-US (each item says which)",
    attribution="Sweet Home 3D libraries: Blend Swap contributors, Andrew Kator, Jennifer Legaz",
    unpack=_unpack,
)
