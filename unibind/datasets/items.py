"""What every reader returns: labelled items, in a fixed order, and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from unibind.types import Json

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Dataset", "LabelledItem"]


@dataclass(frozen=True, slots=True)
class LabelledItem:
    """One file and what is known about it. What is not known is None.

    Attributes:
        path: The file; whether it is there and can be read is found out when it is used.
        label: Its class.
        caption: What it shows, in a sentence or a name.
        group: What it belongs together with: items of one group must not be split between
            training and test when unseen groups are the question.
        split: ``"train"``, ``"test"``, or whatever the data's makers chose.
        extra: All else that is known, as JSON values.
        key: The user's id of the item, the same on every machine; its path unless given.
    """

    path: Path
    label: str | None = None
    caption: str | None = None
    group: str | None = None
    split: str | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.path.as_posix())


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled items of one origin, sorted by key.

    Attributes:
        name: What people call it.
        items: The items, no key twice.
        licence: Under which terms the items may be used; "" where nothing is known.
        attribution: Whom the licence wants to be named.
        source: Where the items came from, with the version.
        skipped: Why files were left out, to how many.
    """

    name: str
    items: tuple[LabelledItem, ...]
    licence: str = ""
    attribution: str = ""
    source: str = ""
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda item: item.key)))

    def __len__(self) -> int:
        return len(self.items)

    def to_frame(self) -> "DataFrame":
        """Return a pandas table: key, path, label, caption, group, split, then what is extra."""
        from pandas import DataFrame  # half a second, for those who ask

        names = ("key", "path", "label", "caption", "group", "split")
        rows = [
            {**{name: getattr(item, name) for name in names}, **item.extra} for item in self.items
        ]
        return DataFrame(rows, columns=None if rows else list(names))

    def missing(self) -> tuple[LabelledItem, ...]:
        """Return the items whose file is not there now."""
        return tuple(item for item in self.items if not item.path.is_file())
