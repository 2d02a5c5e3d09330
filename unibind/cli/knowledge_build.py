"""``unibind knowledge build``: have a language model write a base, or let it grow."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unibind.cli.output import AsJson, emit, warn
from unibind.errors import InvalidInputError

if TYPE_CHECKING:
    from unibind.knowledge.build import BuildReport
    from unibind.knowledge.calls import Estimate, Status
    from unibind.knowledge.plan import Plan
    from unibind.knowledge.prompts import Prompt
    from unibind.protocols import DescriptionWriter

_FIRST_VIEWS = "looks,shape,sound,signal,context"
_FIRST_PER_CLASS = 16

BaseName = Annotated[str, typer.Argument(help="Name of the base, or a folder for it.")]
Classes = Annotated[
    str | None, typer.Option(help="CSV file, or a,b,c. Without it: the base's own.")
]
PerClass = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Lines of each class, shared out over the views. Without it: as in the last build, "
        f"{_FIRST_PER_CLASS} in a new base.",
    ),
]
Views = Annotated[
    str | None,
    typer.Option(
        help="Prompts: looks, sound, shape, signal, thermal, motion, context, cupl, dclip or "
        f"your own. Without it: as in the last build, {_FIRST_VIEWS} in a new base."
    ),
]
Contrast = Annotated[
    int, typer.Option(min=0, help="Lines that tell a class from each one too close to it.")
]
Pairs = Annotated[
    str | None, typer.Option(help="'crow|raven,cat|lynx' for --contrast. Without it: lint's.")
]
WriterName = Annotated[str, typer.Option(help="openai, local, file, batch, or a plug-in's.")]
Model = Annotated[str | None, typer.Option(help="Model of the writer.")]
BaseUrl = Annotated[str | None, typer.Option(help="OpenAI-compatible server, up to /v1.")]
Temperature = Annotated[float | None, typer.Option(min=0.0, max=2.0, help="Of the sampler.")]
TopP = Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Of the sampler.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")]
Seed = Annotated[int, typer.Option(help="Each call's own seed is derived from it.")]
InFlight = Annotated[int | None, typer.Option(min=1, help="Calls at a time.")]
LinesPerCall = Annotated[int | None, typer.Option(min=1, help="Sentences in one call.")]
TimeOut = Annotated[float | None, typer.Option(min=0.1, help="Longest wait for an answer, s.")]
Retries = Annotated[int | None, typer.Option(min=0, help="Tries after a failed one.")]
Attempts = Annotated[int, typer.Option(min=1, help="Rounds before a line is given up.")]
Language = Annotated[str, typer.Option(help="Language that the lines must be in.")]
PromptFolder = Annotated[Path | None, typer.Option(help="Folder with prompt files of your own.")]
FromFile = Annotated[Path | None, typer.Option("--from", help="Lines for the writer 'file'.")]
BatchFolder = Annotated[Path | None, typer.Option(help="Folder of the writer 'batch'.")]
PriceIn = Annotated[float, typer.Option(min=0.0, help="Of a million prompt tokens.")]
PriceOut = Annotated[float, typer.Option(min=0.0, help="Of a million answer tokens.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell calls, tokens, cost; ask nothing.")]


def build(
    name: BaseName,
    classes: Classes = None,
    per_class: PerClass = None,
    views: Views = None,
    contrast: Contrast = 0,
    pairs: Pairs = None,
    writer: WriterName = "local",
    model: Model = None,
    base_url: BaseUrl = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    seed: Seed = 0,
    in_flight: InFlight = None,
    lines_per_call: LinesPerCall = None,
    timeout: TimeOut = None,
    retries: Retries = None,
    attempts: Attempts = 4,
    language: Language = "en",
    prompts: PromptFolder = None,
    from_file: FromFile = None,
    batch: BatchFolder = None,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    dry_run: DryRun = False,
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
        attempts=attempts,
        language=language,
        prompts=prompts,
    )
    author = _open_writer(
        writer,
        model=model,
        base_url=base_url,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        n_in_flight=in_flight,
        lines_per_call=lines_per_call,
        timeout_s=timeout,
        n_retries=retries,
        files={role: f for role, f in (("from", from_file), ("batch", batch)) if f is not None},
    )
    _run(name, plan, author, writer, price_in, price_out, dry_run=dry_run, as_json=as_json)


def describe(
    name: BaseName,
    files: Annotated[list[Path], typer.Argument(help="Pictures, sounds, folders of these.")],
    per_item: Annotated[int, typer.Option(min=1, help="Captions of each file.")] = 1,
    writer: WriterName = "openai",
    model: Model = None,
    base_url: BaseUrl = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = 0,
    in_flight: InFlight = None,
    timeout: TimeOut = None,
    retries: Retries = None,
    attempts: Attempts = 4,
    language: Language = "en",
    batch: BatchFolder = None,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have a multimodal model write captions of files, as training text for the aligner.

    The result is a base whose classes are the files: lint, show, diff and review work on it, and
    `knowledge export` turns it into a data manifest.
    """
    from unibind.knowledge.captions import caption_plan

    plan = caption_plan(files, n_lines=per_item, n_attempts=attempts, language=language)
    author = _open_writer(
        writer,
        model=model,
        base_url=base_url,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        n_in_flight=in_flight,
        lines_per_call=per_item,
        timeout_s=timeout,
        n_retries=retries,
        files={"batch": batch} if batch is not None else {},
    )
    _run(name, plan, author, writer, price_in, price_out, dry_run=dry_run, as_json=as_json)


