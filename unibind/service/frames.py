"""Items between processes, without pickle: a line of JSON that says what follows, then raw bytes.

A decoder may have been taken over by the file that it read. So what comes back from it is only
data: text, numbers, arrays, and frozen dataclasses of these that the modality's own module names.
"""

import contextlib
import json
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from math import prod
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from unibind.types import Json, Modality

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["BrokenFrameError", "pack", "receive", "send", "unpack", "widen"]

_LENGTHS: Final = struct.Struct(">II")  # of the JSON, and how many buffers follow
_LENGTH: Final = struct.Struct(">Q")
_MAX_JSON: Final = 16 * 2**20
_MAX_BUFFERS: Final = 4096
_MAX_DEPTH: Final = 16
_PIPE_BYTES: Final = 2**20
_NUMERIC: Final = "biufc"


class BrokenFrameError(Exception):
    """The other side sent what is no frame, or what no item is made of."""


def widen(stream: IO[bytes] | None) -> None:
    """Let a pipe hold a picture, where the system can: whenever it is full, both sides wait."""
    if stream is None or fcntl is None or not hasattr(fcntl, "F_SETPIPE_SZ"):
        return
    with contextlib.suppress(OSError):  # the system allows each user so much
        fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def send(
    stream: IO[bytes], message: Json, buffers: Sequence[bytes | memoryview | bytearray] = ()
) -> None:
    """Write one frame.

    Raises:
        OSError: The other side is gone.
    """
    told = json.dumps(message).encode()
    sizes = b"".join(_LENGTH.pack(len(each)) for each in buffers)
    stream.write(_LENGTHS.pack(len(told), len(buffers)) + sizes + told)
    for each in buffers:
        stream.write(each)
    stream.flush()


def receive(stream: IO[bytes], *, max_bytes: int) -> tuple[Json, list[bytearray]] | None:
    """Read one frame; None at the end of the stream.

    Args:
        stream: Where from.
        max_bytes: How many bytes its buffers may have together.

    Raises:
        BrokenFrameError: It is none, too large, or ends early.
    """
    head = _exactly(stream, _LENGTHS.size, or_end=True)
    if head is None:
        return None
    n_json, n_buffers = _LENGTHS.unpack(head)
    if n_json > _MAX_JSON or n_buffers > _MAX_BUFFERS:
        raise BrokenFrameError(f"a frame announces {n_json} bytes of JSON, {n_buffers} buffers")
    sizes = [_LENGTH.unpack(_read(stream, _LENGTH.size))[0] for _ in range(n_buffers)]
    if sum(sizes) > max_bytes:
        raise BrokenFrameError(f"a frame announces {sum(sizes)} bytes, at most {max_bytes} fit")
    try:
        message = json.loads(_read(stream, n_json))
    except (ValueError, RecursionError) as error:
        raise BrokenFrameError(f"a frame is not JSON: {error}") from error
    return message, [_read(stream, size) for size in sizes]


def pack(item: Any) -> tuple[Json, list[memoryview]]:
    """Return an item as JSON and the bytes of its arrays.

    Raises:
        TypeError: It is not made of text, numbers, arrays, tuples and dataclasses.
    """
    buffers: list[memoryview] = []
    return _packed(item, buffers), buffers


def unpack(spec: Json, buffers: Sequence[bytearray], modality: Modality) -> Any:
    """Return the item that `pack` took apart.

    Args:
        spec: Its JSON.
        buffers: The bytes of its arrays.
        modality: What it is; only dataclasses that its module names are made.

    Raises:
        BrokenFrameError: It is not such an item.
    """
    try:
        return _unpacked(spec, buffers, _classes_of(modality), 0)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BrokenFrameError(f"a decoder returned no {modality.name}: {error!r}") from error


def _packed(item: Any, buffers: list[memoryview]) -> Json:
    if item is None or isinstance(item, bool | int | float | str):
        return {"value": item}
    if isinstance(item, np.generic) and item.dtype.kind in _NUMERIC:
        return {"value": item.item()}
    if isinstance(item, np.ndarray) and item.dtype.kind in _NUMERIC:
        shape = item.shape
        buffers.append(np.ascontiguousarray(item).reshape(-1).view(np.uint8).data)
        return {"array": [item.dtype.str, list(shape), len(buffers) - 1]}
    if isinstance(item, tuple):
        return {"tuple": [_packed(part, buffers) for part in item]}
    if is_dataclass(item) and not isinstance(item, type):
        parts = {each.name: _packed(getattr(item, each.name), buffers) for each in fields(item)}
        return {"of": type(item).__name__, "fields": parts}
    raise TypeError(f"an item holds a {type(item).__name__}, which cannot leave its process")


def _unpacked(
    spec: Json, buffers: Sequence[bytearray], classes: Mapping[str, type], depth: int
) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    if "value" in spec:
        value = spec["value"]
        if value is not None and not isinstance(value, bool | int | float | str):
            raise TypeError(f"a {type(value).__name__} as a value")
        return value
    if "array" in spec:
        dtype, shape, place = spec["array"]
        return _array(np.dtype(dtype), [int(n) for n in shape], buffers[int(place)])
    if "tuple" in spec:
        return tuple(_unpacked(part, buffers, classes, depth + 1) for part in spec["tuple"])
    parts = {
        str(name): _unpacked(part, buffers, classes, depth + 1)
        for name, part in spec["fields"].items()
    }
    return classes[spec["of"]](**parts)


def _array(dtype: np.dtype[Any], shape: list[int], buffer: bytearray) -> npt.NDArray[Any]:
    if dtype.kind not in _NUMERIC or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype} and shape {shape}")
    if prod(shape) * dtype.itemsize != len(buffer):
        raise ValueError(f"{len(buffer)} bytes for an array of {dtype} and shape {shape}")
    return np.frombuffer(buffer, dtype=dtype).reshape(shape)


def _classes_of(modality: Modality) -> dict[str, type]:
    """Return the dataclasses that the modules of a modality's readers name."""
    found: dict[str, type] = {}
    for reader in (modality.read, modality.accept):
        function: Callable[..., Any] = reader.func if isinstance(reader, partial) else reader
        module = sys.modules.get(getattr(function, "__module__", ""))
        for name, value in vars(module).items() if module else ():
            if isinstance(value, type) and is_dataclass(value):
                found[name] = value
    return found


def _read(stream: IO[bytes], n_bytes: int) -> bytearray:
    content = _exactly(stream, n_bytes)
    assert content is not None
    return content


def _exactly(stream: IO[bytes], n_bytes: int, *, or_end: bool = False) -> bytearray | None:
    content = bytearray(n_bytes)
    view, n_read = memoryview(content), 0
    while n_read < n_bytes:
        n_more = stream.readinto(view[n_read:])  # type: ignore[attr-defined]
        if not n_more:
            if or_end and n_read == 0:
                return None
            raise BrokenFrameError(f"the stream ended after {n_read} of {n_bytes} bytes")
        n_read += n_more
    return content
