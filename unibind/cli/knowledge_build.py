"""``unibind knowledge build``: have a language model write a base, or let it grow."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.knowledge_writing import Author, Spending, run, showing_calls, told, told_cost
from unibind.cli.option_groups import with_groups
from unibind.cli.output import AsJson, emit, warn
from unibind.errors import InvalidInputError

if TYPE_CHECKING:
    from unibind.knowledge.plan import Plan
    from unibind.knowledge.prompts import Prompt

_FIRST_VIEWS = "looks,shape,sound,signal,context"
_FIRST_PER_CLASS = 16

BaseName = Annotated[str, typer.Argument(help="Name of the base, or a folder for it.")]
Language = Annotated[str, typer.Option(help="Language that the lines must be in.")]


@with_groups
def build(
    name: BaseName,
    classes: Annotated[
        str | None, typer.Option(help="CSV file, or a,b,c. Without it: the base's own.")
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Lines of each class, shared out over the views. Without it: as in the last "
            f"build, {_FIRST_PER_CLASS} in a new base.",
        ),
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(
            help="Prompts: looks, sound, shape, signal, thermal, motion, context, cupl, dclip or "
            f"your own. Without it: as in the last build, {_FIRST_VIEWS} in a new base."
        ),
    ] = None,
    contrast: Annotated[
        int, typer.Option(min=0, help="Lines that tell a class from each one too close to it.")
    ] = 0,
    pairs: Annotated[
        str | None, typer.Option(help="'crow|raven,cat|lynx' for --contrast. Without it: lint's.")
    ] = None,
    author: Author = Author(),
    lines_per_call: Annotated[
        int | None, typer.Option(min=1, help="Sentences in one call.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", help="Lines for the writer 'file'.")
    ] = None,
    spending: Spending = Spending(),
    language: Language = "en",
    prompts: Annotated[
        Path | None, typer.Option(help="Folder with prompt files of your own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the lines that are missing; what is there is never asked for again.

    The key of a server comes from the environment variable OPENAI_API_KEY.
    """
    from unibind.knowledge.base import target_folder

    folder = target_folder(name)
    plan = _plan(
        folder,
        classes=classes,
        per_class=per_class,
        views=views,
        contrast=contrast,
        pairs=pairs,
        language=language,
        prompts=prompts,
    )
    writer = author.open(from_file=from_file, lines_per_call=lines_per_call)
    again = f"unibind knowledge build {shlex.quote(name)}"
    run(name, plan, writer, author, spending, again=again, as_json=as_json)


