"""Whether clothes are recognised in simulated events, and two classes that no head has seen.

    scripts/bench event                # writes benchmarks/results/event.json and event.md

The events are simulated, by three saccades over pictures of Fashion-MNIST: no recording of a real
event camera comes with an ordinary package. All choices were made on the training split.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

from unibind import weights
from unibind.alignment.aligner import Aligner
from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head, head_inputs
from unibind.alignment.hubs import without_hubs
from unibind.alignment.prior import SemanticPrior
from unibind.alignment.stacking import seen_unseen
from unibind.alignment.targets import Targets
from unibind.datasets import Dataset, LabelledItem, fetch
from unibind.encoders.cache import FeatureCache
from unibind.encoders.event_histograms import histogram
from unibind.encoders.pipeline import encode_sources
from unibind.encoders.registry import open_encoder
from unibind.engine import RECIPES, Engine
from unibind.evaluation.arms import Row, Tested, ranks_of, row_of
from unibind.evaluation.baselines import linear_probe
from unibind.evaluation.bootstrap import difference
from unibind.modalities.event import Events, counts
from unibind.modalities.event_simulation import simulate_saccades
from unibind.protocols import Encoder
from unibind.types import FloatArray, IntArray

SHARE = 0.8
"""Of the training items, drawn anew by each seed, that is trained on."""
N_UNSEEN = 2
DEFAULT = "head on event-histograms"
FOREST = "random forest on event histograms"
ENCODERS = ("event-pictures", "event-histograms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=160, help="items of each class")
    parser.add_argument("--test", type=int, default=100, help="items of each class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    for model in ("minilm-l6", "efficientnet-lite0", "imagenet-labels"):
        weights.fetch(model)
    data = fetch("fashion-mnist")
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine.from_recipe(RECIPES["mini"], Path(folder) / "space")
        train, test = sample(data, "train", chosen.train), sample(data, "test", chosen.test)
        bench = Bench(engine, train, test)
        result = {
            "n_train": round(SHARE * len(train)),
            "n_test": len(test),
            "seeds": chosen.seeds,
            "events_per_picture": round(bench.mean_events),
            **bench.seen(range(chosen.seeds)),
            **bench.unseen(range(chosen.seeds)),
        }
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (chosen.out / "event.json").write_text(text + "\n", encoding="utf-8")
    (chosen.out / "event.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


def sample(data: Dataset, split: str, per_class: int) -> list[LabelledItem]:
    """Return the first items of each class of a split."""
    found: dict[str, list[LabelledItem]] = defaultdict(list)
    for item in data.items:
        if item.split == split and len(found[item.label]) < per_class:
            found[item.label].append(item)
    return [item for label in sorted(found) for item in found[label]]


def simulated(items: list[LabelledItem]) -> list[Events]:
    return [simulate_saccades(np.asarray(Image.open(item.path))) for item in items]


def encoded(encoder: Encoder, events: list[Events]) -> FloatArray:
    def tell(n_done: int, n_all: int) -> None:
        if n_done % 200 == 0:
            print(f"{n_done} of {n_all} recordings", file=sys.stderr, flush=True)

    with FeatureCache.of(encoder) as cache:
        return encode_sources(encoder, events, cache=cache, progress=tell).features


class Bench:
    """Features of both splits, and the arms that are made of them."""

    def __init__(self, engine: Engine, train: list[LabelledItem], test: list[LabelledItem]) -> None:
        self.space = engine.space.id
        self.classes = sorted({item.label for item in train})
        names = engine.centers(classes=self.classes)
        self.centers = ClassCenters(names.labels, names.vectors, space=names.space)
        self.labels = {
            "train": np.array([self.classes.index(item.label) for item in train]),
            "test": np.array([self.classes.index(item.label) for item in test]),
        }
        self.keys = np.array([item.key for item in test])
        events = {"train": simulated(train), "test": simulated(test)}
        self.mean_events = np.mean([len(e.t_s) for each in events.values() for e in each])
        self.pixels = {
            split: np.array([np.sqrt(counts(e, 3)).ravel() for e in each])
            for split, each in events.items()
        }
        encoder = open_encoder("event-pictures")
        seen = {split: encoded(encoder, each) for split, each in events.items()}
        prior = SemanticPrior(encoder, engine.prior("image").vectors)
        self.prior = {split: prior.embed(each) for split, each in seen.items()}
        # What event-histograms returns, without a second pass through the image tower.
        both = {
            split: np.concatenate([seen[split], [histogram(e) for e in each]], axis=1)
            for split, each in events.items()
        }
        self.inputs = {
            "event-pictures": {split: head_inputs(encoder, each) for split, each in seen.items()},
            "event-histograms": both,
        }
        self.prints = dict.fromkeys(ENCODERS, encoder.fingerprint)

    def rows(self, seed: int, classes: list[int] | None = None) -> IntArray:
        """Return the rows of a share of the training items, of some classes or all."""
        labels = self.labels["train"]
        order = np.random.default_rng(seed).permutation(len(labels))
        rows = np.sort(order[: round(SHARE * len(order))])
        return rows if classes is None else rows[np.isin(labels[rows], classes)]

    def head(self, name: str, rows: IntArray, *, seed: int, labels: IntArray | None = None) -> Head:
        labels = self.labels["train"][rows] if labels is None else labels
        return Aligner(seed=seed).fit(
            self.inputs[name]["train"][rows],
            Targets.from_labels([self.classes[n] for n in labels], self.centers),
            space=self.space,
            encoder=self.prints[name],
            prior=self.prior["train"][rows] if name == "event-pictures" else None,
        )

    def scores(self, name: str, head: Head, rows: IntArray, points: FloatArray) -> FloatArray:
        prior = self.prior["test"][rows] if name == "event-pictures" else None
        embeddings = head.embed(self.inputs[name]["test"][rows], prior)
        return without_hubs(embeddings @ points.T, head.references @ points.T)

    def points(self, classes: list[int]) -> FloatArray:
        means = self.centers.vectors.mean(axis=1)[classes]
        return unit(means - means.mean(axis=0))

    def seen(self, seeds: range) -> dict:
        """Return the table among all ten classes, all trained on."""
        everyone, ten = np.arange(len(self.keys)), list(range(len(self.classes)))
        points, answers = self.points(ten), self.labels["test"]
        tested: dict[str, list[Tested]] = defaultdict(list)
        for seed in seeds:
            print(f"seen classes, seed {seed}", file=sys.stderr, flush=True)
            rows = self.rows(seed)
            labels = self.labels["train"][rows]
            forest = RandomForestClassifier(300, random_state=seed, n_jobs=2)
            forest.fit(self.pixels["train"][rows], labels)
            scores = {
                "chance": np.random.default_rng(seed).random((len(everyone), len(ten))),
                "image tower's prior": self.prior["test"] @ points.T,
                FOREST: forest.predict_proba(self.pixels["test"]),
            }
            for name in ENCODERS:
                head = self.head(name, rows, seed=seed)
                scores[f"head on {name}"] = self.scores(name, head, everyone, points)
            scores["linear probe on event-histograms"] = self.probe(ENCODERS[1], rows)
            for arm, each in scores.items():
                tested[arm].append(Tested(ranks_of(each, answers), self.keys, len(ten)))
        within = {arm: [each.within(1) for each in outcomes] for arm, outcomes in tested.items()}
        pairs = ((DEFAULT, FOREST), (DEFAULT, "head on event-pictures"))
        return {
            "seen": [
                row_of(a, t, default=a == DEFAULT, note=NOTES.get(a, "")) for a, t in tested.items()
            ],
            "seen_differences": {
                f"{a} minus {b}": asdict(difference(within[a], within[b])) for a, b in pairs
            },
        }

    def probe(self, name: str, rows: IntArray) -> FloatArray:
        train = self.inputs[name]["train"][rows]
        mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-6
        weight, bias = linear_probe(
            (train - mean) / scale, self.labels["train"][rows], n_classes=len(self.classes)
        )
        return (self.inputs[name]["test"] - mean) / scale @ weight + bias

    def unseen(self, seeds: range) -> dict:
        """Return the table between two classes, neither trained on, and among all ten."""
        tested: dict[str, list[Tested]] = defaultdict(list)
        harmonic, drawn = defaultdict(list), []
        for seed in seeds:
            print(f"unseen classes, seed {seed}", file=sys.stderr, flush=True)
            order = np.random.default_rng(seed).permutation(len(self.classes))
            pair, others = sorted(order[:N_UNSEEN].tolist()), sorted(order[N_UNSEEN:].tolist())
            drawn.append([self.classes[n] for n in pair])
            train = self.rows(seed, others)
            asked = np.flatnonzero(np.isin(self.labels["test"], pair))
            answers = np.searchsorted(pair, self.labels["test"][asked])
            wrong = np.array(others)[np.random.default_rng(seed).permutation(len(others))]
            mixed = wrong[np.searchsorted(others, self.labels["train"][train])]
            scores = {
                "chance": np.random.default_rng(seed).random((len(asked), 2)),
                "image tower's prior": self.prior["test"][asked] @ self.points(pair).T,
            }
            for name in ENCODERS:
                head = self.head(name, train, seed=seed)
                scores[f"head on {name}"] = self.scores(name, head, asked, self.points(pair))
                everyone = np.arange(len(self.keys))
                ten = self.scores(name, head, everyone, self.points(list(range(len(self.classes)))))
                is_seen = np.isin(np.arange(len(self.classes)), others)
                both = seen_unseen(ten, self.labels["test"], is_seen, penalty=head.seen_penalty)
                harmonic[f"head on {name}"].append([both.seen, both.unseen, both.harmonic])
            head = self.head(ENCODERS[1], train, seed=seed, labels=mixed)
            scores[f"{DEFAULT}, names permuted"] = self.scores(
                ENCODERS[1], head, asked, self.points(pair)
            )
            for arm, each in scores.items():
                clusters = np.array(self.classes)[self.labels["test"][asked]]
                tested[arm].append(Tested(ranks_of(each, answers), clusters, N_UNSEEN))
        return {
            "unseen_classes": drawn,
            "unseen": [
                row_of(a, t, default=a == DEFAULT, note=NOTES.get(a, "")) for a, t in tested.items()
            ],
            "all_ten_candidates": {
                arm: dict(
                    zip(
                        ("seen", "unseen", "harmonic"),
                        np.mean(each, axis=0).round(4).tolist(),
                        strict=True,
                    )
                )
                for arm, each in harmonic.items()
            },
        }


NOTES = {
    "chance": "measured: random scores",
    "image tower's prior": "no training: ImageNet's names for pictures of edges",
    FOREST: "baseline: 300 trees on roots of counts, 3 x 2 x 28 x 28",
    DEFAULT: "a ridge towards the classes' names, the aligner's default",
    "head on event-pictures": "the image tower's features only",
    "linear probe on event-histograms": "supervised ceiling: no names, only ten columns",
    f"{DEFAULT}, names permuted": "control: trained towards other classes' names",
}


def as_markdown(result: dict) -> str:
    lines = [
        "# Clothes in simulated events",
        "",
        f"Events simulated from Fashion-MNIST ({result['events_per_picture']:,} a picture); "
        f"{result['n_train']:,} train, {result['n_test']:,} test recordings of ten classes, "
        f"{result['seeds']} seeds (each trains on another 80 % of the training sample), 95 % "
        "intervals by bootstrap over recordings.",
        "",
        *table(result["seen"]),
        "",
        *differences(result["seen_differences"]),
        "",
        "## Two classes that no head has seen",
        "",
        f"Drawn by the seed: {'; '.join(' and '.join(each) for each in result['unseen_classes'])}. "
        "Intervals by bootstrap over classes.",
        "",
        *table(result["unseen"]),
        "",
        "With all ten classes as candidates:",
        "",
        "| arm | seen | unseen | harmonic mean |",
        "|---|---|---|---|",
    ]
    for arm, each in result["all_ten_candidates"].items():
        lines.append(
            f"| {arm} | {each['seen']:.3f} | {each['unseen']:.3f} | {each['harmonic']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def table(rows: list[Row]) -> list[str]:
    lines = ["| arm | accuracy | |", "|---|---|---|"]
    for row in rows:
        low, high = row["interval_r_at_1"]
        name = f"**{row['arm']}**" if row["default"] else row["arm"]
        lines.append(f"| {name} | {row['r_at_1']:.3f} [{low:.3f}, {high:.3f}] | {row['note']} |")
    return lines


def differences(pairs: dict) -> list[str]:
    lines = ["| paired difference | mean | 95 % interval |", "|---|---|---|"]
    for name, each in pairs.items():
        lines.append(
            f"| {name} | {each['mean']:+.3f} | {each['low']:+.3f} to {each['high']:+.3f} |"
        )
    return lines


if __name__ == "__main__":
    main()
