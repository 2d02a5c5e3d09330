"""Values that every floor shares.

The letters of shapes, used throughout the package:

    N  items              C  classes                 K  centers of one class
    D  width of a space   F  width of a feature      B  rows of a batch
    T  time steps         S  samples of a signal

How an item is called on its way: *item* (raw) -> *feature* (encoder output, width F) ->
*embedding* (after the head, unit length, width D) -> *score* (cosine) -> *logit* (score /
temperature). A *label* is a class's name; a *key* is the user's id of a stored item.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NewType

import numpy as np
import numpy.typing as npt

from unibind.errors import InvalidInputError

__all__ = [
    "FloatArray",
    "Hit",
    "IntArray",
    "Json",
    "Modality",
    "Prediction",
    "ProgressCallback",
    "Reason",
    "SpaceId",
    "Window",
    "WriterSettings",
    "WrittenAnswer",
    "WritingRequest",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

Json = Any
"""A value that ``json.dumps`` takes: None, bool, int, float, str, list or dict of these."""

SpaceId = NewType("SpaceId", str)
"""The fingerprint of a frozen text tower: what heads, centers, stores and queries must share."""

ProgressCallback = Callable[[int, int], None]
"""Called as ``progress(n_done, n_total)`` by long work; the caller decides how to show it."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A stretch of a longer recording, as an item of its own.

    Attributes:
        start_s: Its begin, from the beginning of the file.
        end_s: Its end.
        item: What the modality's `accept` takes.
    """

    start_s: float
    end_s: float
    item: Any

    def key(self, name: str) -> str:
        """Return the key of the window of a file: ``film.mp4#t=12.0-16.0``."""
        return f"{name}#t={self.start_s:.1f}-{self.end_s:.1f}"


@dataclass(frozen=True, slots=True)
class Modality:
    """One kind of item, and how its bytes are read. A value, so that a plug-in can make one.

    Attributes:
        name: What users type: ``"image"``, ``"audio"``.
        units: What `read` and `accept` return, in words with units, for people.
        read: Turns a file's bytes into an item. Raises InvalidInputError.
        accept: Checks a value that is already decoded (an array, say) and returns it as an item.
            Raises InvalidInputError.
        suffixes: Lower-case file name endings with the dot, by which a file's modality is guessed.
        str_is_item: Whether a str is an item itself, as words are, and not the path of a file.
        options: What a person can say of files that do not say it themselves, as ``"rate_hz"``:
            names of keyword arguments of `read` and `accept`, each with a line of explanation.
        limits: What is refused above, by name with its unit: ``{"duration_s": 3600}``.
        draw: Makes a picture of an item, uint8 sRGB, shape (H, W, 3), for a person to check what
            was read.
        cut: Cuts a file's content into windows of time, for searches that shall find the moment:
            called with the content, ``window_s`` and ``stride_s`` (None: no overlap).
        is_guessed: Whether a file may be taken for one by its name or content. Thermal pictures
            look like any other, so a person has to say that they are.
        before: Modalities that a file is not, if this one reads it too: ``("image",)``, because
            every animation can also be read as its first picture.
    """

    name: str
    units: str
    read: Callable[..., Any]
    accept: Callable[..., Any]
    suffixes: tuple[str, ...] = ()
    str_is_item: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    draw: Callable[[Any], npt.NDArray[np.uint8]] | None = None
    cut: Callable[..., Iterator[Window]] | None = None
    is_guessed: bool = True
    before: tuple[str, ...] = ()

    def with_options(self, options: Mapping[str, Json]) -> "Modality":
        """Return the same modality, whose `read` and `accept` are told these options.

        Raises:
            InvalidInputError: It has no such option.
        """
        unknown = sorted(set(options) - set(self.options))
        if unknown:
            known = ", ".join(self.options) or "none"
            raise InvalidInputError(f"{self.name} has no option {unknown[0]!r}; it has {known}")
        if not options:
            return self
        return replace(
            self,
            read=partial(self.read, **options),
            accept=partial(self.accept, **options),
            cut=None if self.cut is None else partial(self.cut, **options),
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that spoke for a class.

    Attributes:
        text: What it says: a sentence about the class, or a measurement beside what was expected.
        share: Its part of all that was weighed for this class; negative if it spoke against it.
        source: ``"description"``, ``"measurement"`` or ``"example"``.
    """

    text: str
    share: float
    source: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class that an item may belong to.

    Attributes:
        label: The class's name as the caller wrote it.
        score: Cosine to the class's center after calibration, comparable within one call.
        probability: Share of belief among the classes of the call; they sum to 1 over all classes.
        reasons: What spoke for it, the strongest first; none if nobody asked.
    """

    label: str
    score: float
    probability: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """One stored item that a search found.

    Attributes:
        key: The user's id of the item.
        modality: The item's modality.
        score: Similarity, higher is nearer; comparable within one search.
        metadata: What was stored beside the item.
    """

    key: str
    modality: str
    score: float
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WritingRequest:
    """One question to a language model, ready to be sent as a chat.

    Attributes:
        key: Hex name of the call: equal keys, equal calls.
        instruction: What to do; the system message. It never contains a user's words.
        facts: What it is about; sent as a JSON object, so that a class's name stays a value.
        examples: (facts, answer) turns that come before.
        schema: JSON schema of the answer, an object.
        seed: For the server's sampler.
        view: The view that is asked about.
        places: Numbers of the lines among those of the class and view, from 0.
        media: (MIME type, bytes) of pictures or sounds that the question is about.
    """

    key: str
    instruction: str
    facts: Mapping[str, Json]
    examples: tuple[tuple[Mapping[str, Json], Mapping[str, Json]], ...]
    schema: Mapping[str, Json]
    seed: int
    view: str = ""
    places: tuple[int, ...] = ()
    media: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """What a language model answered.

    Attributes:
        content: The text, as it came; it may or may not follow the schema.
        n_prompt_tokens: As counted by the server, 0 if it does not say.
        n_answer_tokens: As counted by the server, 0 if it does not say.
    """

    content: str
    n_prompt_tokens: int = 0
    n_answer_tokens: int = 0


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """What a person chose about a writer; None leaves it to the writer.

    Attributes:
        model: The model's name, or a file.
        base_url: Address of an OpenAI-compatible server, up to ``/v1``.
        temperature: Of the sampler.
        top_p: Of the sampler.
        max_tokens: Longest answer.
        seed: Base seed; each call's own is derived from it and the call's key.
        n_in_flight: Calls at a time.
        lines_per_call: Sentences asked for in one call.
        timeout_s: Longest wait for one answer.
        n_retries: Tries after a failed one: rate limits, time-outs, server errors.
        files: Files that a writer reads or writes, by role.
    """

    model: str | None = None
    base_url: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int = 0
    n_in_flight: int | None = None
    lines_per_call: int | None = None
    timeout_s: float | None = None
    n_retries: int | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
