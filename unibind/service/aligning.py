"""Alignment runs behind the service: ``unibind align`` in a process of its own, watched.

Training takes all it can of a machine, and may fail in ways of its own; beside the process that
answers, it can do neither harm. One run at a time.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from unibind.service.refusals import Refusal, without_paths
from unibind.types import Json

__all__ = ["Order", "Run", "Runs", "unpacked"]

_MOST_KEPT = 50
_OLD_S = 86_400  # another server may share the folder, and train with what it was sent
_MOST_FILES = 200_000
_MOST_BYTES = 20 * 2**30
_MOST_RATIO = 200
_PROGRESS = re.compile(r"^(?P<stage>[^:]{1,60}): (?P<share>\d{1,3})%$")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be aligned.

    Attributes:
        modality: What the items are.
        data: A folder of classes, or the name of a public set.
        options: Further arguments of ``unibind align``.
        is_uploaded: Whether the folder is ours to delete.
    """

    modality: str
    data: str
    options: Sequence[str] = ()
    is_uploaded: bool = False

    def clear(self) -> None:
        """Remove what was uploaded; nobody needs it any more."""
        if self.is_uploaded:
            shutil.rmtree(self.data, ignore_errors=True)


@dataclass(slots=True)
class Run:
    """One run, as it goes."""

    id: str
    order: Order
    status: str = "queued"
    stage: str = "waiting"
    n_done: int = 0
    n_total: int = 100
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    error: str | None = None
    result: Json = None
    process: subprocess.Popen[str] | None = None

    def told(self) -> Json:
        """Return what is told of it."""
        ended = time.monotonic() if self.ended is None else self.ended
        return {
            "id": self.id,
            "status": self.status,
            "modality": self.order.modality,
            "stage": self.stage,
            "n_done": self.n_done,
            "n_total": self.n_total,
            "seconds": round(ended - self.began, 1),
            "error": self.error,
            "result": self.result,
        }


class Runs:
    """The runs since the service began.

    Args:
        space: Folder of the space that is trained.
        on_done: Called when a head was made, so that it is used.
    """

    def __init__(self, space: Path, on_done: Callable[[], None]) -> None:
        self._space = space
        self._on_done = on_done
        self._runs: deque[Run] = deque(maxlen=_MOST_KEPT)
        self._one = threading.Lock()
        self._is_closed = False
        _clear_old(space)

    def check_room(self) -> None:
        """Refuse a run while one is waiting already.

        Raises:
            Refusal: One is.
        """
        if sum(run.status in ("queued", "running") for run in self._runs) >= 2:
            raise Refusal(
                429, "busy", "a run is going and another waits; wait for one to end",
                retry_after_s=30,
            )  # fmt: skip

    def start(self, order: Order) -> Run:
        """Start a run, or let it wait for the one before.

        Raises:
            Refusal: One is waiting already; what was uploaded is removed then.
        """
        try:
            self.check_room()
        except Refusal:
            order.clear()
            raise
        run = Run(secrets.token_hex(8), order)
        self._runs.appendleft(run)
        threading.Thread(target=self._go, args=(run,), name="align", daemon=True).start()
        return run

    def all(self) -> list[Run]:
        """Return the runs, the last one first."""
        return list(self._runs)

    def get(self, run_id: str) -> Run:
        """Return a run.

        Raises:
            Refusal: There is none of that id.
        """
        for run in self._runs:
            if run.id == run_id:
                return run
        raise Refusal(404, "unknown_run", f"no alignment run {run_id!r:.40} since the start", "id")

    def cancel(self, run_id: str) -> Run:
        """Stop a run; what was trained before stays as it was."""
        run = self.get(run_id)
        if run.status in ("queued", "running"):
            run.status = "cancelled"
            if run.process is not None:
                run.process.terminate()
        return run

    def close(self) -> None:
        """Stop all runs."""
        self._is_closed = True
        for run in self._runs:
            self.cancel(run.id)

    def _go(self, run: Run) -> None:
        try:
            with self._one:
                if run.status == "queued":
                    self._align(run)
        finally:
            run.ended = time.monotonic()
            run.order.clear()

    def _align(self, run: Run) -> None:
        order = run.order
        command = [
            sys.executable, "-m", "unibind", "align", "--json",
            "--data", order.data, "--modality", order.modality,
            "--space", str(self._space.absolute()), *order.options,
        ]  # fmt: skip
        run.status, run.stage, run.began = "running", "starting", time.monotonic()
        run.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"UNIBIND_PROGRESS_S": "0.5", "PYTHONIOENCODING": "utf-8"},
        )
        assert run.process.stdout is not None
        assert run.process.stderr is not None
        tail: deque[str] = deque(maxlen=5)
        reader = threading.Thread(target=_watch, args=(run, run.process.stderr, tail), daemon=True)
        reader.start()
        answer = run.process.stdout.read()
        code = run.process.wait()
        reader.join()
        if run.status == "cancelled":
            return
        if code == 0:
            self._on_done()
            run.result = _told(answer)
            run.stage, run.n_done, run.status = "done", run.n_total, "done"
        else:
            told = " ".join(tail) or f"it ended with exit code {code}"
            run.error, run.status = without_paths(told.removeprefix("error: ")), "failed"


