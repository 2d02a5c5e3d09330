"""Tables of numbers in files, as they stand there: CSV, Parquet, npy and npz, bounded in memory.

What a file claims to hold is checked against `MAX_VALUES` and its own size before it is decoded.
"""

import io
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError
from unibind.modalities.timeseries_columns import Column, Table, from_columns, from_matrix
from unibind.modalities.timeseries_csv import read_csv
from unibind.modalities.timeseries_options import Told
from unibind.modalities.timeseries_size import MAX_CHANNELS, MAX_VALUES, check_size

__all__ = ["MAX_CHANNELS", "MAX_VALUES", "Table", "read_table", "table_of"]

_MAX_PARQUET_BYTES = 16 * MAX_VALUES
_DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    TypeError,
    LookupError,
    OverflowError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,  # numpy reads its headers as Python literals
)
_ZIP_DAMAGE = (*_DAMAGE, zipfile.BadZipFile, zlib.error)

# What people call things in an npz file.
_VALUES = ("values", "data", "x", "signal", "samples")
_TIMES = ("time", "times", "t", "timestamp", "timestamps", "time_s", "times_s")
_RATES = ("rate_hz", "rate", "fs", "sampling_rate", "sample_rate", "sfreq")


def read_table(content: bytes, told: Told) -> Table:
    """Return the table in a file, whose format is known by its first bytes.

    Raises:
        InvalidInputError: It is of no known format, damaged, too large, or has no numbers.
    """
    for magic, read in _READERS.items():
        if content.startswith(magic):
            return read(content, told)
    return read_csv(content, told)


def table_of(array: npt.NDArray[Any], told: Told) -> Table:
    """Return the table of an array, shape (T,), (C, T) or (T, C).

    Raises:
        InvalidInputError: It is not of numbers, too large, or has another number of axes.
    """
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(
            f"the array is of {array.dtype}; needed: real numbers (an array of objects or text "
            "must be converted first)"
        )
    return from_matrix(array, told)


def _read_parquet(content: bytes, told: Told) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(io.BytesIO(content)) as file:
            n_rows, names = file.metadata.num_rows, file.schema_arrow.names
            check_size(n_rows, len(names), "the Parquet file says that it")
            _check_unpacked(file.metadata)
            columns = [
                Column(name, _cells(file.read([name]).column(0), name))
                for name in names
                if _is_flat(file.schema_arrow.field(name).type)
            ]
    except (pyarrow.ArrowException, *_DAMAGE) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"the Parquet file is truncated or damaged ({_brief(error)}); save or copy it again"
        ) from error
    if len({len(column.cells) for column in columns}) > 1:
        raise InvalidInputError(
            "the Parquet file is damaged: its columns are of different lengths; save or copy it "
            "again"
        )
    return from_columns(columns, told)


def _check_unpacked(metadata: Any) -> None:
    n_bytes = sum(
        metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)
    )
    if n_bytes > _MAX_PARQUET_BYTES:
        raise InvalidInputError(
            f"the Parquet file unpacks to {n_bytes:,} bytes, at most {_MAX_PARQUET_BYTES:,} are "
            "read; save fewer rows or columns"
        )


def _is_flat(kind: Any) -> bool:
    from pyarrow import types

    return not types.is_nested(kind) and not types.is_null(kind)


def _cells(column: Any, name: str) -> npt.NDArray[Any]:
    """Return a column of numbers, of times or of texts as an array."""
    import pyarrow
    from pyarrow import types

    if types.is_timestamp(column.type):
        nanoseconds = column.cast(pyarrow.timestamp("ns", tz=column.type.tz))
        return np.asarray(nanoseconds.to_numpy(), dtype="datetime64[ns]")
    if types.is_duration(column.type):
        return np.asarray(column.cast(pyarrow.duration("ns")).to_numpy(), dtype="timedelta64[ns]")
    is_number = types.is_integer(column.type) or types.is_floating(column.type)
    if is_number or types.is_boolean(column.type) or types.is_decimal(column.type):
        return np.asarray(column.cast(pyarrow.float64(), safe=False).to_numpy(), dtype=np.float64)
    return np.array([None if cell is None else str(cell) for cell in column.to_pylist()], object)