def measure(
    name: BaseName,
    sensors: Annotated[str, typer.Option(help="scan, sound, wrist imu, power meter.")],
    samples: Annotated[int, typer.Option(min=1, help="Answers of each class and sensor.")] = 3,
    writer: WriterName = "openai",
    model: Model = None,
    base_url: BaseUrl = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = 0,
    in_flight: InFlight = None,
    timeout: TimeOut = None,
    retries: Retries = None,
    attempts: Attempts = 4,
    batch: BatchFolder = None,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have a model write what each sensor would measure on each class, in physical units."""
    from unibind.knowledge.attribute_build import build_attributes
    from unibind.knowledge.base import find_base
    from unibind.knowledge.calls import Prices
    from unibind.knowledge.sensors import find_sensor

    author = _open_writer(
        writer,
        model=model,
        base_url=base_url,
        temperature=temperature,
        max_tokens=max_tokens or 600,
        seed=seed,
        n_in_flight=in_flight,
        timeout_s=timeout,
        n_retries=retries,
        files={"batch": batch} if batch is not None else {},
    )
    with _bar(name) as on_status:
        report = build_attributes(
            find_base(name),
            [find_sensor(sensor.strip()) for sensor in sensors.split(",")],
            author,
            writer_name=writer,
            n_samples=samples,
            n_attempts=attempts,
            prices=Prices(price_in, price_out),
            dry_run=dry_run,
            on_status=on_status,
        )

    def people() -> None:
        if dry_run:
            print(_told(report.expected))
            return
        print(
            f"{name}: ranges of {report.n_written} pairs of class and sensor written, "
            f"{report.n_kept} kept; {report.n_calls} calls, cost {report.cost:.4f}"
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


def _open_writer(writer: str, **chosen: Any) -> "DescriptionWriter":
    from unibind import plugins
    from unibind.types import WriterSettings

    author: DescriptionWriter = plugins.load("unibind.writers", writer)(WriterSettings(**chosen))
    return author


def _told(expected: "Estimate") -> str:
    return (
        f"{expected.n_calls} calls for {expected.n_lines} lines, about {expected.n_prompt_tokens} "
        f"prompt and {expected.n_answer_tokens} answer tokens, cost {expected.cost:.4f}"
    )


def _run(
    name: str,
    plan: "Plan",
    author: "DescriptionWriter",
    writer: str,
    price_in: float,
    price_out: float,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from unibind.knowledge.base import target_folder
    from unibind.knowledge.build import build as build_base
    from unibind.knowledge.build import estimate
    from unibind.knowledge.calls import Prices

    folder = target_folder(name)
    prices = Prices(price_in, price_out)
    expected = estimate(folder, plan, author, prices=prices)
    if dry_run:
        told = _told(expected)
        emit({"dry_run": asdict(expected)}, as_json=as_json, people=lambda: print(told))
        return
    warn(_told(expected))
    with _bar(name) as on_status:
        report = build_base(
            folder, plan, author, writer_name=writer, prices=prices, on_status=on_status
        )
    result = {"name": folder.name, "path": str(folder), **asdict(report)}
    emit(result, as_json=as_json, people=lambda: _print_report(folder, name, report))
    if report.n_missing and not report.n_waiting:
        raise SystemExit(1)


def _plan(
    folder: Path,
    *,
    classes: str | None,
    per_class: int | None,
    views: str | None,
    contrast: int,
    pairs: str | None,
    attempts: int,
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
        n_attempts=attempts,
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


@contextlib.contextmanager
def _bar(name: str) -> "Iterator[Callable[[Status], None]]":
    """Yield what draws a bar with calls, tokens, cost and the time left on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("calls, {task.fields[tokens]} tokens, cost {task.fields[cost]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=Console(stderr=True), disable=not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task(name, total=None, tokens=0, cost=0.0)

        def update(status: "Status") -> None:
            progress.update(
                task,
                completed=status.n_calls,
                total=status.n_calls_expected,
                tokens=status.n_prompt_tokens + status.n_answer_tokens,
                cost=status.cost,
            )

        yield update


def _print_report(folder: Path, name: str, report: "BuildReport") -> None:
    print(
        f"{folder}: {report.n_lines} lines, {report.n_new} new; {report.n_calls} calls, "
        f"{report.n_prompt_tokens + report.n_answer_tokens} tokens, cost {report.cost:.4f}"
    )
    for kind, count in sorted(report.refused.items()):
        print(f"refused {count} x {kind}")
    for message, count in report.failures.items():
        print(f"failed {count} x {message}")
    if report.n_waiting:
        print(f"waiting for {report.n_waiting} answers: put the batch's results into its folder")
    for place in report.missing[:20]:
        pair = f" against {place.against!r}" if place.against else ""
        print(f"missing {place.class_name!r}{pair} {place.prompt} {place.index}: {place.reason}")
    if report.n_missing > 20:
        print(f"... and {report.n_missing - 20} more missing; --json lists them")
    if report.n_missing:
        print("run the same command again to ask for what is missing")
    elif not report.n_waiting:
        print(f"next: unibind knowledge lint {name}")
