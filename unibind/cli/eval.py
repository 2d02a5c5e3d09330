"""``unibind eval``: what heads are worth on seen and unseen classes, or how balanced a space is."""

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unibind.cli.items import OptionsOption, SpaceOption, read_options
from unibind.cli.output import AsJson, emit, printable, progress
from unibind.errors import InvalidInputError
from unibind.types import Json

if TYPE_CHECKING:
    from unibind.engine import Engine
    from unibind.knowledge.base import KnowledgeBase

__all__ = ["eval"]


class EvaluatedHead(StrEnum):
    """How heads are made, as `unibind.alignment.aligner.Aligner` calls it."""

    RIDGE = "ridge"
    LINEAR = "linear"
    LOW_RANK = "low-rank"
    MLP = "mlp"
    AUTO = "auto"


def eval(  # noqa: A001
    data: Annotated[
        list[str],
        typer.Option(help="A labelled set; with --balance MODALITY=SET, one for each modality."),
    ],
    modality: Annotated[str, typer.Option(help="What the items are.")] = "image",
    knowledge: Annotated[
        str | None, typer.Option(help="Sentences of the classes; their names by default.")
    ] = None,
    captions: Annotated[
        bool, typer.Option("--captions", help="Take the class that each caption names.")
    ] = False,
    by_group: Annotated[
        bool, typer.Option("--by-group", help="Never train and test on one group: a person, say.")
    ] = False,
    balance: Annotated[
        bool, typer.Option("--balance", help="Who finds whom, how far apart, who is a hub.")
    ] = False,
    head: Annotated[EvaluatedHead, typer.Option(help="As in `unibind align`.")] = (
        EvaluatedHead.RIDGE
    ),
    seeds: Annotated[int, typer.Option(help="How many splits.", min=1)] = 5,
    plot: Annotated[
        Path | None, typer.Option(help="With --balance: write a heat map here.")
    ] = None,
    option: OptionsOption = None,
    space: SpaceOption = "mini",
    as_json: AsJson = False,
) -> None:
    """Measure seen classes, unseen ones and both together, on a labelled set.

    Heads are trained anew on some classes; the space's own head is not touched, nor tested: what it
    was trained on may be what you measure with. With --balance it is the space's own heads that are
    measured: search between modalities.
    """
    from unibind import engine as engines
    from unibind.knowledge.base import open_base

    base = None if knowledge is None else open_base(knowledge)
    with engines.open(space) as engine:
        if balance:
            result = _balance(
                engine, data, base, read_options(option), captions=captions, plot=plot
            )
            emit(result, as_json=as_json, people=lambda: _print_balance(result))
            return
        if len(data) != 1:
            raise typer.BadParameter("give one set, or --balance", param_hint="--data")
        options = read_options(option)
        result = _evaluate(
            engine, data[0], modality, base, captions, by_group, head, seeds, options
        )
    emit(result, as_json=as_json, people=lambda: _print(result))


def _evaluate(
    engine: "Engine",
    data: str,
    modality: str,
    base: "KnowledgeBase | None",
    captions: bool,
    by_group: bool,
    head: EvaluatedHead,
    seeds: int,
    options: dict[str, Json],
) -> dict[str, Json]:
    from unibind.alignment.aligner import Aligner
    from unibind.cli.align import opened
    from unibind.cli.labelled_set import encoded, labelled_items, named
    from unibind.evaluation.generalised import evaluate

    dataset = opened(data, modality)
    found = named(dataset.items, base, captions=captions)
    found, features = encoded(engine, modality, found, options)
    items = labelled_items(engine, modality, found, features, grouped=by_group)
    centers = engine.centers(knowledge=base, classes=list(items.classes), modality=modality)
    with progress("measuring") as bar:
        made = evaluate(
            items,
            centers,
            seeds=range(seeds),
            aligner=Aligner(method=head.value),
            progress=bar,
        )
    return {
        "data": dataset.name,
        "modality": modality,
        "encoder": engine.space.encoders[modality],
        "learned_from": found.learned_from,
        "head": head.value,
        **asdict(made),
    }


