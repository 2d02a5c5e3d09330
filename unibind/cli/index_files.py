"""Files on their way into an index: which they are, in batches, and what is kept beside them."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unibind.cli.output import warn
from unibind.types import Json

if TYPE_CHECKING:
    from unibind.datasets import LabelledItem
    from unibind.engine import Engine

__all__ = ["add_rows", "add_windows", "batches_of", "items_of"]

_BATCH = 64


def items_of(files: Sequence[Path], data: str | None) -> "list[LabelledItem]":
    """Return the items of a set and of files and folders."""
    from unibind.datasets import LabelledItem, open_dataset
    from unibind.errors import InvalidInputError

    found = list(open_dataset(data).items) if data is not None else []
    for file in files:
        if not file.exists():
            raise InvalidInputError(f"there is nothing at {file}; correct the path")
        inside = [file]
        if file.is_dir():
            inside = sorted(path for path in file.rglob("*") if path.is_file())
        found += [LabelledItem(path) for path in inside if not path.name.startswith(".")]
    return found


def batches_of(
    items: "list[LabelledItem]", modality: str | None, *, preferred: Collection[str]
) -> "Iterator[tuple[str, list[LabelledItem]]]":
    """Yield batches of one modality each, with its name."""
    from unibind.modalities.registry import modality_of

    def name(item: "LabelledItem") -> str:
        return modality or modality_of(item.path, preferred=preferred).name

    for found, group in groupby(items, key=name):
        while rows := list(islice(group, _BATCH)):
            yield found, rows


def add_rows(
    engine: "Engine",
    modality: str,
    rows: "list[LabelledItem]",
    common: dict[str, Any],
    options: Mapping[str, Json],
) -> list[dict[str, str]]:
    """Store rows and return those that cannot be read, with why; the others are stored."""
    from unibind.errors import InvalidInputError

    metadata = [_metadata(item, common) for item in rows]
    try:
        keys = [item.key for item in rows]
        paths = [item.path for item in rows]
        engine.add(modality, paths, keys=keys, metadata=metadata, options=options)
    except InvalidInputError as error:
        if len(rows) == 1:
            named = "" if str(error).startswith(rows[0].key) else f"{rows[0].key}: "
            warn(f"left out: {named}{error}")
            return [{"key": rows[0].key, "error": str(error)}]
        return [
            failure
            for row in rows
            for failure in add_rows(engine, modality, [row], common, options)
        ]
    return []


def add_windows(
    engine: "Engine",
    modality: str,
    row: "LabelledItem",
    common: dict[str, Any],
    *,
    window_s: float,
    stride_s: float | None,
) -> list[dict[str, str]]:
    """Store windows of time of a file, each under its own key with where it begins and ends.

    Returns:
        The file with why, if it cannot be read; windows before the place of the damage are stored.
    """
    from unibind.encoders.pipeline import read_file
    from unibind.errors import InvalidInputError

    cut = engine.encoder(modality).modality.cut
    try:
        if cut is None:
            raise InvalidInputError(f"{modality} has no windows of time; leave out --windows")
        windows = cut(read_file(row.path), window_s=window_s, stride_s=stride_s)
        while batch := list(islice(windows, _BATCH // 8)):
            metadata = [
                {**_metadata(row, common), "start_s": each.start_s, "end_s": each.end_s}
                for each in batch
            ]
            keys = [each.key(row.key) for each in batch]
            engine.add(modality, [each.item for each in batch], keys=keys, metadata=metadata)
    except InvalidInputError as error:
        warn(f"left out: {row.key}: {error}")
        return [{"key": row.key, "error": str(error)}]
    return []


def _metadata(item: "LabelledItem", common: dict[str, Any]) -> dict[str, Any]:
    told = {
        "path": os.fspath(item.path),
        "label": item.label,
        "caption": item.caption,
        "group": item.group,
        "split": item.split,
        **item.extra,
        **common,
    }
    return {name: value for name, value in told.items() if value is not None}
