"""What FILE arguments stand for: files, folders that are walked, ``-`` for standard input, texts.

A bad one never stops the others: it is set apart with the reason, and told at the end.
"""

import contextlib
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unibind.cli.output import printable, progress, warn
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, Json, ProgressCallback

if TYPE_CHECKING:
    from unibind.engine import Engine
    from unibind.types import Modality

__all__ = [
    "Bad",
    "Embedded",
    "Item",
    "Items",
    "ModalityOption",
    "OptionsOption",
    "SpaceOption",
    "embed_items",
    "gather",
    "named_bad",
    "read_options",
    "rows_of",
    "showing",
    "tell_bad",
]

SpaceOption = Annotated[
    str, typer.Option(help="Name of a space, or its folder.", show_default=True)
]
ModalityOption = Annotated[
    str | None,
    typer.Option(help="What all files are: image, text, ... By default told by their names."),
]

OptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", help="What the files do not say: rate_hz=50. May be repeated."),
]

STDIN = "-"
_BAR_FROM = 9  # items; fewer are done before a bar is read


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to embed.

    Attributes:
        name: What the user calls it: the path as given or found, ``-``, or the text itself.
        source: What the engine takes: a path, bytes or a text.
        modality: What it is.
    """

    name: str
    source: Any
    modality: str


@dataclass(frozen=True, slots=True)
class Bad:
    """One thing that cannot be used.

    Attributes:
        name: As in `Item`.
        error: Why, in a sentence.
    """

    name: str
    error: str


@dataclass(frozen=True, slots=True)
class Items:
    """What the arguments stand for.

    Attributes:
        found: In the order of the arguments, folders by path.
        bad: What is known not to work before anything was embedded.
        left_out: Why files of folders were passed over, to how many.
        options: What the user said of the files that they do not say themselves.
    """

    found: tuple[Item, ...]
    bad: tuple[Bad, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)

    def options_of(self, modality: "Modality") -> dict[str, Json]:
        """Return those of the options that a modality has."""
        return {name: value for name, value in self.options.items() if name in modality.options}


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """What came of the items.

    Attributes:
        items: Those that worked, in their order.
        embeddings: Theirs, unit length, shape (M, D).
        bad: The others.
    """

    items: tuple[Item, ...]
    embeddings: FloatArray
    bad: tuple[Bad, ...]


def read_options(given: Sequence[str] | None) -> dict[str, Json]:
    """Return what all of ``--option NAME=VALUE`` say; a value is JSON where it can be.

    Raises:
        typer.BadParameter: One has no ``=``.
    """
    options: dict[str, Json] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{each!r} is not NAME=VALUE", param_hint="--option")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value
    return options


def gather(
    engine: "Engine",
    files: Sequence[str],
    *,
    texts: Sequence[str] = (),
    modality: str | None = None,
    options: Mapping[str, Json] | None = None,
) -> Items:
    """Return the items that arguments stand for.

    A folder is walked, in the order of its paths; hidden files and those whose name's ending no
    modality of the space claims are left out. Standard input and names without a known ending are
    told by their content.

    Args:
        engine: Of the space; files of modalities that it does not have are bad.
        files: Paths of files and folders, or ``-``.
        texts: Texts themselves.
        modality: What all files are, if the user said so.
        options: What the files do not say of themselves.

    Raises:
        InvalidInputError: The space does not have the modality, or no file's modality an option.
    """
    if modality is not None and modality not in _readable(engine):
        engine.encoder(modality)  # refuses it, and says what there is
    found: list[Item] = []
    bad: list[Bad] = []
    left_out: Counter[str] = Counter()
    for name in files:
        try:
            sources = _expanded(name, engine, modality, left_out)
        except InvalidInputError as error:
            bad.append(named_bad(name, error))
            continue
        for source in sources:
            called = STDIN if isinstance(source, bytes) else str(source)
            try:
                kind = modality or _guessed(engine, source)
                found.append(Item(_legible(called), source, kind))
            except InvalidInputError as error:
                bad.append(named_bad(called, error))
    found += [Item(text, text, "text") for text in texts]
    _tell_left_out(left_out)
    items = Items(tuple(found), tuple(bad), left_out, options or {})
    _check_options(items)
    return items


def embed_items(engine: "Engine", items: Items) -> Embedded:
    """Return the embeddings of items of any modalities, with a bar on stderr if they are many."""
    import numpy as np

    from unibind.modalities.registry import open_modality

    found = items.found
    embeddings = np.zeros((len(found), engine.space.dim), dtype=np.float32)
    errors: dict[int, str] = {}
    for modality in dict.fromkeys(item.modality for item in found):
        rows = [row for row, item in enumerate(found) if item.modality == modality]
        with showing(f"reading {modality}", len(rows)) as bar:
            outcome = engine.embed_each(
                modality,
                [found[row].source for row in rows],
                options=items.options_of(open_modality(modality)),
                progress=bar,
            )
        embeddings[np.array(rows)[outcome.rows]] = outcome.embeddings
        errors |= {rows[failure.row]: failure.error for failure in outcome.failures}
    worked = [row for row in range(len(found)) if row not in errors]
    bad = tuple(named_bad(found[row].name, errors[row]) for row in sorted(errors))
    return Embedded(tuple(found[row] for row in worked), embeddings[worked], items.bad + bad)


def showing(what: str, n_items: int) -> contextlib.AbstractContextManager[ProgressCallback | None]:
    """Return a bar on stderr for many items, and none for few."""
    return progress(what) if n_items >= _BAR_FROM else contextlib.nullcontext()


def rows_of(bad: Sequence[Bad]) -> list[dict[str, Json]]:
    """Return what cannot be used as JSON."""
    return [{"file": each.name, "error": each.error} for each in bad]


def tell_bad(bad: Sequence[Bad], n_all: int, *, outcome: str = "") -> None:
    """List on stderr what cannot be used, and then fail; nothing happens if there is nothing.

    Args:
        bad: What cannot be used.
        n_all: Of how many.
        outcome: What came of the rest, for the last line.

    Raises:
        InvalidInputError: There is something in the list.
    """
    if not bad:
        return
    told = [f"{each.name or repr('')}: {each.error}" for each in bad]
    rest = f"; {outcome}" if outcome else ""
    if len(bad) == 1:
        of_all = f"1 of {n_all:,} cannot be used: " if n_all > 1 else ""
        raise InvalidInputError(f"{of_all}{told[0]}{rest}")
    for line in told:
        warn(f"  {printable(line)}")
    raise InvalidInputError(f"{len(bad):,} of {n_all:,} cannot be used, listed above{rest}")


def named_bad(name: str, error: InvalidInputError | str) -> Bad:
    """Return one thing that cannot be used; its name is taken out of the message."""
    why = str(error).removeprefix(f"cannot read {name}: ").removeprefix(f"{name} ")
    return Bad(_legible(name), why)


def _legible(name: str) -> str:
    """Return a file's name as text that can be printed and stored, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _tell_left_out(left_out: Mapping[str, int]) -> None:
    told = [f"{n:,} ({reason})" for reason, n in sorted(left_out.items()) if reason != "hidden"]
    if told:
        warn(f"left out of folders: {', '.join(told)}")


