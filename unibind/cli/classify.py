"""``unibind classify``: which of some classes a file is, of any classes that have a name."""

import csv
import errno
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from unibind.types import Json, Prediction

if TYPE_CHECKING:
    from unibind.cli.items import Item
    from unibind.engine import Engine

__all__ = ["classify", "read_class_names"]

_BAR_WIDTH = 20
_N_REASONS = 5


def classify(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Files, folders, or - for stdin.")
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option(help='Names: "a cat,a dog", or @names.txt with one a line.'),
    ] = None,
    knowledge: Annotated[
        str | None,
        typer.Option(help="A knowledge base: everyday, or a folder; all of its classes, or those."),
    ] = None,
    modality: ModalityOption = None,
    option: OptionsOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show of each file.")] = 5,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which sentences and measurements decided.")
    ] = False,
    unknown: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=0.5,
            help="Allow the answer unknown, at this rate of false alarms: 0.05.",
        ),
    ] = None,
    evidence: Annotated[
        str | None,
        typer.Option(help="Let only the space or only attributes speak: space, attributes."),
    ] = None,
    texts: Annotated[
        str | None,
        typer.Option(
            help="With --knowledge, what stands for a class: class name, hand templates, domain "
            "word, LLM; by default what the modality's ablation chose."
        ),
    ] = None,
    space: SpaceOption = "mini",
    as_json: AsJson = False,
) -> None:
    """Say which of your classes each file is.

    Any classes that have a name will do, and nothing needs to be trained.
    """
    names = _names(classes, knowledge)
    import unibind

    with unibind.open(space) as engine:
        # Refuses bad names at once; sentences are read when a modality asks for them.
        engine.centers(classes=names, knowledge=knowledge, texts="class name")
        items = gather(engine, files, modality=modality, options=read_options(option))
        asked = {
            "classes": names,
            "knowledge": knowledge,
            "top": top,
            "explain": explain,
            "unknown": unknown,
            "texts": texts,
            **({} if evidence is None else {"evidence": [evidence]}),
        }
        ranked, bad = _classify(engine, items, asked)
    results = [
        {"file": item.name, "modality": item.modality, "predictions": _rows(predictions)}
        for item, predictions in ranked
    ]
    result = {
        "space": space,
        "results": results,
        "failures": rows_of(bad),
        "left_out": dict(items.left_out),
    }
    emit(result, as_json=as_json, people=lambda: _print(results))
    tell_bad(bad, len(results) + len(bad))


def _names(classes: Sequence[str] | None, knowledge: str | None) -> list[str] | None:
    if classes is None and knowledge is None:
        raise typer.BadParameter(
            'say --classes "a cat,a dog" or --knowledge NAME, or both', param_hint="--classes"
        )
    if classes is None:
        return None
    from unibind.alignment.centers import check_labels

    names = [name for given in classes for name in read_class_names(given)]
    try:
        check_labels(names)
    except InvalidInputError as error:
        raise typer.BadParameter(str(error), param_hint="--classes") from None
    return names


def read_class_names(given: str) -> list[str]:
    """Return the names of one --classes: the lines of ``@FILE``, or comma-separated as in CSV.

    Raises:
        InvalidInputError: The file cannot be read.
        typer.BadParameter: It is not CSV.
    """
    if given.startswith("@"):
        file = Path(given[1:])
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            why = "there is no such file" if error.errno == errno.ENOENT else error.strerror
            raise InvalidInputError(
                f"cannot read classes from {given[1:]}: {why} ({file.absolute()})"
            ) from None
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                f"cannot read classes from {given[1:]}: it is not UTF-8 text ({error.reason} at "
                f"byte {error.start:,})"
            ) from None
        return [line.strip() for line in lines if line.strip()]
    try:
        rows = list(csv.reader(io.StringIO(given), skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise typer.BadParameter(
            f"{given!r} is not a comma-separated list ({error}); put a name that holds a comma "
            "in quotes: '\"salt, coarse\",sugar'",
            param_hint="--classes",
        ) from None
    return [name.strip() for row in rows for name in row]


def _classify(
    engine: "Engine", items: Items, asked: Mapping[str, Any]
) -> tuple[list[tuple["Item", list[Prediction]]], tuple[Bad, ...]]:
    """Return what each item is that can be used, in their order, and those that cannot."""
    from unibind.modalities.registry import open_modality

    decided: dict[int, list[Prediction]] = {}
    errors: dict[int, str] = {}
    for modality in dict.fromkeys(item.modality for item in items.found):
        rows = [row for row, item in enumerate(items.found) if item.modality == modality]
        with showing(f"reading {modality}", len(rows)) as bar:
            outcome = engine.classify_each(
                modality,
                [items.found[row].source for row in rows],
                options=items.options_of(open_modality(modality)),
                progress=bar,
                **asked,
            )
        places = [rows[row] for row in outcome.rows]
        decided |= dict(zip(places, outcome.predictions, strict=True))
        errors |= {rows[failure.row]: failure.error for failure in outcome.failures}
    bad = tuple(named_bad(items.found[row].name, errors[row]) for row in sorted(errors))
    return [(items.found[row], decided[row]) for row in sorted(decided)], items.bad + bad


def _rows(predictions: Sequence[Prediction]) -> list[dict[str, Json]]:
    return [
        {
            "label": each.label,
            "score": each.score,
            "probability": each.probability,
            **({"reasons": [asdict(reason) for reason in each.reasons]} if each.reasons else {}),
        }
        for each in predictions
    ]


def _print(results: Sequence[dict[str, Json]]) -> None:
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for result in results:
        console.print(Text(printable(result["file"]), style="bold"), soft_wrap=True)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(justify="right", width=7)
        table.add_column(width=_BAR_WIDTH)
        table.add_column(overflow="fold")
        for row in result["predictions"]:
            share = row["probability"]
            bar = ProgressBar(total=1.0, completed=share, width=_BAR_WIDTH, complete_style="cyan")
            table.add_row(f"{share:.1%}", bar, Text(printable(row["label"])))
            reasons = row.get("reasons", [])
            for reason in reasons[:_N_REASONS]:
                # Of a single reason the share says nothing.
                share = f"{reason['share']:+.0%} " if len(reasons) > 1 else ""
                told = Text(share + printable(reason["text"]), style="dim")
                table.add_row("", "", told)
        console.print(table)
