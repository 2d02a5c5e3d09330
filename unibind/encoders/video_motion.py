"""Videos with what moves in them: pooled features beside their change; needs a head of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from unibind.encoders import video_frames
from unibind.encoders.fingerprints import fingerprint_of
from unibind.encoders.through_pictures import ThroughPictures
from unibind.modalities.video import VIDEO, Clip, accept
from unibind.types import FloatArray

__all__ = ["N_ENERGIES", "VideoMotion", "attention_mean", "frame_energies", "load"]

GRID = 4
SIDE = 32
ATTENTION_TEMPERATURE = 0.05
"""Cosines to the clip's mean are divided by this: a frame 0.1 further away counts an eighth."""

N_ENERGIES = GRID * GRID + 3


class VideoMotion:
    """What a clip shows and how it changes: mean, attention, change of features, energies.

    Args:
        frames: The encoder of the clip's frames.
        fingerprint: Of it together with this pooling.
    """

    modality = VIDEO

    def __init__(self, frames: ThroughPictures, *, fingerprint: str) -> None:
        self.dim = 3 * frames.dim + N_ENERGIES
        self.fingerprint = fingerprint
        self._frames = frames

    def encode(self, items: Sequence[Any]) -> FloatArray:
        """Return the features of clips, shape (N, 3 F + 19), F being the image tower's width.

        In turn: the mean over frames; the mean that attends to frames like the clip; the mean
        size of the change from frame to frame, 0 for a clip of one; and `frame_energies`.

        Raises:
            InvalidInputError: An item is no clip.
        """
        clips = [accept(item) for item in items]
        rows = np.zeros((len(clips), self.dim), dtype=np.float32)
        for row, clip, features in zip(
            rows, clips, self._frames.encode_pictures(clips), strict=True
        ):
            change = np.abs(np.diff(features, axis=0)).mean(axis=0) if len(features) > 1 else 0
            width = features.shape[1]
            row[:width] = features.mean(axis=0)
            row[width : 2 * width] = attention_mean(features)
            row[2 * width : 3 * width] = change
            row[3 * width :] = frame_energies(clip)
        return rows


def attention_mean(features: FloatArray) -> FloatArray:
    """Return the mean of a clip's features that attends to frames like the whole.

    Each frame's weight is the softmax of its cosine to the plain mean: a black frame, or a title,
    drops out. There is nothing to train.

    Args:
        features: Of T frames, shape (T, F).

    Returns:
        Shape (F,).
    """
    mean = features.mean(axis=0)
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(mean)
    cosines = features @ mean / np.maximum(lengths, 1e-12)  # (T, F) @ (F,) -> (T,)
    weights = np.exp((cosines - cosines.max()) / ATTENTION_TEMPERATURE)
    attended: FloatArray = weights / weights.sum() @ features
    return attended


def frame_energies(clip: Clip) -> FloatArray:
    """Return where and how unevenly a clip's frames differ from one to the next.

    Args:
        clip: The clip.

    Returns:
        Mean absolute differences of grey, in [0, 1]: of the cells of a 4 x 4 grid, then mean,
        standard deviation and maximum over the steps of time; shape (19,). Zeros for one frame.
    """
    energies = np.zeros(N_ENERGIES, dtype=np.float32)
    if len(clip.frames) < 2:
        return energies
    grey = [Image.fromarray(frame).convert("L") for frame in clip.frames]
    small = np.stack([np.asarray(each.resize((SIDE, SIDE), Image.Resampling.BOX)) for each in grey])
    changes = np.abs(np.diff(small.astype(np.float32), axis=0)) / 255  # (T - 1, SIDE, SIDE)
    cell = SIDE // GRID
    energies[:-3] = changes.mean(axis=0).reshape(GRID, cell, GRID, cell).mean(axis=(1, 3)).ravel()
    steps = changes.mean(axis=(1, 2))
    energies[-3:] = steps.mean(), steps.std(), steps.max()
    return energies


def load(tower: str = "efficientnet-lite0") -> VideoMotion:
    """Return the encoder on top of an image tower.

    Args:
        tower: Name of an installed image encoder.

    Raises:
        PluginError: There is no such encoder.
        FetchError: Its weights are not here.
    """
    frames = video_frames.load(tower)
    fingerprint = fingerprint_of(
        architecture="video-motion",
        version=1,
        frames=frames.fingerprint,
        attention=ATTENTION_TEMPERATURE,
        grid=GRID,
        side=SIDE,
    )
    return VideoMotion(frames, fingerprint=fingerprint)
