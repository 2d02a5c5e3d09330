"""Fit times of heads, against a loop that runs the backbone every epoch; and a million items.

Ratios travel between machines, seconds do not. With --million, a table of 10^6 x 256 features is
written, mapped from disk, and fitted towards 10^5 classes; what is reported is peak memory.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import unibind
from unibind import datasets
from unibind.alignment.aligner import Aligner
from unibind.alignment.contrast import Contrast, Course, Learner
from unibind.alignment.geometry import unit
from unibind.alignment.objective import Objective
from unibind.alignment.ridge import RidgePath
from unibind.alignment.targets import Targets
from unibind.evaluation.generalised import fit_seen, hub_free, points_of
from unibind.evaluation.labelled import LabelledItems, split_classes
from unibind.evaluation.names import ClassFinder
from unibind.knowledge.base import open_base
from unibind.quickstart.measure import load_pictures

RESULTS = Path(__file__).parent / "results"
MAX_EPOCHS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="indexes/mini-benchmark")
    parser.add_argument("--million", action="store_true")
    arguments = parser.parse_args()
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 1),
    }
    if arguments.million:
        result["million"] = million()
        name = "alignment_million.json"
    else:
        result |= small(arguments.space)
        name = "alignment_speed.json"
    result["load_after"] = round(os.getloadavg()[0], 1)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def small(space: str) -> dict:
    base = open_base("everyday")
    with unibind.open(space, recipe="mini") as engine:
        sets = [datasets.fetch(name) for name in ("stamps", "emoji")]
        pictures = load_pictures(engine, sets)
        finder = ClassFinder(base.classes)
        found = [finder.find(caption) for caption in pictures.captions]
        rows = np.array([row for row, name in enumerate(found) if name is not None])
        items = LabelledItems.of(
            [found[row] for row in rows],
            pictures.inputs[rows],
            pictures.prior[rows],
            space=pictures.space,
            encoder=pictures.encoder,
        )
        points = points_of(items, engine.centers(knowledge=base, classes=list(items.classes)))
        split = split_classes(items, seed=0)
        encoder = engine.encoder("image")
        shown = [encoder.modality.read(path.read_bytes()) for path in pictures.paths[:64]]
        encoder.encode(shown[:4])
        began = time.process_time()
        encoder.encode(shown)
        encode_s = (time.process_time() - began) / len(shown)
    seconds = {}
    for method in ("ridge", "linear"):
        times = []
        for _ in range(3):
            began = time.process_time()
            head = fit_seen(items, points, split, Aligner(method=method))
            times.append(time.process_time() - began)
        seconds[method] = round(statistics.median(times), 2)
        if method == "ridge":
            goal = seen_accuracy(items, points, split, head)
    epochs, epoch_s, reached = released(items, points, split, goal)
    n = len(split.train)
    encoding_s, ridge_s = n * encode_s, seconds["ridge"]
    loop_s = epochs * (encoding_s + epoch_s)
    by_epochs = {
        f"{count}": {
            "against_cached_features": round(count * (encoding_s + epoch_s) / ridge_s, 1),
            "with_the_one_encoding": round(
                count * (encoding_s + epoch_s) / (ridge_s + encoding_s), 1
            ),
        }
        for count in (10, 20, 50, 100, 200)
    }
    return {
        "trained_on": n,
        "input_width": items.inputs.shape[1],
        "cpu_seconds": seconds,
        "encode_cpu_seconds_per_picture": round(encode_s, 4),
        "seen_accuracy_of_ridge": round(goal, 4),
        "released_loop": {
            "epochs": epochs,
            "seen_accuracy": round(reached, 4),
            "cpu_seconds": round(loop_s, 1),
        },
        "reached_the_ridge": bool(reached >= goal),
        "one_encoding_cpu_seconds": round(encoding_s, 2),
        "times_faster_by_epochs_of_the_loop": by_epochs,
        "times_faster_on_cached_features": round(loop_s / seconds["ridge"], 1),
        "times_faster_with_the_one_encoding": round(loop_s / (seconds["ridge"] + n * encode_s), 1),
    }


def released(items, points, split, goal: float) -> tuple[int, float, float]:
    """Return epochs until the released loss is as good, CPU seconds of one, and what it reached."""
    centred = unit(points - points.mean(axis=0))
    path = RidgePath.of(items.inputs[split.train])
    width, dim = items.inputs.shape[1], points.shape[1]
    generator = np.random.default_rng(0)
    start = (generator.normal(size=(width, dim)) / width**0.5).astype(np.float32)
    learner = Learner(
        items.inputs[split.train],
        np.arange(len(split.train)),
        items.labels[split.train],
        path.mean,
        path.scale,
        path.basis.astype(np.float32),
        start,
        np.zeros(dim, dtype=np.float32),
    )
    batch = 64
    contrast = Contrast(
        Objective({"unibind-released": 1.0}), noise=0.0, batch_size=batch, n_directions=10**6,
        learning_rate=1e-3,
    )  # fmt: skip
    course = Course([learner], centred, contrast, seed=0)
    steps, began, best = max(1, len(split.train) // batch), time.process_time(), 0.0
    epoch = 0
    while epoch < MAX_EPOCHS and best < goal:
        epoch += 1
        course.advance(steps)
        standardised = (items.inputs[split.seen] - path.mean) / path.scale
        embeddings = unit(course.moved()[0].project(standardised))
        classes = np.flatnonzero(split.is_seen)
        found = classes[
            (embeddings @ unit(points[classes] - points[classes].mean(axis=0)).T).argmax(axis=1)
        ]
        best = max(best, float((found == items.labels[split.seen]).mean()))
    return epoch, (time.process_time() - began) / epoch, best


def seen_accuracy(items, points, split, head) -> float:
    classes = np.flatnonzero(split.is_seen)
    scores = hub_free(head, head.embed(items.inputs, items.prior)[split.seen], points[classes])
    return float((classes[scores.argmax(axis=1)] == items.labels[split.seen]).mean())


def million(n: int = 10**6, width: int = 256, n_classes: int = 10**5, dim: int = 384) -> dict:
    generator = np.random.default_rng(0)
    points = unit(generator.normal(size=(n_classes, dim)).astype(np.float32))
    rows = np.arange(n) % n_classes
    carry = generator.normal(size=(dim, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        table = np.memmap(Path(folder) / "features", np.float32, "w+", shape=(n, width))
        for first in range(0, n, 2**15):
            block = points[rows[first : first + 2**15]] @ carry
            noise = generator.normal(size=block.shape).astype(np.float32)
            table[first : first + 2**15] = block + noise
        table.flush()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        mapped = np.memmap(Path(folder) / "features", np.float32, "r", shape=(n, width))
        names = tuple(f"class {c:06}" for c in range(n_classes))
        targets = Targets(names, points, rows)
        began, cpu = time.perf_counter(), time.process_time()
        head = Aligner().fit(mapped, targets, space="s", encoder="e")
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {
        "items": n,
        "input_width": width,
        "classes": n_classes,
        "dim": dim,
        "table_mib": round(n * width * 4 / 2**20),
        "peak_mib_before_fit": round(before),
        "peak_mib": round(after),
        "cpu_seconds": round(cpu_s, 1),
        "wall_seconds": round(wall_s, 1),
        "strength": head.params["strength"],
        "held_out_reciprocal_rank": head.metrics["held_out_reciprocal_rank"],
    }


if __name__ == "__main__":
    main()
