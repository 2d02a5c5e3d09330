"""The models behind the pictures of `furniture`: their geometry alone, at its real size."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from unibind.datasets.furniture import CATALOGUE, FURNITURE, LIBRARIES, models_of
from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.sources import extract

__all__ = ["FURNITURE_SHAPES"]

_NOTE = "# Changed from the original: only geometry is kept; turned, and scaled to metres.\n"
_SIDES = ("width", "height", "depth")  # along x, y, z: y is up


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    (archive,) = archives

    def library(member: str) -> str | None:
        path = PurePosixPath(member)
        return path.name if path.suffix == ".sh3f" and path.stem in LIBRARIES else None

    for models in extract(archive, scratch, select=library):
        yield from _library(models, folder / models.stem, scratch / models.stem)


def _library(archive: Path, folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    (table,) = extract(archive, scratch, select=lambda name: name if name == CATALOGUE else None)
    models = models_of(table.read_text(encoding="latin-1"))
    wanted = {model["model"].lstrip("/") for model in models}
    extract(archive, scratch, select=lambda name: name if name in wanted else None)
    folder.mkdir(parents=True, exist_ok=True)
    for model in models:
        picture = PurePosixPath(model["icon"]).name
        shape = folder / PurePosixPath(picture).with_suffix(".obj")
        size_m = {side: float(model[side]) / 100 for side in _SIDES}
        source = scratch / model["model"].lstrip("/")
        text = source.read_text(encoding="latin-1")
        shape.write_text(_geometry(text, model, [size_m[side] for side in _SIDES]))
        source.unlink()
        yield LabelledItem(
            shape,
            label=model["name"],
            caption=model["name"],
            group=archive.stem,
            extra={
                "category": model["category"],
                **{f"{side}_m": size_m[side] for side in ("width", "depth", "height")},
                "picture": f"{archive.stem}/{picture}",
                "creator": model.get("creator", ""),
                "licence": LIBRARIES[archive.stem],
            },
        )


def _geometry(obj: str, model: Mapping[str, str], sides_m: Sequence[float]) -> str:
    """Return the vertices and faces of an OBJ file, turned and scaled as the catalogue says."""
    lines = re.findall(r"^[ \t]*([vf])[ \t]+(\S.*)$", obj, re.MULTILINE)
    rows, faces, used = [], [], set()
    for kind, text in lines:
        if kind == "v":
            rows.append(text.split()[:3])
        else:
            corners = [int(word.split("/")[0]) for word in text.split()]
            face = [n if n > 0 else len(rows) + 1 + n for n in corners]
            faces.append("f " + " ".join(map(str, face)))
            used.update(face)
    vertices = np.array(rows, dtype=np.float64)
    if rotation := model.get("modelRotation"):
        vertices = vertices @ np.array(rotation.split(), dtype=np.float64).reshape(3, 3).T
    placed = _placed(vertices, np.array(sorted(used)) - 1, sides_m)
    written = [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in placed.tolist()]
    return _NOTE + "\n".join(written + faces) + "\n"


def _placed(
    vertices: npt.NDArray[np.float64], used: npt.NDArray[np.int64], sides_m: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return vertices, shape (V, 3), so that those of faces fill a box that stands on the ground.

    A vertex that no face uses may lie far away.
    """
    low, high = vertices[used].min(axis=0), vertices[used].max(axis=0)
    extent = np.where(high > low, high - low, 1.0)
    middle = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    placed: npt.NDArray[np.float64] = (vertices - middle) / extent * sides_m
    return placed


FURNITURE_SHAPES = NamedSet(
    name="furniture-shapes",
    what="the 3D models of furniture and household things, in metres, with names",
    packages=FURNITURE.packages,
    n_items=400,
    licence=FURNITURE.licence,
    attribution=FURNITURE.attribution,
    unpack=_unpack,
)
