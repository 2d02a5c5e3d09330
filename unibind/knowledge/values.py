"""What a knowledge base is made of: lines, where they come from, attribute ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from unibind.errors import InvalidInputError
from unibind.types import Json

__all__ = ["HAND", "AttributeRanges", "KnowledgeBase", "Line", "Source"]

HAND: Final = "hand"
"""The source of a line that a person typed into the file."""


@dataclass(frozen=True, slots=True)
class Source:
    """What many lines share about how they came to be.

    Attributes:
        writer: ``"openai"``, ``"local"``, ``"batch"``, ``"import"`` or ``"hand"``.
        generator: The model's name, or words about it.
        prompt: Id of the prompt file, "" if none of ours was used.
        prompt_version: Version of the prompt file.
        sampling: Temperature, top_p, ... as they were sent; empty if unknown.
        note: Anything else a reader should know.
    """

    writer: str
    generator: str
    prompt: str = ""
    prompt_version: int = 0
    sampling: Mapping[str, Json] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence about a class.

    Attributes:
        class_name: The class, as it stands in classes.csv.
        view: From which side: ``"looks"``, ``"sound"``, ``"shape"``, ...
        text: The sentence.
        source: Key of the base's `KnowledgeBase.sources`.
        group: The class's group, "" if it has none; stored in classes.csv only.
        against: The other class of a contrastive line, else "".
        index: Place among the lines asked for this class and prompt; None if nobody asked.
        attempt: How many times this place had been asked for before.
        seed: Seed that was sent with the call; None if none was.
        status: ``"unreviewed"``, ``"accepted"`` or ``"edited"``.
        reviewer: Who accepted or edited it.
        reason: Why it was taken out; only lines of the quarantine have one.
    """

    class_name: str
    view: str
    text: str
    source: str = HAND
    group: str = ""
    against: str = ""
    index: int | None = None
    attempt: int = 0
    seed: int | None = None
    status: str = "unreviewed"
    reviewer: str = ""
    reason: str = ""

    @property
    def is_reviewed(self) -> bool:
        """Whether a person accepted or edited it."""
        return self.status != "unreviewed"


@dataclass(frozen=True, slots=True)
class AttributeRanges:
    """What a sensor would measure on about 80 % of a class's typical instances.

    Attributes:
        class_name: The class.
        sensor: Kind of sensor: ``"scan"``, ``"sound"``, ``"wrist imu"``, ``"power meter"``.
        ranges: Attribute name, with its unit in the name, to (low, high).
        source: Key of the base's `KnowledgeBase.sources`.
        n_samples: How many answers were aggregated; 0 if unknown.
        samples: Attribute name to the ranges that were aggregated, if they are known.
    """

    class_name: str
    sensor: str
    ranges: Mapping[str, tuple[float, float]]
    source: str = HAND
    n_samples: int = 0
    samples: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class KnowledgeBase:
    """Classes with the sentences and attribute ranges that stand for them.

    Attributes:
        name: How it is called; the folder's name.
        classes: Names in order.
        lines: All sentences, in the order of descriptions.jsonl.
        groups: Class name to group, for classes that have one.
        sources: Id to provenance.
        attributes: Ranges per class and sensor.
        quarantine: Lines that were taken out.
        plan: What the last build was asked for; empty if nothing was built.
        signed_off_by: Who vouches for all of it, "" if nobody; it then takes no unreviewed line.
        content_id: Hash of the stored content; "" if it was never stored.
    """

    name: str
    classes: tuple[str, ...]
    lines: tuple[Line, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    attributes: tuple[AttributeRanges, ...] = ()
    quarantine: tuple[Line, ...] = ()
    plan: Mapping[str, Json] = field(default_factory=dict)
    signed_off_by: str = ""
    content_id: str = ""

    @property
    def views(self) -> tuple[str, ...]:
        """The views that occur, in order of first use."""
        return tuple(dict.fromkeys(line.view for line in self.lines))

    @cached_property
    def lines_by_class(self) -> Mapping[str, tuple[Line, ...]]:
        """Class name to its lines, in stored order; every class is a key."""
        grouped: dict[str, list[Line]] = {name: [] for name in self.classes}
        for line in self.lines:
            grouped[line.class_name].append(line)
        return {name: tuple(lines) for name, lines in grouped.items()}

    def texts(self, class_name: str, *, views: Sequence[str] | None = None) -> list[str]:
        """Return the sentences of a class, of all views or of some.

        Raises:
            InvalidInputError: The base has no such class, or no line has one of the views.
        """
        if class_name not in self.lines_by_class:
            raise InvalidInputError(
                f"the knowledge base {self.name!r} has no class {class_name!r}; "
                f"`unibind knowledge show {self.name}` lists its {len(self.classes)} classes"
            )
        if unknown := set(views or ()) - set(self.views):
            raise InvalidInputError(
                f"the knowledge base {self.name!r} has no view {', '.join(sorted(unknown))}; "
                f"it has {', '.join(self.views)}"
            )
        return [
            line.text
            for line in self.lines_by_class[class_name]
            if views is None or line.view in views
        ]
