"""Log lines for machines, and the audit of writes. What people send is never logged."""

import contextlib
import json
import logging
import logging.handlers
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from unibind.types import Json

__all__ = ["Audit", "configure"]

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_AUDIT_BYTES = 16 * 2**20
_AUDIT_FILES = 10
_GATHER_S = 0.05
_MOST_LINES = 100_000


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told: dict[str, Json] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str, ensure_ascii=False)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = " ".join(
            f"{name}={value}" for name, value in vars(record).items() if name not in _OWN
        )
        return f"{super().format(record)} {told}".rstrip()


class _Together(logging.Handler):
    """Lines that a thread writes a moment later, together; what warns is written at once.

    Each write hands the interpreter over to other threads, and whoever serves has to wait for it.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._is_there = threading.Event()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        self._lines.append(self.format(record))
        if record.levelno >= logging.WARNING:
            self.flush()
        else:
            self._is_there.set()

    def flush(self) -> None:
        """Write what is there."""
        with self.lock or contextlib.nullcontext():
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if lines:
                with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                    self._stream.write("".join(f"{line}\n" for line in lines))
                    self._stream.flush()

    def _run(self) -> None:
        while self._is_there.wait():
            time.sleep(_GATHER_S)
            self._is_there.clear()
            self.flush()


def configure(log_format: str) -> None:
    """Send the log to stderr, as JSON or for people."""
    handler = _Together(sys.stderr)
    handler.setFormatter(
        _JsonLines()
        if log_format == "json"
        else _Lines("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)


class Audit:
    """Who wrote what and when, one JSON line each, in files that are replaced when they are large.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._log = logging.Logger("audit")  # of its own: no setting of others may silence it
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=_AUDIT_BYTES, backupCount=_AUDIT_FILES, encoding="utf-8", delay=True
        )
        handler.setFormatter(_JsonLines())
        self._log.addHandler(handler)

    def note(self, action: str, *, caller: str, request_id: str, **told: Json) -> None:
        """Note one write.

        Args:
            action: What was done.
            caller: Name of the key.
            request_id: Of the request.
            told: What it was done to.
        """
        self._log.info(action, extra={"caller": caller, "request_id": request_id, **told})

    def close(self) -> None:
        """Release the file."""
        for handler in self._log.handlers:
            handler.close()
