"""Thermal pictures: radiometric or false-coloured files to temperatures in degrees Celsius."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, UnidentifiedImageError

from unibind.errors import InvalidInputError
from unibind.modalities.numpy_files import NPY_MAGIC, read_npy
from unibind.modalities.thermal_palettes import PALETTES, colours, temperatures_of
from unibind.types import FloatArray, Modality

__all__ = ["MAX_PIXELS", "READING", "THERMAL", "Thermogram", "accept", "draw", "read"]

UInt8Array = npt.NDArray[np.uint8]

MAX_PIXELS = 25_000_000
"""Width x height at most; thermal sensors have one."""

READING = 1
"""Version of how thermal pictures are read; part of every thermal encoder's fingerprint. Raise it
when the same bytes come to give other temperatures."""

_ZERO_C_IN_K = 273.15
_COLDEST_C, _HOTTEST_C = -273.15, 5000.0
_FORMATS = ("PNG", "TIFF", "JPEG", "BMP", "WEBP", "PPM")


@dataclass(frozen=True, slots=True, eq=False)
class Thermogram:
    """The temperature of each pixel, and the range that it is shown in.

    Attributes:
        celsius: Degrees Celsius, float32, shape (H, W).
        low_c: What is shown as coldest: as stated, or else the coldest pixel.
        high_c: What is shown as hottest, above low_c.
    """

    celsius: FloatArray
    low_c: float
    high_c: float


def read(
    content: bytes,
    *,
    kelvin_per_count: float | str | None = None,
    kelvin_offset: float | str = 0.0,
    unit: str | None = None,
    low_c: float | str | None = None,
    high_c: float | str | None = None,
    palette: str | None = None,
) -> Thermogram:
    """Return the temperatures of a thermal picture. What a file cannot say must be told.

    Counts are turned into temperatures by ``kelvin = kelvin_per_count * count + kelvin_offset``
    (many cameras: 0.04 or 0.01, and 0). 8-bit grey and false colours carry no temperatures of
    their own: low_c and high_c say what the ends of the scale stand for.

    Args:
        content: A whole file: 16-bit or 8-bit PNG or TIFF, floating-point TIFF or npy, or a
            picture in false colours.
        kelvin_per_count: Of whole numbers, needed for more than 8 bits.
        kelvin_offset: Of whole numbers.
        unit: Of floating-point values, ``"celsius"`` or ``"kelvin"``; needed for them.
        low_c: Coldest end of the scale, degrees Celsius; needed with high_c for 8 bits.
        high_c: Hottest end of the scale, degrees Celsius.
        palette: Which false colours a coloured picture has, one of `PALETTES`.

    Raises:
        InvalidInputError: The file is empty, no picture, truncated or too large; something that
            it does not say was not told; a value is NaN or infinite, or a temperature that
            nothing has; or the range is empty.
    """
    if content and kelvin_per_count is unit is low_c is high_c is None:
        raise InvalidInputError(  # before decoding: this is how a picture is told from it
            "nothing was said about the temperatures of the picture; give the options "
            "kelvin_per_count (more than 8 bits), unit (floating point), or low_c and high_c"
        )
    samples = _samples(content)
    return _thermogram(samples, kelvin_per_count, kelvin_offset, unit, low_c, high_c, palette)


def accept(
    value: Any,
    *,
    kelvin_per_count: float | str | None = None,
    kelvin_offset: float | str = 0.0,
    unit: str | None = None,
    low_c: float | str | None = None,
    high_c: float | str | None = None,
    palette: str | None = None,
) -> Thermogram:
    """Return decoded temperatures as an item.

    Args:
        value: A `Thermogram`, which is checked and kept; or an array, shape (H, W), (H, W, 1), or
            (H, W, 3) in false colours, uint8.
        kelvin_per_count: As in `read`.
        kelvin_offset: As in `read`.
        unit: As in `read`.
        low_c: As in `read`.
        high_c: As in `read`.
        palette: As in `read`.

    Raises:
        InvalidInputError: As in `read`.
    """
    if isinstance(value, Thermogram):
        return _in_range(_checked_shape(value.celsius), value.low_c, value.high_c)
    if not isinstance(value, np.ndarray):
        raise InvalidInputError(
            f"a thermal picture was needed as an array or a Thermogram, got {type(value).__name__};"
            " pass the path of a file as pathlib.Path, its content as bytes"
        )
    return _thermogram(value, kelvin_per_count, kelvin_offset, unit, low_c, high_c, palette)


def draw(thermogram: Thermogram, *, palette: str = "inferno") -> UInt8Array:
    """Return the picture in false colours beside a bar that says which is which temperature.

    Args:
        thermogram: The temperatures.
        palette: One of `PALETTES`.

    Returns:
        sRGB pixels, uint8, shape (H, W, 3).
    """
    height, width = thermogram.celsius.shape
    scale = max(256 / height, 256 / width, 1.0)
    size = (round(width * scale), max(round(height * scale), 256))
    sheet = Image.new("RGB", (size[0] + 120, size[1] + 16), "white")
    shown = Image.fromarray(colours(scaled(thermogram), palette))
    sheet.paste(shown.resize(size, Image.Resampling.NEAREST), (8, 8))
    ramp = np.repeat(np.linspace(1, 0, size[1], dtype=np.float32)[:, None], 16, axis=1)
    sheet.paste(Image.fromarray(colours(ramp, palette)), (size[0] + 16, 8))
    pen = ImageDraw.Draw(sheet)
    for n in range(5):
        celsius = thermogram.high_c + (thermogram.low_c - thermogram.high_c) * n / 4
        pen.text((size[0] + 38, 4 + n / 4 * (size[1] - 8)), f"{celsius:.1f} °C", fill="black")
    return np.array(sheet)


def scaled(thermogram: Thermogram) -> FloatArray:
    """Return temperatures as shares of the thermogram's range, in [0, 1], shape (H, W)."""
    span = thermogram.high_c - thermogram.low_c
    shares: FloatArray = np.clip((thermogram.celsius - thermogram.low_c) / span, 0, 1)
    return shares.astype(np.float32)


