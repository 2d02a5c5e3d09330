"""What sounds can be told by: classes no head has heard, other recordings, pictures, measurements.

    scripts/bench audio                # writes benchmarks/results/audio.json and audio.md

Two sets of sounds that nobody recorded together: `stamps-sounds` and `learning-sounds`. Everything
that is chosen (strength of the ridge, weight of the measurements) is chosen by the aligner on
classes held out of its own training data.
"""

import argparse
import json
import re
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unibind import weights
from unibind.alignment.aligner import Aligner
from unibind.alignment.attributes import MEASURED_WEIGHT, ClassAttributes
from unibind.alignment.geometry import softmax, unit
from unibind.alignment.heads import Head
from unibind.alignment.hubs import without_hubs
from unibind.alignment.targets import Targets
from unibind.datasets import fetch
from unibind.encoders.aisfx import log_mel
from unibind.encoders.cache import FeatureCache
from unibind.encoders.pipeline import encode_sources
from unibind.encoders.registry import open_encoder
from unibind.engine import RECIPES, Engine
from unibind.evaluation.arms import Row, Tested, ranks_of, row_of
from unibind.evaluation.baselines import linear_probe
from unibind.evaluation.bootstrap import difference
from unibind.evaluation.captions import train_head
from unibind.evaluation.mixed import Mixed, harmonic_difference, harmonic_summary
from unibind.evaluation.names import ClassFinder
from unibind.evaluation.pictures import Pictures
from unibind.knowledge.base import KnowledgeBase, open_base
from unibind.measurement.sound import SoundMeter
from unibind.modalities.audio import read, samples_at
from unibind.types import FloatArray, IntArray

N_UNSEEN = 15
N_GALLERY = 28
N_PERMUTATIONS = 30
GENERALISED = f"seen and {N_UNSEEN} unseen classes on one list, both sets"
TRAINED, INDEPENDENT = "stamps-sounds", "learning-sounds"

# Named by a sound and by a picture, and read one by one: neither a bat of table tennis nor a fire
# truck stands for a bat or a fire.
CONCEPTS = (
    "apple", "bottle", "camera", "car", "cat", "chicken", "deer", "dog", "door", "drinking glass",
    "guitar", "hammer", "horse", "kettle", "motorcycle", "piano", "rabbit", "saw", "scissors",
    "toilet", "washing machine",
)  # fmt: skip

NOTES = {
    "chance": "measured: random scores",
    "raw log-mel": "mean and spread of 96 log-mel bands, a head trained on them",
    "head": "trained on sounds, corrected for hubs",
    "head, hubs kept": "plain cosine",
    "measured as a prior": "no training",
    "measured as a prior, permuted ranges": "control",
    "head + measured as a prior": "classes by their ranges, as points of the space; not shipped",
    "head, class names only": "no sentences",
    "head, wrong class's sentences": "control",
    "measured": "no training: seven attributes against written ranges",
    "measured, permuted ranges": "control: the ranges of other classes",
    "head + measured": "the shipped default; weight chosen on held-out training classes",
    "supervised: linear probe": "trained on the labels; knows no text",
    "supervised: nearest neighbour": "cosine of standardised features",
    "head, sounds' labels permuted": "control",
}