def _expanded(
    name: str, engine: "Engine", modality: str | None, left_out: Counter[str]
) -> Sequence[Path | bytes]:
    from unibind.datasets import read_folder

    if name == STDIN:
        return [_stdin()]
    if not name:
        raise InvalidInputError("the name of a file is empty; an unset variable, perhaps")
    if not os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        return [Path(name)]
    kinds = _readable(engine) if modality is None else (modality,)
    dataset = read_folder(Path(name), suffixes=_suffixes(kinds))
    left_out.update(dataset.skipped)
    return [item.path for item in dataset.items]


def _suffixes(modalities: Sequence[str]) -> list[str]:
    from unibind.modalities.registry import installed

    kinds = installed()
    return [suffix for name in modalities if name in kinds for suffix in kinds[name].suffixes]


def _guessed(engine: "Engine", source: Path | bytes) -> str:
    from unibind.modalities.registry import modality_of

    if isinstance(source, Path) and _is_no_file(source):
        raise InvalidInputError("no plain file; give files, folders, or - for stdin")
    modality = modality_of(source, preferred=_readable(engine)).name
    if modality not in _readable(engine):
        raise InvalidInputError(
            f"it is {modality}, which the space does not read; it reads "
            f"{', '.join(engine.modalities)}"
        )
    return modality


def _readable(engine: "Engine") -> tuple[str, ...]:
    """Return the modalities that the space has, and those that an instrument can measure."""
    from unibind.engine.measuring import measurable

    return tuple(dict.fromkeys((*engine.modalities, *measurable())))


def _check_options(items: Items) -> None:
    from unibind.modalities.registry import open_modality

    kinds = {item.modality for item in items.found}
    known = {name: kind for kind in sorted(kinds) for name in open_modality(kind).options}
    for name in items.options:
        if name not in known and kinds:
            told = ", ".join(f"{each} ({kind})" for each, kind in known.items()) or "none"
            raise InvalidInputError(
                f"--option {name}: {', '.join(sorted(kinds))} has no such option; there are {told}"
            )


def _is_no_file(path: Path) -> bool:
    """Return whether path is there and is a pipe or a device, which might keep us waiting."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):  # told when it is read
        return False


def _stdin() -> bytes:
    from unibind.encoders.pipeline import MAX_FILE_BYTES

    content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    if not content:
        raise InvalidInputError("nothing came in on standard input")
    if len(content) > MAX_FILE_BYTES:
        raise InvalidInputError(f"standard input has more than {MAX_FILE_BYTES:,} bytes")
    return content
