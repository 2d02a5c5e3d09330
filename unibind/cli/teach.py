"""``unibind teach``: a class from a few examples, at once; or forget it again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.items import (
    Bad,
    Items,
    ModalityOption,
    OptionsOption,
    SpaceOption,
    gather,
    named_bad,
    read_options,
    rows_of,
    showing,
    tell_bad,
)
from unibind.cli.output import AsJson, emit, printable
from unibind.errors import InvalidInputError
from unibind.types import Json

if TYPE_CHECKING:
    from unibind.engine import Engine

__all__ = ["teach"]


def teach(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="Examples: files, folders, or -.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="What all of these files are.")] = None,
    forget: Annotated[
        list[str] | None, typer.Option(help="Forget what was taught of a class; may be repeated.")
    ] = None,
    modality: ModalityOption = None,
    option: OptionsOption = None,
    space: SpaceOption = "mini",
    as_json: AsJson = False,
) -> None:
    """Teach a class by 1 to 16 examples; nothing is trained, and it can be forgotten.

    Wherever the class is listed from now on, in this space, its examples speak beside its name.
    """
    _check(files, label, forget)
    import unibind

    with unibind.open(space) as engine:
        if forget:
            gone = {"space": space, **_forgotten(engine, forget, modality)}
            emit(gone, as_json=as_json, people=lambda: _print(gone))
            return
        items = gather(engine, files or (), modality=modality, options=read_options(option))
        taught, bad = _taught(engine, items, str(label))
        result: dict[str, Json] = {
            "space": space,
            "label": label,
            "taught": taught,
            "examples": _examples(engine, modality),
            "failures": rows_of(bad),
            "left_out": dict(items.left_out),
        }
    emit(result, as_json=as_json, people=lambda: _print(result))
    tell_bad(bad, sum(taught.values()) + len(bad))


def _check(files: Sequence[str] | None, label: str | None, forget: Sequence[str] | None) -> None:
    """Refuse what is neither teaching nor forgetting."""
    if forget:
        if files or label is not None:
            raise typer.BadParameter("it takes no files and no --label", param_hint="--forget")
        return
    if not files:
        raise typer.BadParameter("give examples, or --forget NAME", param_hint="FILE")
    if label is None or not label.strip():
        raise typer.BadParameter('say what the files are: --label "a cat"', param_hint="--label")


def _taught(engine: "Engine", items: Items, label: str) -> tuple[dict[str, int], tuple[Bad, ...]]:
    """Return how many items of each modality were shown, and those that cannot be used."""
    from unibind.modalities.registry import open_modality

    taught: dict[str, int] = {}
    bad = list(items.bad)
    for modality in dict.fromkeys(item.modality for item in items.found):
        mine = [item for item in items.found if item.modality == modality]
        options = items.options_of(open_modality(modality))
        with showing(f"reading {modality}", len(mine)) as bar:
            read = engine.encode(
                modality, [item.source for item in mine], options=options, progress=bar
            )
        bad += [named_bad(mine[each.row].name, each.error) for each in read.failures]
        good = [mine[row].source for row in read.rows]
        if good:
            engine.teach(modality, good, [label] * len(good), options=options)
            taught[modality] = len(good)
    return taught, tuple(bad)


def _forgotten(
    engine: "Engine", labels: Sequence[str], modality: str | None
) -> dict[str, dict[str, Json]]:
    """Return how many examples of each modality were forgotten, and what is left."""
    known = _examples(engine, modality)
    forgotten = {name: engine.unteach(name, labels) for name in known}
    if not any(forgotten.values()):
        names = sorted({label for counts in known.values() for label in counts})
        raise InvalidInputError(
            f"nothing was taught of {', '.join(map(repr, labels))}; "
            + (f"there are examples of {', '.join(names)}" if names else "nor of anything else")
        )
    kept = {name: n for name, n in forgotten.items() if n}
    return {"forgotten": kept, "examples": _examples(engine, modality)}


def _examples(engine: "Engine", modality: str | None) -> dict[str, dict[str, int]]:
    """Return how many examples there are, by modality and class."""
    if modality is not None:
        engine.encoder(modality)  # refuses what the space has not
    names = engine.modalities if modality is None else (modality,)
    found = {name: engine.senses.examples(name) for name in names}
    return {
        name: dict(Counter(each.labels))
        for name, each in found.items()
        if each is not None and each
    }


def _print(result: Mapping[str, Json]) -> None:
    for modality, n in result.get("taught", {}).items():
        print(printable(f"taught {result['label']}: {n:,} of {modality}"))
    for modality, n in result.get("forgotten", {}).items():
        print(f"forgotten: {n:,} of {modality}")
    for modality, counts in result["examples"].items():
        told = ", ".join(f"{label} ({n:,})" for label, n in counts.items())
        print(printable(f"examples of {modality}: {told}"))
