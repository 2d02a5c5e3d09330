"""``unibind ablate``: does the language model's text help? Told with how it was asked."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from unibind.cli.items import OptionsOption, SpaceOption, read_options
from unibind.cli.output import AsJson, emit, printable, progress
from unibind.types import Json

__all__ = ["ablate"]


def ablate(
    data: Annotated[
        str, typer.Option(help="A public set, a folder of classes, or a CSV, JSONL or Parquet.")
    ],
    modality: Annotated[str, typer.Option(help="What the items are.")] = "image",
    knowledge: Annotated[str, typer.Option(help="Whose sentences are tested.")] = "everyday",
    captions: Annotated[
        bool, typer.Option("--captions", help="Take the class that each caption names.")
    ] = False,
    by_group: Annotated[
        bool, typer.Option("--by-group", help="Never train and test on one group: a person, say.")
    ] = False,
    medium: Annotated[str, typer.Option(help="What an item is called in templates.")] = "photo",
    domain: Annotated[str, typer.Option(help="What the classes are, in a word.")] = "thing",
    lines: Annotated[
        int | None, typer.Option(help="Texts of each class in every arm, at most 16.", min=1)
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
    """
    from unibind import engine as engines
    from unibind.cli.align import opened
    from unibind.cli.labelled_set import encoded, labelled_items, named
    from unibind.evaluation.ablation import Asked
    from unibind.evaluation.ablation import ablate as measure
    from unibind.evaluation.card import write_card
    from unibind.knowledge.base import open_base

    base = open_base(knowledge)
    dataset = opened(data, modality)
    found = named(dataset.items, base, captions=captions)
    with engines.open(space) as engine:
        found, features = encoded(engine, modality, found, read_options(option))
        items = labelled_items(engine, modality, found, features, grouped=by_group)
        asked = Asked(
            data=f"{dataset.name} ({dataset.source})",
            modality=modality,
            knowledge=f"{base.name} {base.content_id}",
            medium=medium,
            domain=domain,
            seeds=tuple(range(seeds)),
            n_lines=lines,
        )
        with progress("measuring") as bar:
            made = measure(
                items,
                {name: base.texts(name) for name in items.classes},
                lambda texts: engine.embed("text", list(texts)),
                asked,
                progress=bar,
            )
    if card is not None:
        write_card(made, card)
    result = asdict(made) | {"card": None if card is None else str(card)}
    emit(result, as_json=as_json, people=lambda: _print(result))


def _print(result: Mapping[str, Json]) -> None:
    about = result["about"]
    print(
        printable(
            f"{about['items']:,} items of {about['classes']} classes ({about['unseen_classes']} "
            f"unseen), {about['lines_per_class']} texts each, {len(about['seeds'])} seeds"
        )
    )
    print(f"{'class text':<30} {'unseen':>7} {'95 %':>14} {'seen':>7} {'H':>6} {'H raw':>6}")
    print(f"{'chance':<30} {about['chance_unseen']:>7.3f} {'':>14} {about['chance_seen']:>7.3f}")
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
    if result["card"]:
        print(f"card: {printable(result['card'])}")