@dataclass(frozen=True, slots=True, eq=False)
class Sounds:
    """N sounds: features (N, 512), raw (N, 192), measured (N, 7), which of C classes, which set."""

    features: FloatArray
    raw: FloatArray
    measured: FloatArray
    labels: IntArray
    names: tuple[str, ...]
    sources: npt.NDArray[np.str_]

    def rows(self, classes: IntArray, *, source: str = "") -> IntArray:
        """Return the rows of classes, of one set or of all."""
        is_in = np.isin(self.labels, classes)
        return np.flatnonzero(is_in & (self.sources == source) if source else is_in)


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Per class the mean of its sentences, of its name alone, and whether it has sentences."""

    knowledge: FloatArray
    names: FloatArray
    is_known: npt.NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    for model in ("minilm-l6", "efficientnet-lite0", "imagenet-labels", "aisfx"):
        weights.fetch(model)
    base, sounds = open_base("everyday"), load()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine.from_recipe(RECIPES["mini"], Path(folder) / "space")
        texts = embed(engine, base, sounds.names)
        tables = {
            f"{N_UNSEEN} unseen classes, both sets": unseen(sounds, texts, base, chosen.seeds),
            f"{N_UNSEEN} unseen classes, {TRAINED} only": unseen(
                sounds, texts, base, chosen.seeds, source=TRAINED
            ),
            f"trained on {TRAINED}, tested on {INDEPENDENT}": independent(sounds, texts, base),
            "held-out sound to picture": to_pictures(engine, sounds, texts, chosen.seeds),
            f"measured attributes alone, {TRAINED}": measured_alone(sounds, base, TRAINED),
            f"measured attributes alone, {INDEPENDENT}": measured_alone(sounds, base, INDEPENDENT),
        }
    result = {
        name: {"table": rows, "differences_in_r_at_1": pairs}
        for name, (rows, pairs) in tables.items()
    }
    result[GENERALISED] = generalised(sounds, texts, base, chosen.seeds)
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (chosen.out / "audio.json").write_text(text + "\n", encoding="utf-8")
    (chosen.out / "audio.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


def load() -> Sounds:
    items = [(name, item) for name in (TRAINED, INDEPENDENT) for item in fetch(name).items]
    paths = [item.path for _, item in items]
    tower, meter = open_encoder("aisfx"), SoundMeter()
    with FeatureCache.of(tower) as cache:
        features = encode_sources(tower, paths, cache=cache).features
    decoded = [read(path.read_bytes()) for path in paths]
    bands = [log_mel(samples_at(sound, 44_100)) for sound in decoded]
    names = tuple(sorted({item.label for _, item in items}))
    return Sounds(
        features=features,
        raw=np.stack([np.concatenate([mel.mean(axis=0), mel.std(axis=0)]) for mel in bands]),
        measured=meter.measure(decoded),
        labels=np.array([names.index(item.label) for _, item in items]),
        names=names,
        sources=np.array([name for name, _ in items]),
    )


def embed(engine: Engine, base: KnowledgeBase, names: tuple[str, ...]) -> Texts:
    known = np.array([name in base.classes for name in names])
    lines = [
        [name, *(base.texts(name) if is_known else ())]
        for name, is_known in zip(names, known, strict=True)
    ]
    means = [engine.embed("text", each).mean(axis=0) for each in lines]
    return Texts(np.stack(means), engine.embed("text", list(names)), known)


def fit(
    sounds: Sounds,
    rows: IntArray,
    means: FloatArray,
    seed: int,
    *,
    inputs: FloatArray | None = None,
    base: KnowledgeBase | None = None,
    labels: IntArray | None = None,
) -> Head:
    """Return the head from rows of sounds to class means, shape (C, D); with base also the weight
    of what is measured."""
    labels = sounds.labels if labels is None else labels
    points = centred(means)[labels[rows]]
    targets = Targets.from_captions([sounds.names[c] for c in labels[rows]], points)
    measured = None
    if base is not None:
        ranges = attributes(base, targets.names)
        measured = ranges.log_likelihood(sounds.measured[rows])
    return Aligner(seed=seed).fit(
        (sounds.features if inputs is None else inputs)[rows],
        replace(targets, are_classes=True),
        space="benchmark",
        encoder="benchmark",
        measured=measured,
    )


def attributes(base: KnowledgeBase, classes: tuple[str, ...] | None = None) -> ClassAttributes:
    return ClassAttributes.of(
        base, "sound", classes=classes, attributes=list(SoundMeter.attributes)
    )


def scored(head: Head, inputs: FloatArray, means: FloatArray) -> FloatArray:
    """Return scores against classes' means, centred on what these share, hubs corrected."""
    points = centred(means)
    return without_hubs(head.project(inputs) @ points.T, head.references @ points.T)


def centred(means: FloatArray) -> FloatArray:
    """Return unit points less what all have in common, shape (C, D)."""
    return unit(means - means.mean(axis=0))


def measured_prior(
    sounds: Sounds, rows: IntArray, ranges: ClassAttributes, means: FloatArray
) -> FloatArray:
    """Return where the classes whose ranges fit lie in the space, shape (N, D): the mean of the
    points of all classes with ranges, weighted by how likely the measurements make them.

    Args:
        means: Of all classes with ranges, in the order of `ranges`, shape (R, D).
    """
    told = MEASURED_WEIGHT * ranges.log_likelihood(sounds.measured[rows])
    return unit(softmax(told) @ centred(means))