def _balance(
    engine: "Engine",
    data: list[str],
    base: "KnowledgeBase | None",
    options: Mapping[str, Json],
    *,
    captions: bool,
    plot: Path | None,
) -> dict[str, Json]:
    import numpy as np

    from unibind.artifact import write_file
    from unibind.cli.align import opened
    from unibind.cli.labelled_set import encoded, named
    from unibind.evaluation.balance import Crowd, draw_matrix, measure_balance
    from unibind.modalities.registry import open_modality

    crowds: dict[str, Crowd] = {}
    for each in data:
        modality, _, place = each.partition("=")
        if not place:
            raise InvalidInputError(f"--data {each!r}; MODALITY=SET was needed: image=stamps")
        items = opened(place, modality).items
        found = named(items, base, captions=captions)
        if captions and not found.items:  # sounds have labels, say, and pictures captions
            found = named(items, base, captions=False)
        has = open_modality(modality).options
        its = {name: value for name, value in options.items() if name in has}
        found, features = encoded(engine, modality, found, its)
        crowds[modality] = Crowd(engine.senses.place(modality, np.asarray(features)), found.names)
    names = sorted({name for crowd in crowds.values() for name in crowd.names})
    crowds["text"] = Crowd(engine.embed("text", names), names)
    made = measure_balance(crowds)
    if plot is not None:
        write_file(plot, draw_matrix(made))
    return asdict(made) | {"plot": None if plot is None else str(plot)}


def _print(result: Mapping[str, Json]) -> None:
    n, classes = result["n_items"], result["n_classes"]
    print(
        printable(
            f"{result['data']}: {classes['all']} classes ({classes['unseen']} unseen); trained on "
            f"{n['trained']}, tested on {n['seen']} of seen and {n['unseen']} of unseen classes; "
            f"{result['n_seeds']} seeds"
        )
    )
    for kind in ("seen", "unseen"):
        found = result["accuracy"][kind]
        if found is None:
            print("among unseen classes         of fewer than 4 classes none can be left out")
            continue
        print(
            f"{'among ' + kind + ' classes':<28} {found['mean']:.3f} "
            f"[{found['low']:.3f}, {found['high']:.3f}]"
        )
    if result["together"]:
        print(f"{'all classes together':<28} {'seen':>6} {'unseen':>7} {'H':>6}")
    for rule, found in result["together"].items():
        print(
            f"  {rule:<26} {found['seen']:>6.3f} {found['unseen']:>7.3f} {found['harmonic']:>6.3f}"
        )
    for kind, found in result["calibration_error"].items():
        print(
            f"{'calibration error, ' + kind:<28} {found['error']:.3f} "
            f"(perfect would show {found['floor']:.3f})"
        )
    found = result["unknown"]
    if found is not None:
        print(
            f"{'unknown, half listed':<28} AUROC {found['auroc']:.3f}, false alarms "
            f"{found['false_alarms']:.3f} (5 % asked for), detected {found['detected']:.3f}"
        )


def _told(cell: Mapping[str, float | None]) -> str:
    if not cell["n"]:  # no query has an answer there: each word stands once
        return f"{'-':>15}"
    return f"{cell['r_at_1']:>8.3f} ({cell['chance_at_1']:.2f})"


def _print_balance(result: Mapping[str, Json]) -> None:
    order = list(result["items"])
    width = max(map(len, order)) + 2
    for stage in ("before", "after"):
        print(f"R@1 {stage} centring (and by chance); rows ask, columns answer")
        print(" " * width + "".join(f"{name:>15}" for name in order))
        for asked in order:
            cells = result["matrix"][stage][asked]
            told = "".join(_told(cells[found]) for found in order)
            print(f"{asked:<{width}}{told}")
    for name, told in (("gap", "gap between modality means"), ("hubness", "hubness (skewness)")):
        print(f"{told:<28} {result[name]['before']:.3f} -> {result[name]['after']:.3f}")
    found = result["mean_average_precision"]
    change = found["after minus before"]
    print(
        f"{'mAP, all in one index':<28} {found['before']['mean']:.3f} -> "
        f"{found['after']['mean']:.3f} ({change['mean']:+.3f} "
        f"[{change['low']:+.3f}, {change['high']:+.3f}])"
    )
    if result["plot"]:
        print(f"heat map: {printable(result['plot'])}")
