"""``unibind align``: train a modality's head from a labelled set, so that it speaks the space."""

import time
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.items import (
    Bad,
    OptionsOption,
    SpaceOption,
    named_bad,
    read_options,
    rows_of,
    tell_bad,
)
from unibind.cli.output import AsJson, emit, printable, progress, warn
from unibind.errors import InvalidInputError
from unibind.types import FloatArray, Json

if TYPE_CHECKING:
    from unibind.alignment.aligner import Aligner
    from unibind.alignment.heads import Head
    from unibind.alignment.rounds import Round
    from unibind.alignment.targets import Targets
    from unibind.cli.supervision import Supervision
    from unibind.datasets import Dataset, LabelledItem
    from unibind.engine import Engine
    from unibind.knowledge.base import KnowledgeBase

__all__ = ["align", "column_of", "opened"]

MAX_BAD_SHARE = 0.1
"""With more bad items than this share, no head is made: something is wrong with the set."""

FIRST_RECIPE = "mini"
"""What a space is made of that is not there yet."""


class HeadMethod(StrEnum):
    """How a head is made, as `unibind.alignment.aligner.Aligner` calls it."""

    RIDGE = "ridge"
    LINEAR = "linear"
    LOW_RANK = "low-rank"
    MLP = "mlp"
    AUTO = "auto"