def fused(head: Head, scores: FloatArray, told: FloatArray) -> FloatArray:
    return scores / head.temperature + head.measured_weight * told


class Arms:
    """What each arm did under each seed; the tables are made of them."""

    def __init__(self) -> None:
        self._tested: dict[str, list[Tested]] = defaultdict(list)

    def add(self, scores: dict[str, FloatArray], answers: IntArray, clusters: list[str]) -> None:
        for arm, each in scores.items():
            ranks = ranks_of(each, answers)
            self._tested[arm].append(Tested(ranks, np.array(clusters), each.shape[1]))

    def report(
        self, *compared: tuple[str, str], default: str
    ) -> tuple[list[Row], dict[str, list[float]]]:
        rows = [
            row_of(arm, tested, default=arm == default, note=NOTES.get(arm, ""))
            for arm, tested in self._tested.items()
        ]
        pairs = {}
        for one, other in compared:
            within = [[each.within(1) for each in self._tested[arm]] for arm in (one, other)]
            found = difference(*within)
            pairs[f"{one} minus {other}"] = [
                round(x, 4) for x in (found.mean, found.low, found.high)
            ]
        return rows, pairs


def unseen(sounds: Sounds, texts: Texts, base: KnowledgeBase, n_draws: int, *, source: str = ""):
    """Classes that no head has heard, among themselves."""
    arms = Arms()
    heard = np.unique(sounds.labels[sounds.sources == TRAINED])
    candidates = heard[texts.is_known[heard]]
    everything = np.arange(len(sounds.names))
    for seed in range(n_draws):
        generator = np.random.default_rng(seed)
        held_out = np.sort(generator.permutation(candidates)[:N_UNSEEN])
        train = sounds.rows(np.setdiff1d(everything, held_out), source=source)
        test = sounds.rows(held_out, source=source)
        wrong = texts.knowledge[generator.permutation(len(texts.knowledge))]
        head = fit(sounds, train, texts.knowledge, seed, base=base)
        by_head = scored(head, sounds.features[test], texts.knowledge[held_out])
        ranges = attributes(base, tuple(sounds.names[c] for c in held_out))
        told = ranges.log_likelihood(sounds.measured[test])
        raw_head = fit(sounds, train, texts.knowledge, seed, inputs=sounds.raw)
        scores = {
            "chance": generator.random(by_head.shape, np.float32),
            "raw log-mel": scored(raw_head, sounds.raw[test], texts.knowledge[held_out]),
            "head": by_head,
            "head, hubs kept": head.project(sounds.features[test])
            @ centred(texts.knowledge[held_out]).T,
            "head, class names only": scored(
                fit(sounds, train, texts.names, seed), sounds.features[test], texts.names[held_out]
            ),
            "head, wrong class's sentences": scored(
                fit(sounds, train, wrong, seed), sounds.features[test], wrong[held_out]
            ),
            "measured": told,
            "measured, permuted ranges": ranges.permuted(generator).log_likelihood(
                sounds.measured[test]
            ),
            "head + measured": fused(head, by_head, told),
        }
        names = [sounds.names[c] for c in sounds.labels[test]]
        arms.add(scores, np.searchsorted(held_out, sounds.labels[test]), names)
        print(f"unseen {source or 'both'}: draw {seed + 1} of {n_draws}", flush=True)
    return arms.report(
        ("head", "raw log-mel"),
        ("head", "head, class names only"),
        ("head", "head, wrong class's sentences"),
        ("head + measured", "head"),
        ("head + measured", "measured"),
        default="head + measured",
    )


