"""Training that was interrupted goes on where it was."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from unibind import artifact
from unibind.errors import ArtifactError
from unibind.types import Json

__all__ = ["Checkpoints", "State", "digest_of"]

KIND = "training"
FORMAT_VERSION = 1
_FILE = "state.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What was kept of a phase.

    Attributes:
        tensors: Of all its courses, by ``"NUMBER NAME"``.
        notes: What was written beside them.
        arrays: Arrays that were kept with them.
    """

    tensors: Mapping[str, torch.Tensor]
    notes: dict[str, Json]
    arrays: dict[str, Any]

    def of(self, course: int) -> dict[str, torch.Tensor]:
        """Return the state of one course."""
        begin = f"course {course} "
        return {
            name.removeprefix(begin): value
            for name, value in self.tensors.items()
            if name.startswith(begin)
        }


class Checkpoints:
    """A folder with the state of each phase of a training, whole or absent.

    Args:
        folder: Where; None keeps nothing.
        key: Digest of all that the training depends on; what was kept under another is not used.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder, self._key = folder, key

    def load(self, phase: str) -> State | None:
        """Return what was kept of a phase, None if nothing was that fits and is whole."""
        if self._folder is None or not artifact.exists(self._folder / phase):
            return None
        try:
            manifest = artifact.verify(
                self._folder / phase, kind=KIND, format_version=FORMAT_VERSION
            )
        except ArtifactError:
            return None  # it is trained again, which is the remedy
        if manifest.params.get("key") != self._key:
            return None
        tensors = load_file(self._folder / phase / _FILE)
        arrays = {
            name.removeprefix("array "): value.numpy()
            for name, value in tensors.items()
            if name.startswith("array ")
        }
        return State(tensors, dict(manifest.params["notes"]), arrays)

    def save(
        self,
        phase: str,
        courses: Sequence[Mapping[str, torch.Tensor]],
        *,
        notes: Mapping[str, Json],
        arrays: Mapping[str, Any],
    ) -> None:
        """Keep the state of a phase; what was kept of it is replaced.

        Raises:
            ArtifactError: The folder cannot be written.
        """
        if self._folder is None:
            return
        tensors = {
            f"course {number} {name}": value.contiguous()
            for number, state in enumerate(courses)
            for name, value in state.items()
        }
        tensors |= {
            f"array {name}": torch.from_numpy(np.ascontiguousarray(value))
            for name, value in arrays.items()
        }
        with artifact.writing(
            self._folder / phase,
            kind=KIND,
            format_version=FORMAT_VERSION,
            params={"key": self._key, "notes": dict(notes)},
        ) as staging:
            (staging / _FILE).write_bytes(save(tensors))

    def clear(self) -> None:
        """Remove what was kept: the training is done."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def digest_of(settings: Mapping[str, Json], arrays: Sequence[np.ndarray]) -> str:
    """Return a hash of settings and of what is trained on."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for each in arrays:
        digest.update(f"{each.shape} {each.dtype}".encode())
        digest.update(np.ascontiguousarray(each).tobytes())
    return digest.hexdigest()