def align(
    data: Annotated[
        str, typer.Option(help="A public set, a folder of classes, or a CSV, JSONL or Parquet.")
    ],
    modality: Annotated[str, typer.Option(help="What the items are.")] = "image",
    knowledge: Annotated[
        str | None,
        typer.Option(
            "--knowledge",
            "--centers",
            help="Learn towards the class centers of a knowledge base: everyday",
        ),
    ] = None,
    captions: Annotated[
        bool, typer.Option("--captions", help="Learn from each item's own caption.")
    ] = False,
    class_names: Annotated[
        bool, typer.Option("--class-names", help="Learn from the names of the labels.")
    ] = False,
    head: Annotated[
        HeadMethod,
        typer.Option(
            help="ridge, in closed form; from there by contrast: linear, low-rank, mlp; or auto."
        ),
    ] = HeadMethod.RIDGE,
    encoder: Annotated[
        str | None, typer.Option(help="Another encoder for the modality; `unibind plugins`.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Take another column of the set as label: group")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the items of this split: train")] = None,
    seed: Annotated[int, typer.Option(help="Of what is held out to choose by.")] = 0,
    option: OptionsOption = None,
    space: SpaceOption = "mini",
    as_json: AsJson = False,
) -> None:
    """Train the head of a modality on a labelled set.

    Items are encoded once, ever; training itself takes seconds, by contrast minutes: interrupted,
    it goes on from there the next time. Encoders that are networks (cnn-1d, pointnet) are trained
    end to end first, which takes minutes.

    Without --knowledge, --captions or --class-names: captions if every item has one, else names.
    """
    if sum([knowledge is not None, captions, class_names]) > 1:
        raise typer.BadParameter(
            "choose one of --knowledge, --captions and --class-names", param_hint="--knowledge"
        )
    from unibind import engine as engines
    from unibind.alignment.aligner import Aligner
    from unibind.engine.measuring import measured_targets
    from unibind.knowledge.base import open_base

    began = time.monotonic()
    base = None if knowledge is None else open_base(knowledge)
    dataset = opened(data, modality, split=split, label_column=label_column)
    everything = _supervision(dataset, base, captions=captions, class_names=class_names)
    options = read_options(option)
    engine = engines.open(space, recipe=FIRST_RECIPE)
    if modality not in engine.modalities:  # the space is older than our encoder of it
        encoder = encoder or engines.RECIPES[FIRST_RECIPE].encoders.get(modality)
    with engine if encoder is None else engine.with_encoder(modality, encoder) as engine:
        if modality in engine.modalities and engine.is_trainable(modality):
            _train(engine, modality, everything, base, options, seed)
        supervision, features, bad = _encoded(engine, modality, everything, options)
        targets = _targets(engine, modality, supervision, base)
        aligner = Aligner(method=head.value, seed=seed)
        paths = [item.path for item in supervision.items]
        measured = measured_targets(modality, paths, targets, base, options=options)
        look = _Look()
        with progress(look.told) as bar:
            made = engine.fit(
                modality,
                features,
                targets,
                aligner=aligner,
                measured=measured,
                progress=bar,
                watch=look.see,
            )
        n_stored = engine.count(modality)
    result: dict[str, Json] = {
        "space": space,
        "space_id": engine.space.id,
        "modality": modality,
        "encoder": engine.space.encoders[modality],
        "data": dataset.name,
        "licence": dataset.licence,
        "learned_from": supervision.learned_from,
        "items": len(supervision.items),
        "names": len(targets.names),
        "left_out": dict(supervision.left_out),
        "unknown_labels": dict(supervision.unknown),
        "asked": head.value,
        **_chosen(made),
        "held_out": _held_out(made, targets, aligner),
        "head": str(engine.root / "heads" / modality),
        "seconds": round(time.monotonic() - began, 1),
        "failures": rows_of(bad),
    }
    emit(result, as_json=as_json, people=lambda: _print(result))
    if n_stored:
        warn(
            f"{n_stored:,} stored items of {modality} were embedded before this head was made; "
            "add them again with `unibind index add`"
        )
    n_made = len(supervision.items)
    tell_bad(bad, n_made + len(bad), outcome=f"the head was made of the other {n_made:,}")


class _Look:
    """What training is worth so far, as the bar of progress tells it."""

    def __init__(self) -> None:
        self._last: Round | None = None
        self._best: Round | None = None

    def see(self, found: "Round") -> None:
        """Take note of a look at what is held out."""
        self._last = found
        if found.step == 0 or found.is_best:  # each shape begins anew, from the ridge
            self._best = found

    def told(self) -> str:
        """Return the reciprocal rank of held-out classes, now and at its best since the start."""
        if self._last is None:
            return "training"
        best = "" if self._best is None else f" (best {self._best.unseen:.3f})"
        return f"training {self._last.shape}, held out {self._last.unseen:.3f}{best}"


def _train(
    engine: "Engine",
    modality: str,
    supervision: "Supervision",
    base: "KnowledgeBase | None",
    options: Mapping[str, Json],
    seed: int,
) -> None:
    """Train the network that the modality's encoder is; interrupted, it goes on the next time."""
    paths = [item.path for item in supervision.items]
    targets = _targets(engine, modality, supervision, base)
    with progress("training the network, epochs") as bar:
        groups = [item.group for item in supervision.items]
        engine.train(
            modality, paths, targets, seed=seed, groups=groups, options=options, progress=bar
        )


def opened(
    data: str, modality: str, *, split: str | None = None, label_column: str | None = None
) -> "Dataset":
    """Return a labelled set, or those of its items that are of a split.

    Raises:
        InvalidInputError: There is no such set, split or column.
    """
    from unibind.datasets import open_dataset
    from unibind.modalities.registry import installed

    known = installed().get(modality)
    try:
        dataset = open_dataset(data, suffixes=known.suffixes if known and known.suffixes else None)
    except InvalidInputError as error:
        other = _other_modality(data, modality)
        if other is None:
            raise
        raise InvalidInputError(
            f"{error}; if they are something else, say --modality {other}"
        ) from error
    if label_column is not None:
        dataset = replace(dataset, items=_relabelled(dataset, label_column))
    if split is None:
        return dataset
    kept = tuple(item for item in dataset.items if item.split == split)
    if not kept:
        splits = sorted({item.split for item in dataset.items if item.split is not None})
        raise InvalidInputError(
            f"no item of {data} is of split {split!r}; it has {', '.join(splits) or 'no splits'}"
        )
    return replace(dataset, items=kept)


def _other_modality(data: str, modality: str) -> str | None:
    """Return another modality that files of a folder have by their names, None if there is none."""
    from unibind.modalities.registry import installed

    endings = {path.suffix.lower() for path in Path(data).rglob("*.*")}
    others = (
        name
        for name, known in installed().items()
        if name != modality and known.is_guessed and endings & set(known.suffixes)
    )
    return next(others, None)


def _relabelled(dataset: "Dataset", column: str) -> "tuple[LabelledItem, ...]":
    """Return the items with what a column holds as their label."""
    return tuple(
        replace(item, label=value)
        for item, value in zip(dataset.items, column_of(dataset, column), strict=True)
    )


def column_of(dataset: "Dataset", column: str) -> list[str | None]:
    """Return what a column of a set holds, as text.

    Raises:
        InvalidInputError: There is no such column, or it holds neither texts nor whole numbers.
    """
    if column in ("label", "caption", "group", "split"):
        values = [getattr(item, column) for item in dataset.items]
    else:
        values = [item.extra.get(column) for item in dataset.items]
    if all(value is None for value in values):
        others = sorted({name for item in dataset.items for name in item.extra})
        raise InvalidInputError(
            f"the column {column!r} of {dataset.name} is empty or not there; there are label, "
            f"{', '.join(['caption', 'group', 'split', *others])}"
        )
    wrong = next((value for value in values if not isinstance(value, str | int | None)), None)
    if wrong is not None:
        raise InvalidInputError(f"the column {column!r} must hold text, found {wrong!r:.80}")
    return [None if value is None else str(value) for value in values]


def _supervision(
    dataset: "Dataset", base: "KnowledgeBase | None", *, captions: bool, class_names: bool
) -> "Supervision":
    from unibind.cli.supervision import by_caption, by_class, by_label

    items = dataset.items
    if base is not None:
        found = by_class(items, base)
    elif captions or (not class_names and all(item.caption for item in items)):
        found = by_caption(items)
    else:
        found = by_label(items)
    if len(set(found.names)) < 2:
        reasons = _counts(found.left_out)
        raise InvalidInputError(
            f"{len(found.items):,} of {len(items):,} items of {dataset.name} have something to "
            f"learn from ({found.learned_from}), of {len(set(found.names))} names"
            f"{f'; left out: {reasons}' if reasons else ''}; a head needs at least two names"
        )
    return found


def _encoded(
    engine: "Engine", modality: str, supervision: "Supervision", options: Mapping[str, Json]
) -> "tuple[Supervision, FloatArray, list[Bad]]":
    """Return what is left of the items once they were read, their features, and the bad ones."""
    if modality not in engine.space.encoders:
        raise InvalidInputError(
            f"{modality!r} has no head to train; the space trains "
            f"{', '.join(engine.space.encoders)}, and more with --encoder NAME"
        )
    paths = [item.path for item in supervision.items]
    with progress(f"encoding {modality}") as bar:
        encoded = engine.encode(modality, paths, options=options, progress=bar)
    bad = [named_bad(failure.source, failure.error) for failure in encoded.failures]
    if len(bad) > MAX_BAD_SHARE * len(paths):
        tell_bad(bad, len(paths), outcome="more than a tenth, so no head was made")
    return supervision.of(encoded.rows.tolist()), encoded.features, bad


def _targets(
    engine: "Engine", modality: str, supervision: "Supervision", base: "KnowledgeBase | None"
) -> "Targets":
    from unibind.alignment.targets import Targets

    names = supervision.names
    if base is not None:
        return Targets.from_labels(names, engine.centers(knowledge=base, modality=modality))
    if supervision.learned_from == "captions":
        return Targets.from_captions(names, engine.embed("text", names))
    return Targets.from_labels(names, engine.centers(classes=list(dict.fromkeys(names))))


def _chosen(head: "Head") -> dict[str, Json]:
    return {
        "method": head.params["method"],
        "strength": head.params["strength"],
        "prior_weight": head.prior_weight,
        "temperature": head.temperature,
        "seen_penalty": head.seen_penalty,
    }


def _held_out(head: "Head", targets: "Targets", aligner: "Aligner") -> dict[str, Json]:
    """Return how well names were found that a fit had not seen, and what chance finds."""
    folds = targets.folds(aligner.n_folds, seed=aligner.seed)
    galleries = [len(set(targets.rows[rows].tolist())) for rows in folds]
    n_items = len(targets.rows)
    chance = sum(
        len(rows) * sum(1 / rank for rank in range(1, gallery + 1)) / gallery
        for rows, gallery in zip(folds, galleries, strict=True)
    )
    return {
        "reciprocal_rank": head.metrics["held_out_reciprocal_rank"],
        "chance": round(chance / n_items, 4),
        "n": n_items,
        "gallery": [min(galleries), max(galleries)],
    }


def _counts(counts: Mapping[str, int], n_shown: int = 5) -> str:
    shown = [f"{n:,} ({reason})" for reason, n in list(counts.items())[:n_shown]]
    rest = len(counts) - len(shown)
    return ", ".join(shown + [f"{rest:,} more"] * bool(rest))


def _print(result: Mapping[str, Json]) -> None:
    held_out = result["held_out"]
    least, most = held_out["gallery"]
    gallery = f"{least}" if least == most else f"{least} to {most}"
    stayed = (
        ""
        if result["asked"] in (result["method"], "auto")
        else (f" ({result['asked']} was no better on held-out classes)")
    )
    lines = {
        "learned": f"{result['data']}: {result['items']:,} items, {result['names']:,} different "
        f"{result['learned_from']}",
        "left out": _counts(result["left_out"]),
        "no class": _counts(result["unknown_labels"]),
        "head": f"{result['method']}{stayed}, strength {result['strength']:g}, prior weight "
        f"{result['prior_weight']:g}, temperature {result['temperature']:g}",
        "held out": f"reciprocal rank {held_out['reciprocal_rank']:.3f} of {held_out['n']:,} items,"
        f" each among {gallery} names that the fit had not seen (chance {held_out['chance']:.3f})",
        "written": f"{result['head']}, in {result['seconds']:g} s",
        "next": f'unibind classify FILE... --classes "a cat,a dog" --space {result["space"]}',
    }
    for heading, told in lines.items():
        if told:
            print(f"{heading:<9} {printable(told)}")