def _clear_old(space: Path) -> None:
    """Remove uploads that a server left behind which was killed amid a run."""
    for path in space.glob("uploaded-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _OLD_S:
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)


def _watch(run: Run, lines: IO[str], tail: "deque[str]") -> None:
    for line in lines:
        told = _PROGRESS.match(line.strip())
        if told is None:
            tail.append(line.strip())
        else:
            run.stage, run.n_done = told["stage"], min(100, int(told["share"]))


def _told(answer: str) -> Json:
    try:
        result: dict[str, Any] = json.loads(answer)
    except ValueError:
        return None
    # Where it lies on the server is nobody's business.
    return {name: value for name, value in result.items() if name not in ("head", "space", "data")}


def unpacked(archive: Path, folder: Path) -> None:
    """Unpack a zip into a folder, if it is what a folder of classes would be.

    Raises:
        Refusal: It is no zip, or holds links, paths that lead out, too much or too many.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [each for each in opened.infolist() if not each.is_dir()]
            _check_members(members)
            left = _MOST_BYTES
            for member in members:
                place = folder.joinpath(*PurePosixPath(member.filename).parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as packed, place.open("wb") as plain:
                    left = _copied(packed, plain, min(member.file_size, left), left)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise _bad_zip(f"it cannot be read ({error})") from None
    except OSError as error:
        raise Refusal(
            507, "no_room", f"the archive cannot be unpacked: {error.strerror or 'disk error'}"
        ) from None


def _copied(packed: IO[bytes], plain: IO[bytes], promised: int, left: int) -> int:
    n_bytes = 0
    while chunk := packed.read(2**20):
        n_bytes += len(chunk)
        if n_bytes > promised:
            raise _bad_zip("a member is larger than its header says, or all are too large")
        plain.write(chunk)
    return left - n_bytes


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    if not members or len(members) > _MOST_FILES:
        raise _bad_zip(f"it has {len(members):,} files; 1 to {_MOST_FILES:,} were needed")
    n_bytes = sum(each.file_size for each in members)
    n_packed = sum(each.compress_size for each in members)
    if n_bytes > _MOST_BYTES or n_bytes > _MOST_RATIO * max(n_packed, 2**16):
        raise _bad_zip(f"it holds {n_bytes:,} bytes in {n_packed:,}")
    for member in members:
        path = PurePosixPath(member.filename)
        is_link = member.external_attr >> 28 == 0xA
        leads_out = path.is_absolute() or ".." in path.parts or "\\" in member.filename
        if leads_out or is_link or ":" in path.parts[0] or "\0" in member.filename:
            raise _bad_zip(f"it holds {member.filename!r:.80}, which leads out of it")


def _bad_zip(why: str) -> Refusal:
    return Refusal(
        400, "invalid_archive", f"a zip of one folder per class was needed: {why}", "file"
    )
