"""The process that decodes files: ``python -m unibind.service.decoder MEMORY_BYTES TIME_S``.

It reads frames on standard input and answers on standard output. Whatever a file does to it, a
crash, an endless loop, all memory, it does to this process only: the service kills it and starts
another. It can write no file, and it ends when the service ends.
"""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from unibind.errors import InvalidInputError, PluginError, UnibindError
from unibind.modalities.registry import installed, modality_of, open_modality
from unibind.service.frames import BrokenFrameError, pack, receive, send
from unibind.types import Json, Modality

__all__ = ["main"]

MAX_CONTENT = 2**30
_PREVIEW_SIDE = 512
_LIBRARIES = 2 * 2**30
"""Addresses that readers' libraries may take in the life of a decoder, all of them together."""


def main() -> None:
    """Answer frames until standard input ends."""
    memory_bytes, time_s = int(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # A library that prints must not be taken for an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    installed()  # what their modules import counts as what we start with
    _confine(memory_bytes)
    send(answers, {"ready": os.getpid()})
    while True:
        frame = receive(sys.stdin.buffer, max_bytes=MAX_CONTENT)
        if frame is None:
            return
        asked, buffers = frame
        _allow(memory_bytes)
        with _alarm(time_s):
            _answer(answers, asked, bytes(buffers[0]))


def _answer(answers: IO[bytes], asked: Mapping[str, Json], content: bytes) -> None:
    try:
        message, buffers = _WORKS[asked["work"]](asked, content)
    except UnibindError as error:
        kind = "plugin" if isinstance(error, PluginError) else "input"
        message, buffers = {"error": str(error), "kind": kind}, []
    except MemoryError:
        message, buffers = {"error": _TOO_LARGE, "kind": "input"}, []
    # A reader that a file can make fail in a way it did not foresee has a bug; one file tells of
    # it, the others are read all the same.
    except Exception as error:  # noqa: BLE001
        message, buffers = {"error": _UNFORESEEN, "kind": "bug", "log": repr(error)[:2000]}, []
    send(answers, message, buffers)


_TOO_LARGE = "decoding it takes more memory than a file is allowed; reduce it first"
_UNFORESEEN = "it is damaged in a way that its reader did not foresee; save or convert it again"


def _item(asked: Mapping[str, Json], content: bytes) -> tuple[Json, list[memoryview]]:
    spec, buffers = pack(_modality(asked).read(content))
    return {"item": spec}, buffers


def _picture(asked: Mapping[str, Json], content: bytes) -> tuple[Json, list[memoryview]]:
    """Return a small PNG of what was read."""
    from PIL import Image

    modality = _modality(asked)
    if modality.draw is None:
        raise InvalidInputError(f"{modality.name} has no picture of its items")
    picture = Image.fromarray(np.ascontiguousarray(modality.draw(modality.read(content))))
    picture.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
    png = io.BytesIO()
    picture.save(png, "PNG")
    return {"png": True}, [png.getbuffer()]


def _kind(asked: Mapping[str, Json], content: bytes) -> tuple[Json, list[memoryview]]:
    """Return what a file is."""
    told = asked["options"]
    return {"kind": modality_of(content, called=told["called"], preferred=told["of"]).name}, []


def _modality(asked: Mapping[str, Json]) -> Modality:
    return open_modality(asked["modality"]).with_options(asked["options"])


_WORKS: dict[str, Callable[[Mapping[str, Json], bytes], tuple[Json, list[memoryview]]]] = {
    "read": _item,
    "draw": _picture,
    "tell": _kind,
}


def _confine(memory_bytes: int) -> None:
    """Limit memory, written files and core dumps for good, where the system has such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        resource.RLIMIT_AS: _address_space() + _LIBRARIES + memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    for limit, value in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(limit, (value, value))


def _allow(memory_bytes: int) -> None:
    """Let the next file have its memory beyond what there is: libraries that others needed stay.

    Of a decoder that has read every modality they take 800 MB of addresses, which a file that
    comes later must not be charged with.
    """
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _address_space() + memory_bytes
    now = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (now, most))


def _address_space() -> int:
    try:
        with Path("/proc/self/statm").open(encoding="ascii") as status:
            return int(status.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 2 * 2**30


@contextlib.contextmanager
def _alarm(time_s: int) -> Iterator[None]:
    """End this process if one file takes too long and nobody is left to kill it."""
    if not hasattr(signal, "alarm"):
        yield
        return
    signal.alarm(time_s + 5)
    try:
        yield
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends us
    with contextlib.suppress(BrokenPipeError, BrokenFrameError):
        main()
