"""Small networks trained end to end: what cnn-1d and pointnet reach, against untrained weights.

    scripts/bench trainable                  # all; --task basic-motions for one
    scripts/bench trainable --seeds 1

Networks are trained by contrast against centers of the knowledge base `everyday`, the ordinary head
is made on their features, and items of the test split (another library, for shapes) are classified
among the task's classes. The control is the same network with random weights and the same head.
Nothing is chosen on the test split.
"""

import argparse
import json
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unibind import engine as engines
from unibind.alignment.aligner import Aligner
from unibind.alignment.centers import ClassCenters
from unibind.alignment.targets import Targets
from unibind.datasets import LabelledItem, fetch
from unibind.encoders.trainable import TrainableEncoder
from unibind.engine import Engine
from unibind.evaluation.bootstrap import Outcome, summary
from unibind.evaluation.names import ClassFinder
from unibind.knowledge.base import open_base

RESULTS = Path(__file__).parent / "results"
N_CLASSES = 10


@dataclass(frozen=True)
class Task:
    name: str
    modality: str
    encoder: str
    folds: Sequence[tuple[Sequence[LabelledItem], Sequence[LabelledItem]]]

    @property
    def classes(self) -> list[str]:
        return sorted({item.label for fold in self.folds for part in fold for item in part})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", action="append", choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    file = chosen.out / "trainable.json"
    result = json.loads(file.read_text()) if file.exists() else {}
    for name in chosen.task or TASKS:
        result[name] = measure(TASKS[name](), seeds=range(chosen.seeds))
        result[name]["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
        chosen.out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=2) + "\n")
        (chosen.out / "trainable.md").write_text(as_markdown(result))
        print((chosen.out / "trainable.md").read_text())


def recordings(name: str) -> Task:
    items = fetch(name).items
    training, test = ([item for item in items if item.split == part] for part in ("train", "test"))
    return Task(name, "timeseries", "cnn-1d", [(training, test)])


def shapes() -> Task:
    """Return shapes of the ten commonest classes; each library is tested by the two others."""
    finder = ClassFinder(open_base("everyday").classes)
    named = [(finder.find(item.label or ""), item) for item in fetch("furniture-shapes").items]
    counts = Counter(name for name, _ in named if name is not None)
    kept = [
        LabelledItem(item.path, label=name, group=item.group)
        for name, item in named
        if name in dict(counts.most_common(N_CLASSES))
    ]
    folds = []
    for library in sorted({item.group for item in kept}):
        training = [item for item in kept if item.group != library]
        known = {item.label for item in training}
        folds.append(
            (training, [item for item in kept if item.group == library and item.label in known])
        )
    return Task("furniture-shapes", "pointcloud", "pointnet", folds)


TASKS = {
    "basic-motions": lambda: recordings("basic-motions"),
    "furniture-shapes": shapes,
    "appliances": lambda: recordings("appliances"),
}


def measure(task: Task, *, seeds: Sequence[int]) -> dict:
    trained, random, seconds, epochs = [], [], [], []
    for seed in seeds:
        outcomes = [train_and_test(task, fold, seed) for fold in range(len(task.folds))]
        trained.append(joined([each.trained for each in outcomes]))
        random.append(joined([each.random for each in outcomes]))
        seconds += [each.seconds for each in outcomes]
        epochs += [each.n_epochs for each in outcomes]
        print(task.name, seed, trained[-1].values.mean(), random[-1].values.mean(), flush=True)
    test = Counter(item.label for _, part in task.folds for item in part)
    return {
        "encoder": task.encoder,
        "n_training": [len(training) for training, _ in task.folds],
        "n_test": sum(test.values()),
        "n_classes": len(task.classes),
        "seeds": len(seeds),
        "chance": round(1 / len(task.classes), 4),
        "commonest_class": round(max(test.values()) / sum(test.values()), 4),
        "accuracy": as_row(trained),
        "accuracy_per_seed": [round(float(each.values.mean()), 4) for each in trained],
        "accuracy_random_weights": as_row(random),
        "epochs": epochs,
        "seconds_of_training": [round(each, 1) for each in seconds],
    }


