"""``unibind ablate``: does the language model's text help? Told with how it was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.items import OptionsOption, SpaceOption, read_options
from unibind.cli.output import AsJson, emit, printable, progress
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, Json

if TYPE_CHECKING:
    from unibind.cli.supervision import Supervision

__all__ = ["ablate"]

_MOST_SHOWN = 8


def ablate(
    data: Annotated[
        list[str],
        typer.Option(
            help="A public set, a folder of classes, or a CSV, JSONL or Parquet. Several are one."
        ),
    ],
    modality: Annotated[str, typer.Option(help="What the items are.")] = "image",
    knowledge: Annotated[str, typer.Option(help="Whose sentences are tested.")] = "everyday",
    captions: Annotated[
        bool, typer.Option("--captions", help="Take the class that each caption names.")
    ] = False,
    by_group: Annotated[
        bool, typer.Option("--by-group", help="Never train and test on one group: a person, say.")
    ] = False,
    group_column: Annotated[
        str | None, typer.Option(help="Take another column of the set as group: caption")
    ] = None,
    medium: Annotated[
        str | None, typer.Option(help="What an item is called in templates: picture, recording.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="What the classes are, in a word: thing, bird, machine.")
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            help="Texts of each class in every arm, its name among them; 16 at most.", min=2
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many splits.", min=1)] = 5,
    card: Annotated[
        Path | None, typer.Option(help="Folder for the model card: Markdown, JSON, plot.")
    ] = None,
    option: OptionsOption = None,
    space: SpaceOption = "mini",
    as_json: AsJson = False,
) -> None:
    """Compare the sentences of a knowledge base with what they must be better than.

    Templates, a word for the domain, random words, sentences of the wrong class, scrambled ones:
    each with equally many texts, on classes that no head has seen and on classes that it has.
    Interrupted, it goes on where it was the next time.
    """
    from unibind import engine as engines
    from unibind.cli.labelled_set import encoded, labelled_items, named, pooled
    from unibind.engine.recipes import class_texts_of
    from unibind.evaluation.ablation import Asked
    from unibind.evaluation.ablation import ablate as measure
    from unibind.evaluation.card import write_card
    from unibind.knowledge.base import open_base
    from unibind.sources import cache_dir

    base = open_base(knowledge)
    sets = pooled(data, modality, group_column=group_column)
    found = named(sets.items, base, captions=captions)
    _check_known(found, base.name)
    usual = class_texts_of(modality)
    with engines.open(space) as engine:
        found, features = encoded(engine, modality, found, read_options(option))
        grouped = by_group or group_column is not None
        items = labelled_items(engine, modality, found, features, grouped=grouped)
        asked = Asked(
            data=sets.name,
            modality=modality,
            knowledge=f"{base.name} {base.content_id}",
            medium=medium or usual.medium,
            domain=domain or usual.domain,
            seeds=tuple(range(seeds)),
            n_lines=lines,
        )

        def embed_texts(texts: Sequence[str]) -> FloatArray:
            with progress("reading texts") as bar:
                return engine.embed_each("text", list(texts), progress=bar).embeddings

        with progress("measuring, arms") as bar:
            made = measure(
                items,
                {name: base.texts(name) for name in items.classes},
                embed_texts,
                asked,
                checkpoint=cache_dir() / "ablations",
                progress=bar,
            )
    if card is not None:
        write_card(made, card)
    left_out = dict(found.left_out)
    n_rare = len(found.names) - len(items.labels)
    if n_rare:
        left_out["only item of its class"] = n_rare
    result = asdict(made) | {
        "left_out": left_out,
        "unknown_labels": dict(found.unknown),
        "remedy": _remedy(found) if found.unknown else None,
        "card": None if card is None else str(card),
    }
    emit(result, as_json=as_json, people=lambda: _print(result))


def _check_known(found: "Supervision", base: str) -> None:
    """Refuse a set whose classes the knowledge base does not know, saying how it could.

    Raises:
        InvalidInputError: Fewer than two classes have sentences.
    """
    n_known = len(set(found.names))
    if n_known >= 2:
        return
    reasons = ", ".join(f"{reason}: {n}" for reason, n in found.left_out.items())
    raise InvalidInputError(
        f"{n_known} of the set's classes are in the knowledge base {base!r} "
        f"({reasons or 'no items'}); {_remedy(found)}"
    )


def _remedy(found: "Supervision") -> str:
    labels = sorted({*found.names, *found.unknown})
    if not labels:
        return "give a set with labels, or --captions where captions name the classes"
    shown = ",".join(labels[:_MOST_SHOWN]) + (",..." if len(labels) > _MOST_SHOWN else "")
    return (
        f'have sentences written with `unibind knowledge build mine --classes "{shown}"`, then '
        "give --knowledge mine"
    )


def _print(result: Mapping[str, Json]) -> None:
    about = result["about"]
    print(
        printable(
            f"{about['items']:,} items of {about['classes']} classes ({about['unseen_classes']} "
            f"unseen), {about['lines_per_class']} texts each, {len(about['seeds'])} seeds"
        )
    )
    print(f"{'class text':<30} {'unseen':>7} {'95 %':>14} {'seen':>7} {'H':>6} {'H raw':>6}")
    unseen = about["chance_unseen"]
    by_chance = f"{'':>7}" if unseen is None else f"{unseen:>7.3f}"
    print(f"{'chance':<30} {by_chance} {'':>14} {about['chance_seen']:>7.3f}")
    for row in result["rows"]:
        unseen = row["unseen"]
        told = f"{'':>7} {'':>14}"
        if unseen is not None:
            interval = f"{unseen['low']:.3f}-{unseen['high']:.3f}"
            told = f"{unseen['mean']:>7.3f} {interval:>14}"
        together = ""
        if row["harmonic"] is not None:
            together = f"{row['harmonic']:>6.3f} {row['harmonic_uncalibrated']:>6.3f}"
        print(f"{row['arm']:<30} {told} {row['seen']['mean']:>7.3f} {together}")
    print(f"{result['verdict']}.")
    print(f"Stands for a class by this: {result['chosen']} ({result['because']}).")
    for reason, n in result["left_out"].items():
        print(printable(f"left out: {n:,} items ({reason})"))
    if result["remedy"]:
        print(printable(f"for all classes: {result['remedy']}"))
    if result["card"]:
        print(f"card: {printable(result['card'])}")
