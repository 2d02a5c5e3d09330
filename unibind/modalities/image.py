"""Pictures: any common file to sRGB pixels, upright, opaque, small enough to batch."""

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from unibind.errors import InvalidInputError
from unibind.types import Modality

__all__ = ["IMAGE", "MAX_PIXELS", "MAX_SIDE", "READING", "accept", "read"]

UInt8Array = npt.NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""Width x height that is decoded at most, 89 megapixels: Pillow's own limit against bombs."""

MAX_SIDE = 1024
"""Pixels of the longer side of an item; a larger picture is reduced when it is read."""

READING = 1
"""Version of how pictures are read; part of every image encoder's fingerprint. Raise it when the
same bytes come to give other pixels."""

# Formats whose decoders are part of Pillow. EPS is left out because it starts Ghostscript, TGA
# and its like because they have no signature, so that anything would pass for one.
_FORMATS = (
    "AVIF",
    "BMP",
    "GIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
)

# What Pillow's decoders raise on broken files; struct.error and zlib.error are their own trees.
_BROKEN = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
)

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(content: bytes) -> UInt8Array:
    """Return the pixels of a picture file, uint8, shape (H, W, 3), sRGB.

    EXIF orientation is applied, transparency is laid over white, 16-bit and floating-point samples
    are scaled to 8 bits, CMYK is converted, of an animation or of several pages the first is
    taken (it is what a file manager shows, and costs no decoding of the rest), and a longer side
    above `MAX_SIDE` is reduced to it. Colour profiles are not applied.

    Args:
        content: A whole file: AVIF, BMP, GIF, ICO, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP.

    Raises:
        InvalidInputError: The file is empty, not a picture, truncated, damaged or too large.
    """
    if not content:
        raise InvalidInputError("the picture file is empty (0 bytes); save or copy it again")
    try:
        with Image.open(io.BytesIO(content), formats=_decodable()) as picture:
            _check_size(picture.size)
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size for a fraction of the time.
            picture.draft(None, (MAX_SIDE, MAX_SIDE))
            picture.load()
            _check_size(picture.size)  # a decoder may find more than the header said
            turn = _UPRIGHT.get(_orientation(picture))
            return _to_item(picture, turn)
    except InvalidInputError:
        raise
    except UnidentifiedImageError:
        raise InvalidInputError(
            f"not a picture ({_describe(content)}); needed: {', '.join(_decodable())}. "
            "A file is judged by its content, not by its name"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInputError(
            f"the picture is too large: {error}; at most {MAX_PIXELS:,} pixels are decoded, "
            "reduce it first"
        ) from None
    except MemoryError:
        raise InvalidInputError(
            "the picture does not fit into memory while it is decoded; reduce it first"
        ) from None
    except _BROKEN as error:
        raise InvalidInputError(
            f"the picture is truncated or damaged ({error or type(error).__name__}); "
            "save or copy it again"
        ) from error


def accept(value: Any) -> UInt8Array:
    """Return a decoded picture as an item: uint8, shape (H, W, 3), sRGB.

    Args:
        value: A Pillow image, or an array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4):
            uint8, or floating-point in [0, 1]. A fourth channel is alpha, laid over white.

    Raises:
        InvalidInputError: The value has another type, dtype, shape or range.
    """
    if isinstance(value, Image.Image):
        _check_size(value.size)
        try:
            return _to_item(value, None)
        except _BROKEN as error:
            raise InvalidInputError(
                f"the Pillow image (mode {value.mode}) cannot be converted to RGB: {error}; "
                "convert it yourself"
            ) from error
    if not isinstance(value, np.ndarray):
        raise InvalidInputError(
            f"a picture was needed as an array or a Pillow image, got {type(value).__name__}; "
            "pass the path of a file as pathlib.Path, its content as bytes"
        )
    pixels = _to_uint8(_with_channels(value))
    _check_size((pixels.shape[1], pixels.shape[0]))
    if pixels.shape[2] == 3 and max(pixels.shape) <= MAX_SIDE:
        return np.ascontiguousarray(pixels)
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return _to_item(Image.fromarray(np.ascontiguousarray(pixels)), None)


IMAGE = Modality(
    name="image",
    units=f"uint8 array (H, W, 3), sRGB, longer side at most {MAX_SIDE} px",
    read=read,
    accept=accept,
    suffixes=(
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".avif",
        ".ico",
        ".jp2",
        ".ppm",
        ".pgm",
        ".pbm",
    ),
    limits={"pixels": MAX_PIXELS},
    draw=lambda item: item,
)


@cache
def _decodable() -> tuple[str, ...]:
    Image.init()  # some builds of Pillow lack AVIF or JPEG 2000
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InvalidInputError(f"the picture is {width} x {height} px; it needs at least 1 x 1")
    if width * height > MAX_PIXELS:
        raise InvalidInputError(
            f"the picture is {width} x {height} px, {width * height:,} pixels; at most "
            f"{MAX_PIXELS:,} are decoded, reduce it first"
        )


def _to_item(picture: Image.Image, turn: Image.Transpose | None) -> UInt8Array:
    picture = _to_colours(picture)
    if max(picture.size) > MAX_SIDE:
        picture = _reduced(picture)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if turn is not None:
        picture = picture.transpose(turn)
    return np.array(picture.convert("RGB"))


def _reduced(picture: Image.Image) -> Image.Image:
    scale = MAX_SIDE / max(picture.size)
    # A very long and thin picture keeps at least one pixel across.
    width, height = (max(1, round(side * scale)) for side in picture.size)
    # Of RGBA, Pillow weighs the colours with their alpha here.
    return picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _to_colours(picture: Image.Image) -> Image.Image:
    """Return the picture in a mode that can be resized: RGBA if it is transparent, or RGB."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = Image.fromarray(_samples_to_uint8(np.asarray(picture), picture.mode))
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _samples_to_uint8(samples: npt.NDArray[Any], mode: str) -> UInt8Array:
    """Scale grey samples of 16 bits, of 32 bits that hold 16, or floating-point in [0, 1]."""
    if mode == "F":
        return _to_uint8(samples)
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or high > 65535:
        raise InvalidInputError(
            f"the picture has 32-bit samples from {low} to {high}, for which no value is known to "
            "be white; save it with 8 or 16 bits"
        )
    return np.round(samples / 257.0).astype(np.uint8)


def _with_channels(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if value.ndim == 2:
        value = value[:, :, None]
    if value.ndim == 3 and value.shape[2] in (1, 3, 4):
        return value
    remedy = "give pixels as (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
    if value.ndim == 3 and value.shape[0] in (1, 3, 4):
        remedy = "its channels stand first: np.moveaxis(array, 0, -1) puts them last"
    elif value.ndim == 4:
        remedy = "it looks like a batch: give its pictures one by one"
    raise InvalidInputError(f"a picture array has the shape {value.shape}; {remedy}")


def _to_uint8(pixels: npt.NDArray[Any]) -> UInt8Array:
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise InvalidInputError(
            f"a picture array is {pixels.dtype}; needed: uint8, or floating-point in [0, 1]"
        )
    if pixels.size and not np.isfinite(pixels).all():
        raise InvalidInputError("a picture has NaN or infinite samples; replace them first")
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise InvalidInputError(
            f"a picture has floating-point samples from {pixels.min():.4g} to {pixels.max():.4g}; "
            "needed: [0, 1] (divide by the value of white), or uint8"
        )
    return np.round(pixels * 255.0).astype(np.uint8)


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except _BROKEN:  # a picture is worth keeping although its EXIF block is not
        return 1


def _describe(content: bytes) -> str:
    start = content[:16]
    if start.isascii() and b"\0" not in start:
        return f"{len(content):,} bytes of text that start with {start.decode('ascii')!r}"
    return f"{len(content):,} bytes that start with {start.hex(' ')}"
