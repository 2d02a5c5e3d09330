"""False colours of thermal pictures: shares of a range to colours, and back."""

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.types import FloatArray

__all__ = ["PALETTES", "colours", "temperatures_of"]

PALETTES = ("grey", "inferno", "magma", "plasma", "viridis", "hot", "jet")
"""Names of palettes, as matplotlib defines them."""

_MAX_DISTANCE = 60.0
"""A picture whose pixels lie further from the palette on average has another one."""


def colours(shares: FloatArray, palette: str) -> npt.NDArray[np.uint8]:
    """Return the colours of shares in [0, 1], any shape, uint8 with a last axis of 3.

    Raises:
        InvalidInputError: No palette is called so.
    """
    table = _table(palette)
    return table[np.round(shares * 255).astype(np.int64)]


def temperatures_of(pixels: npt.NDArray[np.uint8], palette: str) -> npt.NDArray[np.uint8]:
    """Return the place of each pixel's colour on a palette, 0 cold to 255 hot, shape (H, W).

    A colour that is not on it (a logo, JPEG's rounding) takes the nearest place.

    Args:
        pixels: uint8, shape (H, W, 3).
        palette: One of `PALETTES`.

    Raises:
        InvalidInputError: No palette is called so, or the picture's colours are far from it.
    """
    table = _table(palette).astype(np.int64)
    seen, where = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    places = np.zeros(len(seen), dtype=np.uint8)
    distances = np.zeros(len(seen))
    for start in range(0, len(seen), 4096):  # a photograph has as many colours as pixels
        rows = slice(start, start + 4096)
        apart = ((seen[rows, None, :] - table) ** 2).sum(axis=2)  # (rows, 256)
        places[rows] = apart.argmin(axis=1)
        distances[rows] = np.sqrt(apart.min(axis=1))
    mean_distance = float(distances[where.ravel()].mean())
    if mean_distance > _MAX_DISTANCE:
        raise InvalidInputError(
            f"the picture's colours are {mean_distance:.0f} levels from the palette {palette!r} on "
            f"average; name the one it was made with: {', '.join(PALETTES)}"
        )
    return places[where.ravel()].reshape(pixels.shape[:2])


def _table(palette: str) -> npt.NDArray[np.uint8]:
    if palette not in PALETTES:
        raise InvalidInputError(
            f"no palette is called {palette!r}; there are {', '.join(PALETTES)}"
        )
    import matplotlib  # half a second, and only pictures in colour need it

    found = matplotlib.colormaps["gray" if palette == "grey" else palette]
    table = np.asarray(found(np.arange(256)))[:, :3]
    return np.round(255 * table).astype(np.uint8)
