"""Arrays out of npy and npz files, whose headers are checked against their sizes beforehand.

numpy allocates what a header says before it looks for the bytes, and unpacks an npz however far it
swells; and an array of objects is a pickle, which could run anything.
"""

import io
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError

__all__ = ["NPY_MAGIC", "NPZ_MAGIC", "read_npy", "read_npz"]

NPY_MAGIC = b"\x93NUMPY"
NPZ_MAGIC = b"PK"

_MAX_HEADER = 10_000


def read_npy(content: bytes, *, max_bytes: int) -> npt.NDArray[Any]:
    """Return the array of an npy file, as a read-only view on its bytes.

    Args:
        content: A whole file.
        max_bytes: Of the array at most.

    Raises:
        InvalidInputError: The header is damaged, does not fit the bytes that follow, or says more
            than max_bytes; or the array holds objects.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read_header(stream, max_header_size=_MAX_HEADER)
    except (ValueError, SyntaxError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InvalidInputError(
            f"the header of the npy file is damaged ({error}); save the array again"
        ) from error
    if dtype.hasobject:
        raise InvalidInputError(
            "the npy file holds Python objects, which are never unpacked; save an array of numbers"
        )
    n_items = 1
    for side in shape:
        n_items *= int(side)  # Python's integers do not overflow
    n_needed, n_here = n_items * dtype.itemsize, len(content) - stream.tell()
    if min(shape, default=0) < 0 or n_needed > max_bytes:
        raise InvalidInputError(
            f"the npy file says shape {shape} of {dtype}, {n_needed:,} bytes; at most "
            f"{max_bytes:,} are read"
        )
    if n_needed != n_here:
        raise InvalidInputError(
            f"the npy file says shape {shape} of {dtype}, {n_needed:,} bytes, but {n_here:,} "
            "follow; it is truncated or damaged, save the array again"
        )
    flat = np.frombuffer(content, dtype, count=n_items, offset=stream.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def read_npz(content: bytes, *, max_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz file by name.

    Args:
        content: A whole file.
        max_bytes: Of all arrays together at most, unpacked.

    Raises:
        InvalidInputError: It is truncated or damaged, or unpacks to more than max_bytes; or as in
            `read_npy`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [each for each in archive.infolist() if each.filename.endswith(".npy")]
            n_bytes = sum(each.file_size for each in members)
            if n_bytes > max_bytes:
                raise InvalidInputError(
                    f"the npz file unpacks to {n_bytes:,} bytes, at most {max_bytes:,} are read"
                )
            arrays = {}
            for member in members:
                with archive.open(member) as stream:  # never more than the size just checked
                    unpacked = stream.read(member.file_size)
                arrays[member.filename.removesuffix(".npy")] = read_npy(
                    unpacked, max_bytes=max_bytes
                )
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise InvalidInputError(
            f"the npz file is truncated or damaged ({error}); save the arrays again"
        ) from error
    except RuntimeError as error:  # encrypted
        raise InvalidInputError(f"the npz file cannot be unpacked ({error})") from error
