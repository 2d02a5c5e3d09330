"""What takes time in a request: noted where it happens, in whichever thread, for its trace."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Stage", "collected", "current", "note"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of the way of a request.

    Attributes:
        name: ``"fetch"``, ``"queue"``, ``"decode"``, ``"encode"``, ``"head"``, ``"search"`` or
            ``"store"``.
        modality: What went through it.
        began: By `time.monotonic`.
        ended: By `time.monotonic`.
        n_items: How many items went through it together, those of other requests among them.
    """

    name: str
    modality: str
    began: float
    ended: float
    n_items: int = 1


_current: ContextVar[list[Stage] | None] = ContextVar("stages", default=None)


def current() -> list[Stage] | None:
    """Return where the stages of the request are noted that is worked on here; None if nowhere."""
    return _current.get()


def note(stage: Stage) -> None:
    """Note a stage of the request that is worked on here, if anybody wants to know."""
    stages = _current.get()
    if stages is not None:
        stages.append(stage)


@contextlib.contextmanager
def collected() -> Iterator[list[Stage]]:
    """Collect what is noted within, in this thread and in tasks that are begun from here."""
    stages: list[Stage] = []
    token = _current.set(stages)
    try:
        yield stages
    finally:
        _current.reset(token)
