"""Arrays out of npy and npz files, whose headers are checked against their sizes beforehand.

numpy allocates what a header says before it looks for the bytes, and unpacks an npz however far it
swells; and an array of objects is a pickle, which could run anything.
"""

import ast
import io
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError

__all__ = ["NPY_MAGIC", "NPZ_MAGIC", "read_npy", "read_npz"]

NPY_MAGIC = b"\x93NUMPY"
NPZ_MAGIC = b"PK"

_MAX_HEADER = 10_000


def read_npy(
    content: bytes,
    *,
    max_bytes: int,
    check: Callable[[tuple[int, ...], np.dtype[Any]], None] | None = None,
) -> npt.NDArray[Any]:
    """Return the array of an npy file, as a read-only view on its bytes.

    Args:
        content: A whole file.
        max_bytes: Of the array at most.
        check: Called with the shape and the dtype that the header says, before they are believed:
            raises InvalidInputError where they are not what is read.

    Raises:
        InvalidInputError: The header is damaged, does not fit the bytes that follow, or says more
            than max_bytes; or the array holds objects.
    """
    shape, is_fortran, dtype, start = _header(content)
    if check is not None:
        check(shape, dtype)
    if dtype.hasobject:
        raise InvalidInputError(
            "the npy file holds Python objects, which are never unpacked; save an array of numbers"
        )
    n_items = 1
    for side in shape:
        n_items *= int(side)  # Python's integers do not overflow
    n_needed, n_here = n_items * dtype.itemsize, len(content) - start
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
    flat = np.frombuffer(content, dtype, count=n_items, offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, order and type as the header says, and where the numbers begin.

    numpy's own reader of headers warns, and passes them through a tokenizer whose errors are in
    no common tree.
    """
    try:
        n_length = 2 if content[6] == 1 else 4
        start = 8 + n_length + int.from_bytes(content[8 : 8 + n_length], "little")
        if not content.startswith(NPY_MAGIC) or content[6] not in (1, 2, 3):
            raise ValueError("it begins with no known version")
        if not 8 + n_length < start <= min(len(content), _MAX_HEADER):
            raise ValueError("its length is not what it says")
        said = ast.literal_eval(content[8 + n_length : start].decode("utf-8").strip())
        shape = tuple(said["shape"])
        if not all(type(side) is int for side in shape):
            raise ValueError(f"the shape is {shape}")
        dtype = np.lib.format.descr_to_dtype(said["descr"])  # type: ignore[no-untyped-call]
        return shape, bool(said["fortran_order"]), dtype, start
    except (
        ValueError, SyntaxError, TypeError, LookupError, OverflowError, RecursionError, MemoryError,
        AttributeError,
    ) as error:  # fmt: skip
        raise InvalidInputError(
            f"the header of the npy file is damaged ({error}); save the array again"
        ) from error


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
    except InvalidInputError:  # a ValueError too
        raise
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError,
    ) as error:  # fmt: skip
        raise InvalidInputError(
            f"the npz file is truncated or damaged ({error}); save the arrays again"
        ) from error
    except RuntimeError as error:  # encrypted
        raise InvalidInputError(f"the npz file cannot be unpacked ({error})") from error