THERMAL = Modality(
    name="thermal",
    units="Thermogram: float32 degrees Celsius (H, W), with the range that is shown",
    read=read,
    accept=accept,
    suffixes=(".tif", ".tiff", ".png", ".npy"),
    is_guessed=False,
    options={
        "kelvin_per_count": "kelvin of one count, for pictures of more than 8 bits",
        "kelvin_offset": "kelvin at count 0 (default 0)",
        "unit": "celsius or kelvin, for floating-point values",
        "low_c": "coldest end of the scale in degrees Celsius; needed for 8 bits and false colours",
        "high_c": "hottest end of the scale in degrees Celsius",
        "palette": f"false colours of a coloured picture: {', '.join(PALETTES)}",
    },
    limits={"px": MAX_PIXELS, "coldest_c": _COLDEST_C, "hottest_c": _HOTTEST_C},
    draw=draw,
    before=("image",),
)


def _samples(content: bytes) -> npt.NDArray[Any]:
    if not content:
        raise InvalidInputError("the thermal file is empty (0 bytes); save or copy it again")
    if content.startswith(NPY_MAGIC):
        return read_npy(content, max_bytes=8 * MAX_PIXELS)
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InvalidInputError(
                    f"the thermal picture is {picture.width} x {picture.height} px; at most "
                    f"{MAX_PIXELS:,} pixels are decoded"
                )
            if picture.mode in ("P", "RGBA", "CMYK", "YCbCr", "LA", "PA", "1"):
                return np.asarray(picture.convert("RGB"))
            return np.asarray(picture)
    except UnidentifiedImageError:
        raise InvalidInputError(
            f"not a thermal picture ({len(content):,} bytes that start with "
            f"{content[:12].hex(' ')}); needed: PNG, TIFF, JPEG, BMP, WebP or npy"
        ) from None
    except InvalidInputError:
        raise
    except (
        OSError, ValueError, SyntaxError, LookupError, TypeError, EOFError, ArithmeticError,
        AttributeError, RuntimeError, MemoryError, Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise InvalidInputError(
            f"the thermal picture is truncated or damaged ({error}); save or copy it again"
        ) from error


def _thermogram(
    samples: npt.NDArray[Any],
    kelvin_per_count: float | str | None,
    kelvin_offset: float | str,
    unit: str | None,
    low_c: float | str | None,
    high_c: float | str | None,
    palette: str | None,
) -> Thermogram:
    low, high = _number("low_c", low_c), _number("high_c", high_c)
    if samples.ndim == 3 and samples.shape[2] == 3:
        samples = _uncoloured(samples, palette)
    samples = _checked_shape(samples)
    if samples.dtype.kind == "f":
        celsius = samples.astype(np.float64) - _zero_of(unit)
    elif samples.dtype.kind not in "ui":
        raise InvalidInputError(f"a thermal picture is {samples.dtype}; needed: numbers")
    elif kelvin_per_count is not None:
        step = _number("kelvin_per_count", kelvin_per_count) or 0.0
        offset = _number("kelvin_offset", kelvin_offset) or 0.0
        if not step > 0:
            raise InvalidInputError(f"kelvin_per_count is {step}; it must be above 0")
        celsius = samples.astype(np.float64) * step + offset - _ZERO_C_IN_K
    elif samples.dtype.itemsize > 1:
        raise InvalidInputError(
            f"a thermal picture of {samples.dtype} counts does not say what a count is; give the "
            "option kelvin_per_count (often 0.04 or 0.01), and kelvin_offset if it is not 0"
        )
    elif low is None or high is None:
        raise InvalidInputError(
            "a thermal picture of 8 bits does not say its temperatures; give the options low_c and "
            "high_c: what black and white stand for"
        )
    else:
        celsius = low + samples.astype(np.float64) / 255 * (high - low)
    return _in_range(celsius, low, high)


def _uncoloured(samples: npt.NDArray[Any], palette: str | None) -> npt.NDArray[np.uint8]:
    """Return where on its palette each pixel lies, in [0, 255]."""
    if samples.dtype != np.uint8:
        raise InvalidInputError(f"false colours are {samples.dtype}; needed: uint8")
    _checked_shape(samples[:, :, 0])
    if palette is not None:
        return temperatures_of(samples, palette)
    if (samples == samples[:, :, :1]).all():  # grey, saved with three channels
        grey: npt.NDArray[np.uint8] = samples[:, :, 0]
        return grey
    raise InvalidInputError(
        "the thermal picture is coloured; give the option palette, which colours stand for cold "
        f"and hot ({', '.join(PALETTES)}), or a grey or radiometric file"
    )


def _zero_of(unit: str | None) -> float:
    if unit not in ("celsius", "kelvin"):
        raise InvalidInputError(
            f"floating-point temperatures come with unit {unit!r}; give the option unit: celsius "
            "or kelvin"
        )
    return _ZERO_C_IN_K if unit == "kelvin" else 0.0


def _checked_shape(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    if samples.ndim != 2 or min(samples.shape) < 1:
        raise InvalidInputError(
            f"a thermal picture has the shape {samples.shape}; needed: (H, W), one channel, or "
            "(H, W, 3) in false colours"
        )
    if samples.size > MAX_PIXELS:
        raise InvalidInputError(
            f"a thermal picture has {samples.size:,} pixels, at most {MAX_PIXELS:,} are taken"
        )
    return samples


def _in_range(celsius: npt.NDArray[Any], low: float | None, high: float | None) -> Thermogram:
    if not np.isfinite(celsius).all():
        raise InvalidInputError("a temperature is NaN or infinite; replace dead pixels first")
    coldest, hottest = float(celsius.min()), float(celsius.max())
    if coldest < _COLDEST_C - 1e-3 or hottest > _HOTTEST_C:
        raise InvalidInputError(
            f"temperatures go from {coldest:,.1f} to {hottest:,.1f} °C; needed: {_COLDEST_C} to "
            f"{_HOTTEST_C:,.0f}. Check kelvin_per_count, kelvin_offset and unit"
        )
    low = coldest if low is None else float(low)
    high = hottest if high is None else float(high)
    if not high > low:
        raise InvalidInputError(
            f"the range from low_c {low:g} to high_c {high:g} is empty; state one in which the "
            "picture's temperatures differ"
        )
    return Thermogram(np.ascontiguousarray(celsius, dtype=np.float32), low, high)


def _number(name: str, value: float | str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise InvalidInputError(f"{name} is {value!r}; a number is needed")
    return number