def _read_npy(content: bytes, told: Told) -> Table:
    try:
        array = _array(io.BytesIO(content), len(content), "the npy file")
    except _DAMAGE as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"the npy file is truncated or damaged ({_brief(error)}); save or copy it again"
        ) from error
    return table_of(array, told)


def _read_npz(content: bytes, told: Told) -> Table:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {
                info.filename.removesuffix(".npy").lower(): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            arrays = {
                name: _member(archive, members[name], name) for name in _wanted(list(members))
            }
    except _ZIP_DAMAGE as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"the npz file is truncated or damaged, or another zip ({_brief(error)}); "
            "save or copy it again"
        ) from error
    return _from_members(arrays, told)


def _wanted(names: list[str]) -> list[str]:
    """Return the members that matter: one of values, and those of times, rate and names."""
    known = [name for name in names if name in (*_TIMES, *_RATES, "channels", "units")]
    others = [name for name in names if name not in known]
    values = next((name for name in _VALUES if name in others), None)
    if values is None and len(others) != 1:
        raise InvalidInputError(
            f"the npz file has the arrays {', '.join(names[:8]) or 'none'}; call the one with the "
            "recording 'values' (beside it may stand rate_hz or time, channels and units)"
        )
    return [values or others[0], *known]


def _from_members(arrays: dict[str, npt.NDArray[Any]], told: Told) -> Table:
    first, *_ = arrays.values()
    table = table_of(first, told)
    n_channels = len(table.values)
    named = {name: _texts(arrays[name], name) for name in ("channels", "units") if name in arrays}
    for name, texts in named.items():
        if len(texts) != n_channels:
            raise InvalidInputError(
                f"the npz file has {len(texts)} {name} for {n_channels} channels; one each is "
                f"needed, or say axis=... if the axes were turned ({table.axis} was read)"
            )
    times = next((arrays[name] for name in _TIMES if name in arrays), None)
    rate = next((arrays[name] for name in _RATES if name in arrays), None)
    return table.with_facts(
        told,
        channels=named.get("channels"),
        units=named.get("units"),
        times=None if times is None else times.ravel(),
        rate_hz=None if rate is None else _number(rate),
    )


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> npt.NDArray[Any]:
    with archive.open(info) as stream:
        return _array(stream, info.file_size, f"the array {name!r} of the npz file")  # type: ignore[arg-type]


def _array(stream: BinaryIO, n_bytes: int, what: str) -> npt.NDArray[Any]:
    """Return the array in an npy stream; its header is checked before its data is read."""
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    readers: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise InvalidInputError(f"{what} has npy version {version}; save it as 1.0 or 2.0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a header as Python 2 wrote it
        shape, is_fortran, dtype = readers[version](stream)
    if dtype.kind not in "biufMmU":
        raise InvalidInputError(
            f"{what} is of {dtype}; needed: real numbers (objects are not read: they are code)"
        )
    if any(size < 0 for size in shape):
        raise InvalidInputError(f"{what} says that its shape is {shape}; save it again")
    count = 1
    for size in shape:
        count *= size
    check_size(count, 1, what)
    needed = count * dtype.itemsize
    if needed > n_bytes:
        raise InvalidInputError(
            f"{what} says that it holds {count:,} values of {dtype}, {needed:,} bytes, and has "
            f"{n_bytes:,} in all; it is truncated or forged: save or copy it again"
        )
    data = stream.read(needed)
    if len(data) < needed:
        raise InvalidInputError(f"{what} is truncated; save or copy it again")
    flat = np.frombuffer(data, dtype=dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _texts(array: npt.NDArray[Any], name: str) -> tuple[str, ...]:
    if array.dtype.kind != "U":
        raise InvalidInputError(f"the array {name!r} of the npz file must hold texts")
    return tuple(str(text) for text in array.ravel())


def _number(array: npt.NDArray[Any]) -> float:
    if array.size != 1 or array.dtype.kind not in "iuf" or not np.all(array > 0):
        raise InvalidInputError(
            "the sampling rate in the npz file must be one number above 0, samples per second"
        )
    return float(array.ravel()[0])


def _brief(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__


_READERS: dict[bytes, Callable[[bytes, Told], Table]] = {
    b"PAR1": _read_parquet,
    b"\x93NUMPY": _read_npy,
    b"PK\x03\x04": _read_npz,
    b"PK\x05\x06": _read_npz,  # an empty zip
}
