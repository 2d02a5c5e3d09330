"""What heads are worth on seen and unseen classes: ridge, contrast, calibration, few-shot.

Developed on emoji, reported on stamps and furniture, whose pictures nobody tuned on. Each method is
measured in the same run on the same splits, beside its control.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

import unibind
from unibind import datasets
from unibind.alignment.aligner import Aligner
from unibind.evaluation.bootstrap import Outcome, difference
from unibind.evaluation.few_shot import Captioned, few_shot
from unibind.evaluation.generalised import evaluate, fit_seen, hub_free, points_of, told
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
    seeds = range(arguments.seeds)
    base = open_base("everyday")
    result = {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "sets": {}}
    with unibind.open(arguments.space, recipe="mini") as engine:
        for use, names in SETS.items():
            pictures = load_pictures(engine, [datasets.fetch(name) for name in names])
            finder = ClassFinder(base.classes)
            found = [finder.find(caption) for caption in pictures.captions]
            rows = np.array([row for row, name in enumerate(found) if name is not None])
            about = {"space": pictures.space, "encoder": pictures.encoder}
            labels = [found[row] for row in rows]
            items = LabelledItems.of(labels, pictures.inputs[rows], pictures.prior[rows], **about)
            alone = LabelledItems.of(labels, pictures.inputs[rows], None, **about)
            pixels = LabelledItems.of(labels, pictures.pixels[rows], None, **about)
            centers = engine.centers(knowledge=base, classes=list(items.classes))
            measured = {"sets": list(names), "items": len(items.labels)}
            for arm, each in (("head + prior", items), ("head", alone), ("raw pixels", pixels)):
                measured[arm] = asdict(evaluate(each, centers, seeds=seeds))
            for arm, each in (("head + prior", items), ("head", alone)):
                measured[f"contrast, {arm}"] = compare(each, centers, seeds)
            result["sets"][use] = measured
            print(use, json.dumps(measured, indent=1), flush=True)
        result["few_shot"] = {
            "test": shots(engine, "stamps", seeds),
            "development": shots(engine, "emoji", seeds),
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "alignment.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def compare(items: LabelledItems, centers, seeds) -> dict:
    """Return contrast less ridge, paired, among seen and among unseen classes."""
    points = points_of(items, centers)
    outcome: dict[str, list[Outcome]] = {}
    chosen, seconds = [], []
    for seed in seeds:
        split = split_classes(items, seed=seed)
        for method in ("ridge", "linear"):
            began = time.perf_counter()
            head = fit_seen(items, points, split, Aligner(method=method, seed=seed))
            if method == "linear":
                seconds.append(time.perf_counter() - began)
                chosen.append(head.params.get("n_steps", 0))
            embeddings = head.embed(items.inputs, items.prior)
            for kind, rows, of in (
                ("seen", split.seen, split.is_seen),
                ("unseen", split.unseen, ~split.is_seen),
            ):
                classes = np.flatnonzero(of)
                scores = hub_free(head, embeddings[rows], points[classes])
                right = classes[scores.argmax(axis=1)] == items.labels[rows]
                clusters = np.array(items.classes)[items.labels[rows]]
                outcome.setdefault(f"{method} {kind}", []).append(
                    Outcome(right.astype(np.float64), clusters)
                )
    return {
        "steps_chosen": chosen,
        "seconds": round(float(np.median(seconds)), 1),
        **{
            f"{kind}, contrast minus ridge": told(
                difference(outcome[f"linear {kind}"], outcome[f"ridge {kind}"])
            )
            for kind in ("seen", "unseen")
        },
    }


def shots(engine, name: str, seeds) -> dict:
    """Return few-shot accuracy on folders of pictures that no head has seen."""
    dataset = datasets.fetch(name)
    pictures = load_pictures(engine, [dataset])
    kept = {item.path: item for item in dataset.items}
    column = "label" if name == "stamps" else "group"
    classes = [str(getattr(kept[path], column)).replace("-", " ") for path in pictures.paths]
    items = Captioned(
        pictures.inputs,
        pictures.prior,
        pictures.texts,
        pictures.captions,
        classes,
        pictures.space,
        pictures.encoder,
    )
    return few_shot(items, engine.centers(classes=sorted(set(classes))), seeds=seeds)


if __name__ == "__main__":
    main()