@dataclass(frozen=True)
class Fold:
    trained: Outcome
    random: Outcome
    seconds: float
    n_epochs: int


def train_and_test(task: Task, number: int, seed: int) -> Fold:
    training, test = task.folds[number]
    paths, labels = [item.path for item in training], [item.label for item in training]
    with tempfile.TemporaryDirectory() as folder:
        engine = engines.open(Path(folder) / "mini").with_encoder(task.modality, task.encoder)
        with engine:
            centers = engine.centers(classes=task.classes, knowledge=open_base("everyday"))
            targets = Targets.from_labels(labels, centers)
            other = with_random_weights(engine, task, seed)
            random = outcome(other, task, paths, test, targets, centers)
            began = time.monotonic()
            engine.train(task.modality, paths, targets, seed=seed)
            seconds = time.monotonic() - began
            manifest = engine.root / "networks" / task.modality / "manifest.json"
            n_epochs = json.loads(manifest.read_text())["params"]["how"]["n_epochs"]
            trained = outcome(engine, task, paths, test, targets, centers)
    return Fold(trained, random, seconds, n_epochs)


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        np.concatenate([each.values for each in outcomes]),
        np.concatenate([each.clusters for each in outcomes]),
    )


def with_random_weights(engine: Engine, task: Task, seed: int) -> Engine:
    untrained = engine.encoder(task.modality)
    state = untrained.design.network(seed).state_dict()
    encoder = TrainableEncoder(untrained.design, {name: x.numpy() for name, x in state.items()})
    other = Engine(engine.space, engine.root / "random", opened={task.modality: encoder})
    encoder.save(other.root / "networks" / task.modality, space=engine.space.id, params={})
    return other


def outcome(
    engine: Engine,
    task: Task,
    paths: Sequence[Path],
    test: Sequence[LabelledItem],
    targets: Targets,
    centers: ClassCenters,
) -> Outcome:
    """Return which test items are right, with a head on the network's features."""
    features = engine.encode(task.modality, paths).features
    if (engine.root / "networks" / f"{task.modality}-rehearsal").exists():
        engine.fit(task.modality, features, targets)
    else:
        fingerprint = engine.encoder(task.modality).fingerprint
        head = Aligner().fit(features, targets, space=engine.space.id, encoder=fingerprint)
        engine.senses.keep_head(task.modality, head)
    embeddings = engine.embed(task.modality, [item.path for item in test])
    found = engine.decide(task.modality, embeddings, centers, top=1)
    right = [best.label == item.label for (best,), item in zip(found, test, strict=True)]
    return Outcome(np.array(right, dtype=float), np.array([item.key for item in test]))


def as_row(outcomes: Sequence[Outcome]) -> dict[str, float]:
    found = summary(outcomes)
    return {"mean": round(found.mean, 4), "low": round(found.low, 4), "high": round(found.high, 4)}


def as_markdown(result: dict) -> str:
    lines = [
        "Networks trained end to end; heads on their features; items of the test split among the "
        "task's classes. 95 % intervals by bootstrap over test items.",
        "",
        "| task | network | training / test | accuracy | random weights, same head | chance | "
        "commonest class | seeds | epochs | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in result.items():
        accuracy, random = (
            f"{each['mean']:.3f} [{each['low']:.3f}, {each['high']:.3f}]"
            for each in (row["accuracy"], row["accuracy_random_weights"])
        )
        lines.append(
            f"| {name} ({row['n_classes']} classes) | {row['encoder']} | "
            f"{', '.join(map(str, row['n_training']))} / {row['n_test']} | {accuracy} | {random} | "
            f"{row['chance']:.3f} | "
            f"{row['commonest_class']:.3f} | {row['seeds']} | "
            f"{', '.join(map(str, row['epochs']))} | "
            f"{', '.join(f'{each:.0f}' for each in row['seconds_of_training'])} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
