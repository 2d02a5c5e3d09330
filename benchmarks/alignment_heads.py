"""Every shape of head on the same splits of real pictures, and what `auto` makes of the choice.

Developed on emoji, reported on stamps and furniture. Each is less the ridge, paired over items,
with intervals over classes.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np

import unibind
from unibind import datasets
from unibind.alignment.aligner import METHODS, Aligner
from unibind.alignment.stacking import seen_unseen
from unibind.evaluation.bootstrap import Outcome, difference, summary
from unibind.evaluation.generalised import fit_seen, hub_free, points_of, told
from unibind.evaluation.labelled import LabelledItems, split_classes
from unibind.evaluation.names import ClassFinder
from unibind.knowledge.base import open_base
from unibind.quickstart.measure import load_pictures

RESULTS = Path(__file__).parent / "results"
SETS = {"development": ("emoji",), "test": ("stamps", "furniture")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--space", default="indexes/mini-benchmark")
    arguments = parser.parse_args()
    result: dict = {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "sets": {}}
    with unibind.open(arguments.space, recipe="mini") as engine:
        for use, names in SETS.items():
            items, centers = labelled(engine, names)
            result["sets"][use] = {"sets": list(names), "items": len(items.labels)} | {
                "heads": compared(items, points_of(items, centers), range(arguments.seeds))
            }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "alignment_heads.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / "alignment_heads.md").write_text(in_words(result, arguments.seeds))


def labelled(engine, names) -> tuple[LabelledItems, object]:
    """Return the pictures of sets whose captions name a class, without the prior, and centers."""
    base = open_base("everyday")
    pictures = load_pictures(engine, [datasets.fetch(name) for name in names])
    finder = ClassFinder(base.classes)
    found = [finder.find(caption) for caption in pictures.captions]
    rows = np.array([row for row, name in enumerate(found) if name is not None])
    items = LabelledItems.of(
        [found[row] for row in rows],
        pictures.inputs[rows],
        None,
        space=pictures.space,
        encoder=pictures.encoder,
    )
    return items, engine.centers(knowledge=base, classes=list(items.classes))


def compared(items: LabelledItems, points, seeds) -> dict:
    """Return accuracy, harmonic mean and seconds of each shape; and what `auto` took."""
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    harmonic: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    taken: dict[str, list[str]] = {}
    names = np.array(items.classes)
    for seed in seeds:
        split = split_classes(items, seed=seed)
        for method in METHODS:
            began = time.process_time()
            head = fit_seen(items, points, split, Aligner(method=method, seed=seed))
            seconds.setdefault(method, []).append(time.process_time() - began)
            made = f"{head.params['method']}, {head.params.get('n_steps', 0)} steps"
            taken.setdefault(method, []).append(made)
            embeddings = head.embed(items.inputs, items.prior)
            for kind, rows, of in (
                ("seen", split.seen, split.is_seen),
                ("unseen", split.unseen, ~split.is_seen),
            ):
                classes = np.flatnonzero(of)
                scores = hub_free(head, embeddings[rows], points[classes])
                right = classes[scores.argmax(axis=1)] == items.labels[rows]
                clusters = names[items.labels[rows]]
                found = Outcome(right.astype(np.float64), clusters)
                outcomes.setdefault((method, kind), []).append(found)
            rows = np.concatenate([split.seen, split.unseen])
            both = seen_unseen(
                hub_free(head, embeddings[rows], points),
                items.labels[rows],
                split.is_seen,
                penalty=head.seen_penalty,
            )
            harmonic.setdefault(method, []).append(both.harmonic)
            print(seed, method, taken[method][-1], round(seconds[method][-1], 1), flush=True)
    return {
        method: {
            kind: told(summary(outcomes[method, kind]))
            | {"minus ridge": told(difference(outcomes[method, kind], outcomes["ridge", kind]))}
            for kind in ("seen", "unseen")
        }
        | {
            "harmonic": round(float(np.mean(harmonic[method])), 4),
            "cpu_seconds": round(float(np.median(seconds[method])), 2),
            "made": taken[method],
        }
        for method in METHODS
    }


def in_words(result: dict, n_seeds: int) -> str:
    lines = [
        "# Shapes of heads on pictures",
        "",
        f"Machine: {result['machine']}. {n_seeds} seeds, a third of the classes unseen; heads "
        "without the semantic prior; intervals of 95 % over classes, paired; seconds of "
        "processor time.",
        "",
    ]
    for use, found in result["sets"].items():
        lines += [
            f"## {use}: {', '.join(found['sets'])}, {found['items']} pictures",
            "",
            "| head | seen | less ridge | unseen | less ridge | H | seconds | made |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for method, row in found["heads"].items():
            cells = [method]
            for kind in ("seen", "unseen"):
                less = row[kind]["minus ridge"]
                cells += [
                    f"{row[kind]['mean']:.3f}",
                    ""
                    if method == "ridge"
                    else f"{less['mean']:+.3f} [{less['low']:+.3f}, {less['high']:+.3f}]",
                ]
            cells += [f"{row['harmonic']:.3f}", f"{row['cpu_seconds']:.1f}", "; ".join(row["made"])]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