def generalised(sounds: Sounds, texts: Texts, base: KnowledgeBase, n_draws: int) -> dict:
    """Seen and unseen classes on one list: those of `unseen`, and all others that have sentences.

    Of a third of the clips of the others, drawn among classes with two or more, no head hears.
    """
    found: dict[str, list[Mixed]] = defaultdict(list)
    heard = np.unique(sounds.labels[sounds.sources == TRAINED])
    candidates = heard[texts.is_known[heard]]
    every = np.flatnonzero(texts.is_known)
    names = tuple(sounds.names[c] for c in every)
    ranges = attributes(base, names)
    for seed in range(n_draws):
        generator = np.random.default_rng(seed)
        hidden = np.sort(generator.permutation(candidates)[:N_UNSEEN])
        others = np.setdiff1d(np.arange(len(sounds.names)), hidden)
        rows = generator.permutation(sounds.rows(np.intersect1d(every, others)))
        _, first = np.unique(sounds.labels[rows], return_index=True)  # one clip stays of each
        spare = np.delete(rows, first)
        kept = spare[: len(rows) // 3]
        train = np.setdiff1d(sounds.rows(others), kept)
        test = np.concatenate([kept, sounds.rows(hidden)])
        answers, is_seen = np.searchsorted(every, sounds.labels[test]), ~np.isin(every, hidden)
        told = ranges.log_likelihood(sounds.measured[test])
        wrong = ranges.permuted(generator).log_likelihood(sounds.measured[test])
        head = fit(sounds, train, texts.knowledge, seed, base=base)
        plain = scored(head, sounds.features[test], texts.knowledge[every])
        penalty = head.seen_penalty / head.temperature * is_seen
        arms = {
            "head, uncalibrated": plain / head.temperature,
            "head + measured, uncalibrated": fused(head, plain, told),
            "head, calibrated": plain / head.temperature - penalty,
            "measured": told,
            "head + measured, calibrated": fused(head, plain, told) - penalty,
            "head + measured, permuted ranges": fused(head, plain, wrong) - penalty,
        }
        clusters = np.array(names)[answers]
        for arm, scores in arms.items():
            right = scores.argmax(axis=1) == answers
            found[arm].append(Mixed(right, is_seen[answers], clusters))
        print(f"generalised: draw {seed + 1} of {n_draws}", flush=True)
    best = "head + measured, calibrated"
    return {
        "n": round(float(np.mean([len(each.right) for each in found[best]]))),
        "gallery": len(every),
        "table": {arm: both_kinds(each) for arm, each in found.items()},
        "differences_in_harmonic": {
            f"{best} minus {arm}": asdict(harmonic_difference(found[best], each))
            for arm, each in found.items()
            if "uncal" not in arm and arm != best
        },
    }


def both_kinds(found: list[Mixed]) -> dict:
    """Return accuracies and their harmonic mean over draws."""
    told = harmonic_summary(found)
    return {
        "seen": round(float(np.mean([each.right[each.is_seen].mean() for each in found])), 4),
        "unseen": round(float(np.mean([each.right[~each.is_seen].mean() for each in found])), 4),
        "harmonic": round(told.mean, 4),
        "low": round(told.low, 4),
        "high": round(told.high, 4),
    }


def independent(sounds: Sounds, texts: Texts, base: KnowledgeBase):
    """Classes known from one clip or a few, in recordings of others."""
    arms = Arms()
    heard = np.unique(sounds.labels[sounds.sources == TRAINED])
    gallery = np.union1d(heard, np.flatnonzero(texts.is_known))
    train, test = sounds.rows(heard, source=TRAINED), sounds.rows(heard, source=INDEPENDENT)
    answers = np.searchsorted(gallery, sounds.labels[test])
    names = [sounds.names[c] for c in sounds.labels[test]]
    ranges = attributes(base, tuple(sounds.names[c] for c in gallery))
    told = ranges.log_likelihood(sounds.measured[test])
    by_label = supervised(sounds, train, test, gallery)
    for seed in range(5):
        generator = np.random.default_rng(seed)
        head = fit(sounds, train, texts.knowledge, seed, base=base)
        by_head = scored(head, sounds.features[test], texts.knowledge[gallery])
        raw_head = fit(sounds, train, texts.knowledge, seed, inputs=sounds.raw)
        wrong = texts.knowledge[generator.permutation(len(texts.knowledge))]
        scores = {
            "chance": generator.random(by_head.shape, np.float32),
            "raw log-mel": scored(raw_head, sounds.raw[test], texts.knowledge[gallery]),
            "head": by_head,
            "head, hubs kept": head.project(sounds.features[test])
            @ centred(texts.knowledge[gallery]).T,
            "head, class names only": scored(
                fit(sounds, train, texts.names, seed), sounds.features[test], texts.names[gallery]
            ),
            "head, wrong class's sentences": scored(
                fit(sounds, train, wrong, seed), sounds.features[test], wrong[gallery]
            ),
            "measured": told,
            "measured, permuted ranges": ranges.permuted(generator).log_likelihood(
                sounds.measured[test]
            ),
            "head + measured": fused(head, by_head, told),
            **by_label,
        }
        arms.add(scores, answers, names)
        print(f"independent: seed {seed + 1} of 5, {len(test)} clips", flush=True)
    return arms.report(
        ("head", "raw log-mel"),
        ("head", "supervised: linear probe"),
        ("head + measured", "head"),
        ("head + measured", "measured"),
        default="head + measured",
    )


def supervised(
    sounds: Sounds, train: IntArray, test: IntArray, gallery: IntArray
) -> dict[str, FloatArray]:
    """Return what the labels alone teach; a class without a clip is never answered."""
    mean, scale = sounds.features[train].mean(axis=0), sounds.features[train].std(axis=0) + 1e-6
    known, asked = ((sounds.features[rows] - mean) / scale for rows in (train, test))
    columns = np.searchsorted(gallery, sounds.labels[train])
    weight, bias = linear_probe(known.astype(np.float32), columns, n_classes=len(gallery))
    is_missing = ~np.isin(np.arange(len(gallery)), columns)
    probe = np.where(is_missing, -np.inf, asked @ weight + bias)
    likeness = unit(asked) @ unit(known).T
    nearest = np.full(probe.shape, -2.0, np.float32)
    for row, column in enumerate(columns):
        nearest[:, column] = np.maximum(nearest[:, column], likeness[:, row])
    return {"supervised: linear probe": probe, "supervised: nearest neighbour": nearest}


def to_pictures(engine: Engine, sounds: Sounds, texts: Texts, n_seeds: int):
    """Sounds of held-out concepts among pictures of held-out concepts; both heads saw text only."""
    prior = engine.prior("image")
    pictures = Pictures.of(
        [fetch("emoji"), fetch("stamps")],
        encoder=engine.encoder("image"),
        prior=prior,
        embed_texts=lambda captions: engine.embed("text", list(captions)),
        space=engine.space.id,
    )
    base = open_base("everyday")
    ranged = embed(engine, base, attributes(base).labels).knowledge
    finder = ClassFinder(base.classes)
    shown = np.array([finder.find(caption) or "" for caption in pictures.captions])
    stamps = pictures.rows_of("stamps")
    concepts = [name for name in CONCEPTS if np.any(shown == name)]
    others = sorted(set(shown[stamps]) - {"", *CONCEPTS})

    def drawings(name: str) -> IntArray:
        own = stamps[shown[stamps] == name]
        return own if len(own) else np.flatnonzero(shown == name)  # emoji where there is no stamp

    arms = Arms()
    for seed in range(n_seeds):
        generator = np.random.default_rng(seed)
        more = generator.permutation(others)[: N_GALLERY - len(concepts)].tolist()
        held_out = sorted([*concepts, *more])
        spoken = re.compile(
            rf"\b({'|'.join(map(re.escape, {*held_out, *CONCEPTS}))})", re.IGNORECASE
        )
        rows = [
            row
            for row, caption in enumerate(pictures.captions)
            if shown[row] not in held_out and not spoken.search(caption)
        ]
        image_head = train_head(pictures, np.array(rows), "stamps", seed=seed)
        drawn = [int(generator.choice(drawings(name))) for name in held_out]
        embedded = image_head.embed(pictures.inputs[drawn], pictures.prior[drawn])
        banned = [c for c, name in enumerate(sounds.names) if name in {*held_out, *CONCEPTS}]
        train = sounds.rows(np.setdiff1d(np.arange(len(sounds.names)), banned))
        test = sounds.rows(np.array([sounds.names.index(n) for n in concepts if n in sounds.names]))
        dealt = sounds.labels.copy()
        dealt[train] = generator.permutation(dealt[train])
        head = fit(sounds, train, texts.knowledge, seed)
        by_range = measured_prior(sounds, test, attributes(base), ranged)
        both = unit(head.project(sounds.features[test]) + by_range)
        arms.add(
            {
                "chance": generator.random((len(test), len(drawn)), np.float32),
                "raw log-mel": scored(
                    fit(sounds, train, texts.knowledge, seed, inputs=sounds.raw),
                    sounds.raw[test],
                    embedded,
                ),
                "head": scored(head, sounds.features[test], embedded),
                "head, hubs kept": head.project(sounds.features[test]) @ centred(embedded).T,
                "measured as a prior": by_range @ centred(embedded).T,
                "measured as a prior, permuted ranges": measured_prior(
                    sounds, test, attributes(base).permuted(generator), ranged
                )
                @ centred(embedded).T,
                "head + measured as a prior": both @ centred(embedded).T,
                "head, sounds' labels permuted": scored(
                    fit(sounds, train, texts.knowledge, seed, labels=dealt),
                    sounds.features[test],
                    embedded,
                ),
            },
            np.array([held_out.index(sounds.names[c]) for c in sounds.labels[test]]),
            [sounds.names[c] for c in sounds.labels[test]],
        )
        print(f"pictures: seed {seed + 1} of {n_seeds}, {len(concepts)} concepts", flush=True)
    return arms.report(
        ("head", "raw log-mel"),
        ("head", "head, sounds' labels permuted"),
        ("head + measured as a prior", "head"),
        default="head",
    )


def measured_alone(sounds: Sounds, base: KnowledgeBase, source: str):
    """Every class that has ranges is a candidate; nothing was trained."""
    arms, ranges = Arms(), attributes(base)
    with_ranges = [c for c, name in enumerate(sounds.names) if name in ranges.labels]
    test = sounds.rows(np.array(with_ranges), source=source)
    names = [sounds.names[c] for c in sounds.labels[test]]
    answers = np.array([ranges.labels.index(name) for name in names])
    for seed in range(N_PERMUTATIONS):
        generator = np.random.default_rng(seed)
        values = sounds.measured[test]
        without = values.copy()
        without[:, seed % values.shape[1]] = np.nan
        scores = {
            "chance": generator.random((len(test), len(ranges.labels)), np.float32),
            "measured": ranges.log_likelihood(values),
            "measured, permuted ranges": ranges.permuted(generator).log_likelihood(values),
        }
        arms.add(scores, answers, names)
    return arms.report(("measured", "measured, permuted ranges"), default="measured")


def as_markdown(result: dict) -> str:
    lines = [
        "# Sounds",
        "",
        f"Encoder `aisfx`, text `minilm-l6`, knowledge base `everyday`. Each interval is 95 % by "
        f"bootstrap over classes. A measured weight of {MEASURED_WEIGHT} stands where nothing was "
        "chosen.",
    ]
    for name, found in result.items():
        if name == GENERALISED:
            lines += mixed_as_markdown(found)
            continue
        first = found["table"][0]
        lines += [
            "",
            f"## {name[0].upper()}{name[1:]}",
            "",
            f"About {first['n']} clips, {first['gallery']} candidates, {first['seeds']} seeds.",
            "",
            "| arm | R@1 | R@5 | |",
            "|---|---|---|---|",
        ]
        for row in found["table"]:
            ones = "{:.3f} [{:.3f}, {:.3f}]".format(row["r_at_1"], *row["interval_r_at_1"])
            fives = "{:.3f} [{:.3f}, {:.3f}]".format(row["r_at_5"], *row["interval_r_at_5"])
            arm = f"**{row['arm']}**" if row["default"] else row["arm"]
            lines.append(f"| {arm} | {ones} | {fives} | {row['note']} |")
        lines.append("")
        for pair, (mean, low, high) in found["differences_in_r_at_1"].items():
            lines.append(f"- {pair}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    return "\n".join(lines) + "\n"


def mixed_as_markdown(found: dict) -> list[str]:
    lines = [
        "",
        f"## {GENERALISED[0].upper()}{GENERALISED[1:]}",
        "",
        f"About {found['n']} clips, {found['gallery']} candidates.",
        "",
        "| arm | seen | unseen | harmonic mean |",
        "|---|---|---|---|",
    ]
    for arm, each in found["table"].items():
        lines.append(
            f"| {arm} | {each['seen']:.3f} | {each['unseen']:.3f} | {each['harmonic']:.3f} "
            f"[{each['low']:.3f}, {each['high']:.3f}] |"
        )
    lines.append("")
    for pair, each in found["differences_in_harmonic"].items():
        lines.append(f"- {pair}: {each['mean']:+.3f} [{each['low']:+.3f}, {each['high']:+.3f}]")
    return lines


if __name__ == "__main__":
    main()
