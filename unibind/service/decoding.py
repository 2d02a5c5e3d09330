"""Files to items in processes of their own, each killed when it takes too long or too much.

A picture of 25 kilobytes may ask for gigabytes, a sound may never end, a decoder written in C may
crash. None of that reaches the process that answers (facts of other services: a forged header, a
25 MB sound of 5.7 GB).
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from unibind.modalities.registry import open_modality
from unibind.service.frames import BrokenFrameError, receive, send, unpack, widen
from unibind.service.refusals import Refusal, without_paths
from unibind.types import Json

__all__ = ["DecoderPool", "n_decoders"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_START_S = 60.0
_WATCH_S = 0.25
_MOST_DECODERS = 4


def n_decoders(wanted: int) -> int:
    """Return how many decoders there are: as many as wanted, or one per core, at most four."""
    return wanted or min(_MOST_DECODERS, os.cpu_count() or 1)


class DecoderPool:
    """Processes that turn files into items, side by side.

    Args:
        n: How many.
        memory_bytes: What each may allocate beyond what it starts with.
        time_s: How long one file may take.
        on_death: Called when one died and another takes its place.
    """

    def __init__(
        self,
        n: int,
        *,
        memory_bytes: int,
        time_s: float,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._idle: SimpleQueue[_Decoder] = SimpleQueue()
        self._decoders = [_Decoder(memory_bytes, time_s, on_death) for _ in range(n)]
        self._closing = threading.Event()
        for each in self._decoders:
            self._idle.put(each)
        self._watchers = [
            threading.Thread(
                target=self._every, args=(_WATCH_S, each), name="decoders", daemon=True
            )
            for each in (_Decoder.mend, _Decoder.stop_if_late)
        ]
        for watcher in self._watchers:
            watcher.start()

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run."""
        return [pid for each in self._decoders if (pid := each.pid) is not None]

    @property
    def is_whole(self) -> bool:
        """Whether all of them run."""
        return len(self.pids) == len(self._decoders)

    @property
    def n(self) -> int:
        """How many there should be."""
        return len(self._decoders)

    def read(self, modality: str, content: bytes, options: Mapping[str, Json]) -> Any:
        """Return the item of a file's content; waits for an idle decoder.

        Raises:
            Refusal: The file is not what it should be, or takes too long or too much.
        """
        return self._with_one(lambda one: one.read(modality, content, options))

    def draw(self, modality: str, content: bytes, options: Mapping[str, Json]) -> bytes:
        """Return a small PNG of what a file's content is; waits for an idle decoder.

        Raises:
            Refusal: As in `read`, or the modality draws no pictures.
        """
        return self._with_one(lambda one: one.draw(modality, content, options))

    def tell(self, content: bytes, called: str, preferred: Sequence[str]) -> str:
        """Return the name of the modality that a file is of; waits for an idle decoder.

        Raises:
            Refusal: No modality reads it, or several do.
        """
        return self._with_one(lambda one: one.tell(content, called, preferred))

    def close(self) -> None:
        """End all processes."""
        self._closing.set()
        for watcher in self._watchers:
            watcher.join()
        for each in self._decoders:
            each.end()

    def _with_one(self, work: Callable[["_Decoder"], _T]) -> _T:
        decoder = self._idle.get()
        try:
            return work(decoder)
        finally:
            self._idle.put(decoder)

    def _every(self, seconds: float, look: Callable[["_Decoder"], None]) -> None:
        """Look after all decoders again and again."""
        while not self._closing.wait(seconds):
            for each in self._decoders:
                look(each)


