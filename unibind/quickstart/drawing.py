"""Pictures of what was found: contact sheets, and a map of the space."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from unibind.alignment.geometry import unit
from unibind.types import FloatArray

__all__ = ["Tile", "contact_sheet", "draw_map"]

_SIDE = 150
_TITLE_HEIGHT = 44
_TEXT_HEIGHT = 44
_GAP = 10
_INK, _PALE, _PAPER, _FRAME = "#1a1a1a", "#6b6b6b", "#ffffff", "#2f6fde"


@dataclass(frozen=True, slots=True)
class Tile:
    """One thing on a contact sheet.

    Attributes:
        caption: Words under the picture; in the middle of the tile if there is no picture.
        picture: File of the picture, or its pixels, uint8 (H, W, 3); None for words.
        note: A second, pale line: the score.
    """

    caption: str
    picture: Path | npt.NDArray[np.uint8] | None = None
    note: str = ""


def contact_sheet(title: str, query: Tile, hits: Sequence[Tile], *, columns: int = 5) -> bytes:
    """Return a PNG: the query in a frame at the left, its hits in rows beside it, best first."""
    n_rows = max(1, -(-len(hits) // columns))
    cell = (_SIDE + _GAP, _SIDE + _TEXT_HEIGHT + _GAP)
    width = (columns + 1) * cell[0] + 3 * _GAP
    height = _TITLE_HEIGHT + n_rows * cell[1] + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), title, fill=_INK, font=ImageFont.load_default(16))
    _paste(sheet, query, (_GAP, _TITLE_HEIGHT), frame=True)
    for n, hit in enumerate(hits):
        row, column = divmod(n, columns)
        _paste(sheet, hit, ((column + 1) * cell[0] + 2 * _GAP, _TITLE_HEIGHT + row * cell[1]))
    return _png(sheet)


def draw_map(
    groups: Mapping[str, FloatArray], *, title: str, names: Mapping[str, FloatArray]
) -> bytes:
    """Return a PNG: embeddings in two dimensions, one colour per group, some named places.

    The two directions are those of the pictures' largest spread. Words are centred on their own
    mean and stretched to the pictures' reach, because each kind crowds in its own corner.

    Args:
        groups: Name of the group to its embeddings, shape (N, D).
        title: Of the picture.
        names: Words to write at the embedding of their text, shape (D,).
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    everything = np.concatenate(list(groups.values()))
    centre = everything.mean(axis=0)
    _, _, directions = np.linalg.svd(everything - centre, full_matrices=False)
    plane = directions[:2].T  # (D, 2)
    figure, axes = pyplot.subplots(figsize=(9, 6.5), dpi=120)
    colours = pyplot.get_cmap("tab20")(np.linspace(0, 1, len(groups)))
    for (name, rows), colour in zip(groups.items(), colours, strict=True):
        at = (rows - centre) @ plane
        axes.scatter(at[:, 0], at[:, 1], s=12, color=colour, label=f"{name} ({len(rows)})")
    words = np.stack(list(names.values()))
    reach = np.abs((everything - centre) @ plane).max(axis=0)
    at = unit(words - words.mean(axis=0)) @ plane
    at = at / np.abs(at).max(axis=0) * reach * 0.95
    for name, (x, y) in zip(names, _apart(at, reach), strict=True):
        axes.annotate(name, (x, y), fontsize=9, weight="bold", ha="center", alpha=0.85)
    axes.set(title=title, xticks=[], yticks=[])
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()


def _apart(places: FloatArray, reach: FloatArray) -> FloatArray:
    """Return places of words moved up or down, as little as it takes, so that none overlap.

    Args:
        places: Wanted, shape (N, 2).
        reach: Half the width and height of the picture, in the same unit, shape (2,).
    """
    height, width = 0.07 * reach[1], 0.32 * reach[0]  # of a line of words, generously
    settled: list[tuple[float, float]] = []
    for x, y in places[np.argsort(-places[:, 1])]:
        near = [other for at, other in settled if abs(at - x) < width]
        free = [y, *(other + side * height for other in near for side in (-1.0, 1.0))]
        clear = [each for each in free if all(abs(each - o) >= 0.999 * height for o in near)]
        settled.append((float(x), float(min(clear, key=lambda each: abs(each - y)))))
    moved = np.empty_like(places)
    moved[np.argsort(-places[:, 1])] = settled
    return moved


def _paste(sheet: Image.Image, tile: Tile, at: tuple[int, int], *, frame: bool = False) -> None:
    draw = ImageDraw.Draw(sheet)
    x, y = at
    if tile.picture is not None:
        picture = _opened(tile.picture)
        picture.thumbnail((_SIDE, _SIDE))
        place = (x + (_SIDE - picture.width) // 2, y + (_SIDE - picture.height) // 2)
        sheet.paste(picture, place, picture)
        _write(draw, tile.caption, (x, y + _SIDE + 2), n_lines=2)
    else:
        _write(draw, tile.caption, (x + 6, y + 40), n_lines=6, size=14)
    if tile.note:
        note = (x, y + _SIDE + _TEXT_HEIGHT - 13)
        draw.text(note, tile.note, fill=_PALE, font=ImageFont.load_default(11))
    if frame:
        draw.rectangle((x - 3, y - 3, x + _SIDE + 2, y + _SIDE + 1), outline=_FRAME, width=3)


def _opened(picture: Path | npt.NDArray[np.uint8]) -> Image.Image:
    if isinstance(picture, np.ndarray):
        return Image.fromarray(picture).convert("RGBA")
    with Image.open(picture) as opened:
        return opened.convert("RGBA")


def _write(
    draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], *, n_lines: int, size: int = 11
) -> None:
    """Write words in lines that fit a tile; what is too much ends in dots."""
    font = ImageFont.load_default(size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font=font) > _SIDE - 8:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > n_lines:
        lines = [*lines[: n_lines - 1], lines[n_lines - 1] + " ..."]
    draw.multiline_text(at, "\n".join(lines), fill=_INK, font=font, spacing=2)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
