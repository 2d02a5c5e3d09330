"""Run a command in one process, Ctrl-C it once at a named function, and tell what it left.

    python interrupted.py '["alignment/heads.py:save", ...]' ARGUMENT...

Prints a JSON list of [place, whether it was reached, exit code, files].
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from unibind.cli import main


def interrupted_at(place: str) -> tuple[bool, int]:
    """Return whether the function was reached, and the exit code."""
    file, _, function = place.rpartition(":")
    reached = False

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal reached
        code = frame.f_code
        if event == "call" and code.co_name == function and code.co_filename.endswith(file):
            reached = True
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)

    sys.setprofile(watch)
    try:
        main()
    except SystemExit as stopped:
        return reached, int(stopped.code or 0)
    finally:
        sys.setprofile(None)
    return reached, 0


def files() -> list[str]:
    """Return all that lies in the indexes of the working directory."""
    return sorted(str(path) for path in Path("indexes").rglob("*") if path.is_file())


if __name__ == "__main__":
    places = json.loads(sys.argv.pop(1))
    outcomes = [[place, *interrupted_at(place), files()] for place in places]
    print(json.dumps(outcomes))  # noqa: T201
