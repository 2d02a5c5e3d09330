"""Recordings: seen classes, unseen ones by sentences, any by measured attributes, with controls.

    scripts/bench timeseries
    scripts/bench timeseries --seeds 2 --permutations 99    # a quick look

Sets: `basic-motions` (80 recordings of 4 activities) and `appliances` (200 of 10 kinds). Every seen
arm is trained on one half and tested on the other: the makers' split, and five splits by chance.
Nothing is chosen on tested items.
"""

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from unibind import engine as engines
from unibind.alignment.aligner import Aligner
from unibind.alignment.attributes import ClassAttributes
from unibind.alignment.centers import ClassCenters
from unibind.alignment.geometry import unit
from unibind.alignment.ridge import RidgePath
from unibind.alignment.targets import Targets
from unibind.datasets import fetch
from unibind.encoders.cache import FeatureCache
from unibind.encoders.pipeline import encode_sources
from unibind.encoders.registry import open_encoder
from unibind.evaluation.bootstrap import Outcome, Summary, difference, summary
from unibind.knowledge.base import open_base
from unibind.measurement.motion import WristImu
from unibind.measurement.power import PowerMeter
from unibind.modalities.timeseries import Recording, read
from unibind.types import FloatArray, IntArray

RESULTS = Path(__file__).parent / "results"
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
UNSEEN_STRENGTHS = (0.1, 0.3, 1.0, 3.0)
MAINS_V = 230.0


@dataclass(frozen=True)
class Set:
    name: str
    recordings: list[Recording]
    classes: list[str]
    labels: IntArray
    is_training: np.ndarray
    features: FloatArray
    centers: ClassCenters

    @property
    def keys(self) -> np.ndarray:
        return np.array([str(row) for row in range(len(self.labels))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--permutations", type=int, default=999)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "seeds": chosen.seeds,
        "permutations": chosen.permutations,
    }
    for name in ("basic-motions", "appliances"):
        data = load(name)
        result[name] = {
            "n": len(data.labels),
            "classes": data.classes,
            "seen": seen(data, chosen.seeds),
            "unseen_by_sentences": unseen(data, chosen.permutations),
            "attributes": attributes(data, chosen.permutations),
        }
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "timeseries.json").write_text(json.dumps(result, indent=2) + "\n")
    (chosen.out / "timeseries.md").write_text(as_markdown(result))
    print(as_markdown(result))


def load(name: str) -> Set:
    items = fetch(name).items
    encoder = open_encoder("minirocket")
    with FeatureCache.of(encoder) as cache:
        encoded = encode_sources(encoder, [item.path for item in items], cache=cache)
    classes = sorted({item.label or "" for item in items})
    with engines.open("mini") as engine:
        centers = engine.centers(classes=classes, knowledge=open_base("everyday"))
    return Set(
        name=name,
        recordings=[read(item.path.read_bytes()) for item in items],
        classes=classes,
        labels=np.array([classes.index(item.label or "") for item in items]),
        is_training=np.array([item.split == "train" for item in items]),
        features=encoded.features,
        centers=centers,
    )


# Seen classes


def seen(data: Set, n_seeds: int) -> dict:
    splits = [half(data.labels, seed) for seed in range(n_seeds)]
    by_chance = [arms(data, split, seed) for seed, split in enumerate(splits)]
    made = arms(data, data.is_training, 0)
    probe = [each["ridge probe"] for each in by_chance]
    head = [each["ridge head to the knowledge base"] for each in by_chance]
    return {
        "chance": round(1 / len(data.classes), 4),
        "makers_split": {arm: rounded(summary([each])) for arm, each in made.items()},
        "five_splits": {
            arm: rounded(summary([each[arm] for each in by_chance])) for arm in by_chance[0]
        },
        "head_minus_probe": rounded(difference(head, probe)),
    }


