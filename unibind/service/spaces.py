"""The space that is served: opened, warmed, and opened again when it changed or failed."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unibind.engine import Engine
from unibind.errors import UnibindError
from unibind.service.refusals import refusal_of

__all__ = ["OpenSpace"]

_log = logging.getLogger(__name__)
_PROBE = "is the model still there?"
_MAX_SAMPLE = 2**20


class OpenSpace:
    """One space's engine as it is now.

    Args:
        open_engine: Opens the space.
        opens_all: Whether every tower is opened before the first request; else the text tower.
        linger_s: How long an engine is kept after another took its place: what is being answered
            goes on with the one that it began with.
    """

    def __init__(
        self, open_engine: Callable[[], Engine], *, opens_all: bool, linger_s: float
    ) -> None:
        self._open = open_engine
        self._opens_all = opens_all
        self._linger_s = linger_s
        self.engine = open_engine()
        self.generation = 0  # what an earlier engine embedded is not known any more
        self.is_warm = False
        self.reloaded_at = -1e9
        self._unavailable: dict[str, str] = {}
        self._samples: dict[str, Any] = {}
        self._reloading = threading.Lock()

    @property
    def text(self) -> str:
        """Name of the modality of plain strings."""
        return self.engine.modalities[0]

    def warm(self) -> None:
        """Open every tower, so that no request waits for it; what cannot be opened is noted."""
        every = self.engine.modalities
        for name in every if self._opens_all else every[:1]:
            try:
                self._warm(name)
                self._unavailable.pop(name, None)
            except UnibindError as error:
                _log.warning("%s cannot be embedded: %s", name, error)
                self._unavailable[name] = refusal_of(error).message
        self.is_warm = True

    def reached(self) -> Sequence[str]:
        """Return the names of the modalities of which items can be embedded."""
        return [name for name in self.engine.modalities if self.reaches(name)]

    def reaches(self, name: str) -> bool:
        """Return whether items of a modality can be embedded."""
        if name not in self.engine.modalities or name in self._unavailable:
            return False
        try:
            return self.engine.senses.reaches(name)
        except UnibindError:
            return False

    def why_unavailable(self, name: str) -> str | None:
        """Return why a modality of the space cannot be embedded now, None if it can."""
        return self._unavailable.get(name)

    def remember(self, modality: str, item: Any) -> None:
        """Keep one small good item of each modality: the model is tried with it."""
        if modality not in self._samples and getattr(item, "nbytes", 0) <= _MAX_SAMPLE:
            self._samples[modality] = item

    def samples(self) -> dict[str, Any]:
        """Return an item of each modality that has been embedded, and of text in any case."""
        return {self.text: _PROBE, **self._samples}

    def probe(self, modality: str, item: Any) -> None:
        """Try a tower with an item.

        Raises:
            ArithmeticError: Its features are not finite; or whatever the tower raises.
        """
        features = self.engine.encoder(modality).encode([item])
        if not np.isfinite(features).all():
            raise ArithmeticError("its features are not finite")

    def reload(self) -> None:
        """Open the space anew: its heads or centers changed on disk, or its model failed."""
        with self._reloading:
            if self.reloaded_at < 0 or time.monotonic() - self.reloaded_at > 1:
                before, self.engine = self.engine, self._open()
                self.generation += 1
                self.warm()
                self.reloaded_at = time.monotonic()
                timer = threading.Timer(self._linger_s, before.close)
                timer.daemon = True
                timer.start()

    def _warm(self, name: str) -> None:
        self.engine.encoder(name)
        self.engine.head(name)
        self.engine.prior(name)
        if name == self.text:  # a first pass is slow, and would be taken for what the model can do
            self.probe(name, _PROBE)