class _Decoder:
    """One process and its place in the pool."""

    def __init__(self, memory_bytes: int, time_s: float, on_death: Callable[[], None]) -> None:
        self._memory_bytes = memory_bytes
        self._time_s = time_s
        self._on_death = on_death
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._late_at: float | None = None  # while a file is decoded
        self._is_late = False
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def read(self, modality: str, content: bytes, options: Mapping[str, Json]) -> Any:
        message, buffers = self._ask("read", modality, content, options)
        try:
            return unpack(message["item"], buffers, open_modality(modality))
        except (BrokenFrameError, KeyError) as error:
            self._kill()
            raise _unreadable(_BROKEN, "decoder_failed") from error

    def draw(self, modality: str, content: bytes, options: Mapping[str, Json]) -> bytes:
        _, buffers = self._ask("draw", modality, content, options)
        return bytes(buffers[0])

    def tell(self, content: bytes, called: str, preferred: Sequence[str]) -> str:
        told = {"called": called, "of": list(preferred)}
        message, _ = self._ask("tell", "auto", content, told)
        return str(message["kind"])

    def mend(self) -> None:
        """Start a process if there is none yet, or it died while nobody used it."""
        if self.pid is None and self._lock.acquire(blocking=False):
            try:
                self._running()
            except (OSError, BrokenFrameError) as error:
                _log.warning("a decoder cannot be started: %s", error)
            finally:
                self._lock.release()

    def stop_if_late(self) -> None:
        """Kill the process if its file takes too long."""
        late_at, process = self._late_at, self._process
        if late_at is not None and process is not None and time.monotonic() > late_at:
            self._is_late = True
            process.kill()

    def end(self) -> None:
        self._is_closed = True
        self._kill()

    def _ask(
        self, work: str, modality: str, content: bytes, options: Mapping[str, Json]
    ) -> tuple[Json, list[bytearray]]:
        asked = {"work": work, "modality": modality, "options": dict(options)}
        with self._lock:
            for is_last in (False, True):
                is_fresh = self.pid is None
                try:
                    return self._answer(self._running(), asked, content)
                except (OSError, BrokenFrameError) as error:
                    self._kill()
                    # One that had been killed while it was idle is not this file's fault.
                    if is_last or is_fresh:
                        _log.warning("a decoder died of a file of %s: %s", modality, error)
                        raise _unreadable(_DIED, "decoder_died") from error
        raise AssertionError("unreachable")

    def _answer(
        self, process: subprocess.Popen[bytes], asked: Json, content: bytes
    ) -> tuple[Json, list[bytearray]]:
        message, buffers = self._exchange(process, asked, content)
        if "error" in message:
            if message["kind"] == "bug":
                _log.error("the reader of %s failed: %s", asked["modality"], message.get("log"))
            if message["kind"] == "plugin":
                raise Refusal(501, "plugin_missing", without_paths(message["error"]))
            raise _unreadable(without_paths(message["error"]), "unreadable_item")
        return message, buffers

    def _exchange(
        self, process: subprocess.Popen[bytes], asked: Json, content: bytes
    ) -> tuple[Json, list[bytearray]]:
        """Return what a process answers within its time."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._is_late = False
        self._late_at = time.monotonic() + self._time_s
        try:
            send(process.stdin, asked, [content])
            frame = receive(process.stdout, max_bytes=self._memory_bytes)
            if frame is None:
                raise BrokenFrameError("it ended without an answer")
            return frame
        except (OSError, BrokenFrameError):
            if self._is_late:
                self._kill()
                raise _unreadable(
                    f"decoding it takes longer than {self._time_s:g} s; shorten or reduce it",
                    "decoding_too_slow",
                ) from None
            raise
        finally:
            self._late_at = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        if self._is_closed:
            raise BrokenFrameError("the service is closing")
        if self._process is not None:
            self._kill()
            self._on_death()
        command = [
            sys.executable, "-m", "unibind.service.decoder",
            str(self._memory_bytes), str(int(self._time_s) + 1),
        ]  # fmt: skip
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        for stream in (process.stdin, process.stdout):
            widen(stream)
        self._process = process
        timer = threading.Timer(_START_S, process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            if receive(process.stdout, max_bytes=0) is None:
                raise BrokenFrameError("it ended before it was ready")
        finally:
            timer.cancel()
        return process

    def _kill(self) -> None:
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was still to be written has nowhere to go
                    time.sleep(0)


_DIED = (
    "its decoder crashed or used more memory than a file is allowed; reduce it, or save it again "
    "with another program"
)
_BROKEN = "its decoder returned nonsense; save it again with another program"


def _unreadable(message: str, code: str) -> Refusal:
    return Refusal(400, code, message)