@with_groups
def describe(
    name: BaseName,
    files: Annotated[list[Path], typer.Argument(help="Pictures, sounds, folders of these.")],
    per_item: Annotated[int, typer.Option(min=1, help="Captions of each file.")] = 1,
    author: Author = Author(writer="openai"),
    spending: Spending = Spending(),
    language: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Have a multimodal model write captions of files, as training text for the aligner.

    The result is a base whose classes are the files: lint, show, diff and review work on it, and
    `knowledge export` turns it into a data manifest.
    """
    from unibind.knowledge.captions import caption_plan

    plan = caption_plan(files, n_lines=per_item, language=language)
    writer = author.open(lines_per_call=per_item)
    again = shlex.join(["unibind", "knowledge", "describe", name, *map(str, files)])
    run(name, plan, writer, author, spending, again=again, as_json=as_json)


@with_groups
def measure(
    name: BaseName,
    sensors: Annotated[str, typer.Option(help="scan, sound, wrist imu, power meter.")],
    samples: Annotated[int, typer.Option(min=1, help="Answers of each class and sensor.")] = 3,
    author: Author = Author(writer="openai"),
    spending: Spending = Spending(),
    as_json: AsJson = False,
) -> None:
    """Have a model write what each sensor would measure on each class, in physical units."""
    from unibind.knowledge.attribute_build import build_attributes
    from unibind.knowledge.base import find_base
    from unibind.knowledge.sensors import find_sensor

    writer = author.open(max_tokens=600)
    prices = spending.prices
    with showing_calls(name, prices) as on_status:
        report = build_attributes(
            find_base(name),
            [find_sensor(sensor.strip()) for sensor in sensors.split(",")],
            writer,
            writer_name=author.writer,
            n_samples=samples,
            n_attempts=spending.n_attempts(writer),
            prices=prices,
            dry_run=spending.dry_run,
            on_status=on_status,
        )

    def people() -> None:
        if spending.dry_run:
            print(told(report.expected, prices))
            return
        print(
            f"{name}: ranges of {report.n_written} pairs of class and sensor written, "
            f"{report.n_kept} kept; {report.n_calls} calls{told_cost(report.cost, prices)}"
        )
        for kind, count in sorted(report.refused.items()):
            print(f"refused {count} x {kind}")
        for class_name, sensor in report.missing:
            print(f"missing {class_name!r} {sensor}")

    emit(asdict(report), as_json=as_json, people=people)
    if report.missing:
        raise SystemExit(1)


def export(
    name: Annotated[str, typer.Argument(help="A base of captions: its name or its folder.")],
    file: Annotated[Path, typer.Argument(help="The manifest to write, .jsonl.")],
    as_json: AsJson = False,
) -> None:
    """Write captions as a data manifest: path, caption, label."""
    from unibind.artifact import write_file
    from unibind.knowledge.base import open_base
    from unibind.knowledge.captions import caption_rows
    from unibind.knowledge.rows import json_line

    rows = [json_line(row) for row in caption_rows(open_base(name))]
    write_file(file, "".join(f"{row}\n" for row in rows).encode())
    emit(
        {"path": str(file), "rows": len(rows)},
        as_json=as_json,
        people=lambda: print(f"{file}: {len(rows)} rows"),
    )


def _plan(
    folder: Path,
    *,
    classes: str | None,
    per_class: int | None,
    views: str | None,
    contrast: int,
    pairs: str | None,
    language: str,
    prompts: Path | None,
) -> "Plan":
    from unibind import artifact
    from unibind.knowledge.base import open_base, read_plan
    from unibind.knowledge.language import LANGUAGES
    from unibind.knowledge.plan import Plan, classes_from
    from unibind.knowledge.prompts import find_prompts

    if language not in LANGUAGES:
        raise InvalidInputError(
            f"the language {language!r} is not known; there are {', '.join(LANGUAGES)}"
        )
    if classes is not None:
        names, groups = classes_from(classes)
    else:
        base = open_base(folder)
        names, groups = base.classes, dict(base.groups)
    last = read_plan(folder) if artifact.exists(folder) else None
    chosen_pairs = _pairs(folder, pairs) if contrast else ()
    return Plan(
        classes=names,
        groups=groups,
        prompts=_shares(per_class, views, last, prompts, is_contrast=bool(contrast)),
        pairs=tuple(pair for pair in chosen_pairs if pair[0] in set(names)),
        n_per_pair=contrast,
        contrast=find_prompts(["contrast"], folder=prompts)[0] if contrast else None,
        language=language,
    )


def _shares(
    per_class: int | None,
    views: str | None,
    last: object,
    folder: Path | None,
    *,
    is_contrast: bool,
) -> "tuple[tuple[Prompt, int], ...]":
    """Return the prompts and their lines: as asked for, as in the last build, or the first ones."""
    from unibind.knowledge.plan import split_lines
    from unibind.knowledge.prompts import find_prompts

    before: dict[str, int] = dict(last.get("prompts", {})) if isinstance(last, dict) else {}
    if views is None and per_class is None and (before or is_contrast):
        prompts = find_prompts(list(before), folder=folder)
        return tuple(zip(prompts, before.values(), strict=True))
    ids = views.split(",") if views is not None else list(before) or _FIRST_VIEWS.split(",")
    prompts = find_prompts([view.strip() for view in ids], folder=folder)
    n_lines = per_class or sum(before.values()) or _FIRST_PER_CLASS
    return split_lines(n_lines, prompts)


def _pairs(folder: Path, pairs: str | None) -> tuple[tuple[str, str], ...]:
    from unibind.cli.text_tower import load_tower
    from unibind.knowledge.base import open_base
    from unibind.knowledge.geometry import Geometry
    from unibind.knowledge.plan import pairs_from
    from unibind.knowledge.twins import twins_in

    base = open_base(folder)
    if pairs is not None:
        return pairs_from(pairs, base.classes)
    warn("reading the base with the text tower, to find classes that are too close")
    encoder = load_tower().encoder
    twins = twins_in(Geometry.of(base, encoder)) if encoder is not None else []
    ones = [(two.first, two.second) for two in twins if two.is_one]
    return tuple(pair for a, b in ones for pair in ((a, b), (b, a)))
