"""How long work is heard of by whoever called it."""

from contextlib import AbstractContextManager
from typing import Protocol

from unibind.types import ProgressCallback

__all__ = ["Reporter"]


class Reporter(Protocol):
    """How the caller hears what is going on."""

    def say(self, message: str) -> None:
        """Show one line."""
        ...

    def progress(
        self, label: str, *, in_bytes: bool = False
    ) -> AbstractContextManager[ProgressCallback]:
        """Show a bar while a block runs."""
        ...