def arms(data: Set, is_training: np.ndarray, seed: int) -> dict[str, Outcome]:
    training, test = np.flatnonzero(is_training), np.flatnonzero(~is_training)
    simple = statistics(data.recordings)
    drawn = np.random.default_rng(seed).standard_normal(data.centers.points().shape)
    random = unit(drawn.astype(np.float32))
    right = {
        "simple statistics, ridge probe": probe(simple, data.labels, training, test),
        "ridge probe": probe(data.features, data.labels, training, test),
        "ridge head to the knowledge base": head(
            data, data.centers.points(), training, test, Aligner(seed=seed)
        ),
        "ridge head to random points (control)": head(
            data, random, training, test, Aligner(seed=seed)
        ),
    }
    return {arm: Outcome(each.astype(float), data.keys[test]) for arm, each in right.items()}


def half(labels: IntArray, seed: int) -> np.ndarray:
    """Return which items are trained on: half of each class. No set names its persons."""
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen[rows[: len(rows) // 2]] = True
    return chosen


def statistics(recordings: Sequence[Recording]) -> FloatArray:
    """Return level, spread, range and spectrum of a recording, means over its channels."""
    rows = []
    for recording in recordings:
        values = recording.values
        spectrum = np.abs(np.fft.rfft(values - values.mean(axis=1, keepdims=True)))
        bands = np.stack([part.mean(axis=1) for part in np.array_split(spectrum, 8, axis=1)])
        facts = [values.mean(axis=1), values.std(axis=1), values.min(axis=1), values.max(axis=1)]
        rows.append(np.concatenate([np.stack(facts), np.log1p(bands)]).mean(axis=1))
    return np.array(rows, dtype=np.float32)


def probe(features: FloatArray, labels: IntArray, training: IntArray, test: IntArray) -> np.ndarray:
    """Return which tested items a ridge towards one-hot labels gets right."""
    targets = np.eye(labels.max() + 1, dtype=np.float32)[labels[training]]
    path = RidgePath.of(features[training])
    fits = path.towards(targets)
    alone = [np.array([row]) for row in range(len(training))]
    worth = {
        strength: (fits.left_out(strength, alone).argmax(axis=1) == labels[training]).mean()
        for strength in STRENGTHS
    }
    weight, bias = fits.solve(max(worth, key=worth.get))
    found = ((features[test] - path.mean) / path.scale @ weight + bias).argmax(axis=1)
    return found == labels[test]


def head(
    data: Set, points: FloatArray, training: IntArray, test: IntArray, aligner: Aligner
) -> np.ndarray:
    """Return which tested items a head gets right among all classes."""
    targets = Targets(tuple(data.classes), points, data.labels[training])
    made = aligner.fit(
        data.features[training], targets, space=data.centers.space, encoder="minirocket"
    )
    found = (made.embed(data.features[test]) @ points.T).argmax(axis=1)
    return found == data.labels[test]


# Unseen classes, by what sentences mean


def unseen(data: Set, n_permutations: int) -> dict:
    """Return accuracy among unseen classes, and how often permuted texts do as well.

    A ridge towards class points is a ridge towards one-hot labels times the points, so permuting
    which class has which text needs no new fit. With so few classes the outcome hangs on the
    strength of the ridge: it counts as shown only if it is at every strength.
    """
    points, n_classes = data.centers.points(), len(data.classes)
    orders = text_orders(n_classes, n_permutations)
    by_strength = []
    for strength in UNSEEN_STRENGTHS:
        draws = [OneDraw(data, out, strength) for out in left_out(n_classes)]
        observed = float(np.mean([draw.accuracy(points) for draw in draws]))
        permuted = [np.mean([draw.accuracy(points[order]) for draw in draws]) for order in orders]
        as_good = sum(each >= observed - 1e-9 for each in permuted)
        by_strength.append(
            {
                "strength": strength,
                "accuracy": round(observed, 4),
                "permuted_texts_mean": round(float(np.mean(permuted)), 4),
                "p": round(float((1 + as_good) / (1 + len(permuted))), 4),
            }
        )
    return {
        "chance": round(float(np.mean([1 / draw.n_unseen for draw in draws])), 4),
        "draws": len(draws),
        "unseen_classes": draws[0].n_unseen,
        "permutations": len(orders),
        "by_strength": by_strength,
        "shown": all(row["p"] < 0.05 for row in by_strength),
    }


def left_out(n_classes: int) -> list[tuple[int, ...]]:
    if n_classes <= 5:
        return list(combinations(range(n_classes), 2))
    generator = np.random.default_rng(0)
    return [tuple(generator.choice(n_classes, size=3, replace=False)) for _ in range(10)]


def text_orders(n_classes: int, n_most: int) -> list[np.ndarray]:
    if n_classes <= 5:  # all of them, but the right one
        return [np.array(order) for order in permutations(range(n_classes))][1:]
    generator = np.random.default_rng(1)
    return [generator.permutation(n_classes) for _ in range(n_most)]


class OneDraw:
    """Which classes are unseen, and what a ridge on the others makes of their items."""

    def __init__(self, data: Set, out: Sequence[int], strength: float) -> None:
        self.out = np.array(sorted(out))
        self.seen = np.setdiff1d(np.arange(len(data.classes)), self.out)
        training = np.isin(data.labels, self.seen)
        one_hot = np.eye(len(self.seen))[np.searchsorted(self.seen, data.labels[training])]
        path = RidgePath.of(data.features[training])
        weight, bias = path.towards(one_hot.astype(np.float32)).solve(strength)
        self.shares = (data.features[~training] - path.mean) / path.scale @ weight + bias
        self.labels = np.searchsorted(self.out, data.labels[~training])
        self.n_unseen = len(self.out)

    def accuracy(self, points: FloatArray) -> float:
        embeddings = unit(self.shares @ points[self.seen])
        # Hubs: what all unseen items share says nothing about which class they are.
        centred = embeddings - embeddings.mean(axis=0)
        return float(((centred @ points[self.out].T).argmax(axis=1) == self.labels).mean())


# Any class, by what is measured


def attributes(data: Set, n_permutations: int) -> dict:
    if data.name == "basic-motions":
        instrument = WristImu()
        ranges = ClassAttributes.of(open_base("everyday"), "wrist imu", classes=data.classes)
        measured = instrument.measure(data.recordings)
        arms = {"6 attributes": by_attributes(data, ranges, measured, n_permutations)}
        two = ("dynamic_rms_ms2", "periodicity")
        ranges = ClassAttributes.of(
            open_base("everyday"), "wrist imu", classes=data.classes, attributes=two
        )
        columns = [list(instrument.attributes).index(name) for name in two]
        arms["rms and periodicity"] = by_attributes(
            data, ranges, measured[:, columns], n_permutations
        )
        return arms
    ranges = ClassAttributes.of(open_base("everyday"), "power meter", classes=data.classes)
    meter = PowerMeter()
    return {
        name: by_attributes(data, ranges, meter.measure(recordings), n_permutations)
        for name, recordings in {
            "the series as power, unit unknown": [
                Recording(each.values, 0.1, ("power",), ("",)) for each in data.recordings
            ],
            "second quantity as power, unit unknown": [
                power_of(each, in_watts=False) for each in data.recordings
            ],
            "second quantity in watts, if the third is 230 V": [
                power_of(each, in_watts=True) for each in data.recordings
            ],
        }.items()
    }


def power_of(recording: Recording, *, in_watts: bool) -> Recording:
    """Return the second of the four quantities that stand in turn in a series of `appliances`."""
    quantities = recording.values.reshape(-1, 4).T
    zero = np.median(quantities[3])  # the current: at most a few amperes, which is about 0 here
    size = MAINS_V / (quantities[2].mean() - zero) if in_watts else 1.0
    power = ((quantities[1] - zero) * size)[None].astype(np.float32)
    return Recording(power, 0.1, ("power",), ("W" if in_watts else "",))


def by_attributes(
    data: Set, ranges: ClassAttributes, measured: FloatArray, n_permutations: int
) -> dict:
    scores = ranges.log_likelihood(measured)
    found = scores.argmax(axis=1)
    right = found == data.labels
    orders = text_orders(len(data.classes), n_permutations)
    permuted = [(order[found] == data.labels).mean() for order in orders]
    p = (1 + sum(each >= right.mean() - 1e-9 for each in permuted)) / (1 + len(permuted))
    result = {
        "accuracy": rounded(summary([Outcome(right.astype(float), data.keys)])),
        "chance": round(1 / len(data.classes), 4),
        "permuted_ranges_mean": round(float(np.mean(permuted)), 4),
        "p": round(float(p), 4),
        "per_class": {
            name: round(float(right[data.labels == c].mean()), 4)
            for c, name in enumerate(data.classes)
        },
        "attributes_measured": int(np.isfinite(measured).any(axis=0).sum()),
    }
    if data.name == "appliances":
        result["best_one_to_one_naming"] = best_naming(data, found)
    return result


def best_naming(data: Set, found: IntArray) -> dict:
    """Return what the decisions are worth if the classes may be named anew, and if by chance.

    An upper bound: the naming is chosen on the same items.
    """

    def best(labels: IntArray) -> float:
        counts = np.zeros((len(data.classes),) * 2)
        np.add.at(counts, (labels, found), 1)
        return float(counts[linear_sum_assignment(-counts)].sum() / len(labels))

    generator = np.random.default_rng(2)
    by_chance = [best(generator.permutation(data.labels)) for _ in range(200)]
    observed = best(data.labels)
    p = (1 + sum(each >= observed - 1e-9 for each in by_chance)) / (1 + len(by_chance))
    return {
        "accuracy": round(observed, 4),
        "permuted_labels_mean": round(float(np.mean(by_chance)), 4),
        "p": round(float(p), 4),
    }


def rounded(found: Summary) -> dict[str, float]:
    return {"mean": round(found.mean, 4), "low": round(found.low, 4), "high": round(found.high, 4)}


def as_markdown(result: Mapping) -> str:
    lines = [
        f"MiniRocket features; {result['seeds']} seeds; 95 % intervals by bootstrap over items.",
        "Neither set names the persons or households of its recordings, so splits cannot keep them "
        "apart: expect less on new ones.",
    ]
    for name in ("basic-motions", "appliances"):
        each = result[name]
        lines += ["", f"## {name}: {each['n']} recordings of {len(each['classes'])} classes", ""]
        seen_table = each["seen"]
        lines += [
            f"Seen classes (chance {seen_table['chance']:.2f}):",
            "",
            "| arm | makers' split | halves by chance |",
            "|---|---|---|",
            *(
                f"| {arm} | {told(seen_table['makers_split'][arm])} | {told(row)} |"
                for arm, row in seen_table["five_splits"].items()
            ),
            f"| ridge head minus ridge probe, paired | | {told(seen_table['head_minus_probe'])} |",
            "",
        ]
        by_text = each["unseen_by_sentences"]
        verdict = "shown" if by_text["shown"] else "not shown"
        lines += [
            f"Unseen classes by sentences, {by_text['unseen_classes']} left out, "
            f"{by_text['draws']} draws, chance {by_text['chance']:.2f}, "
            f"{by_text['permutations']} permutations of the texts: **{verdict}**.",
            "",
            "| strength of the ridge | accuracy | permuted texts | p |",
            "|---|---|---|---|",
            *(
                f"| {row['strength']:g} | {row['accuracy']:.3f} | "
                f"{row['permuted_texts_mean']:.3f} | {row['p']:.3f} |"
                for row in by_text["by_strength"]
            ),
            "",
            "Measured attributes, no training:",
            "",
            "| measured | accuracy | chance | permuted ranges | p | renamed one to one at best | "
            "the same, labels permuted |",
            "|---|---|---|---|---|---|---|",
        ]
        for arm, row in each["attributes"].items():
            naming = row.get("best_one_to_one_naming")
            renamed = (
                f"{naming['accuracy']:.3f} (p = {naming['p']:.3f}) | "
                f"{naming['permuted_labels_mean']:.3f}"
                if naming
                else "| "
            )
            lines.append(
                f"| {arm} | {told(row['accuracy'])} | {row['chance']:.2f} | "
                f"{row['permuted_ranges_mean']:.3f} | {row['p']:.3f} | {renamed} |"
            )
    return "\n".join(lines) + "\n"


def told(row: Mapping[str, float]) -> str:
    return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


if __name__ == "__main__":
    main()
