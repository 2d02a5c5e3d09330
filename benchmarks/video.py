"""Whether animated emoji find their names, of which no picture was trained on, and what time adds.

    scripts/bench video                # writes benchmarks/results/video.json and video.md

The head is the one of pictures, trained on the drawn emoji of two other houses. A clip's own
concept is never among them, nor one that differs from it by the sex of a person only. The clip,
sixteen frames averaged, stands beside its middle frame alone; both are paired.
"""

import argparse
import json
import re
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import numpy as np

from unibind import weights
from unibind.alignment.aligner import Aligner
from unibind.alignment.geometry import unit
from unibind.alignment.heads import Head, head_inputs
from unibind.alignment.hubs import without_hubs
from unibind.alignment.targets import Targets
from unibind.datasets import Dataset, fetch
from unibind.encoders.cache import FeatureCache
from unibind.encoders.pipeline import encode_sources
from unibind.encoders.registry import open_encoder
from unibind.engine import RECIPES, Engine
from unibind.evaluation.arms import Row, Tested, ranks_of, row_of
from unibind.evaluation.baselines import RawPixels
from unibind.evaluation.bootstrap import difference
from unibind.evaluation.captions import train_head
from unibind.evaluation.names import plain_name
from unibind.evaluation.pictures import Pictures
from unibind.modalities.video import VIDEO
from unibind.types import FloatArray, IntArray

SHARE = 0.8
"""Of the other concepts, drawn anew by each seed, that a head is trained on."""

DEFAULT = "clip, head + prior"
PAIRS = (
    (DEFAULT, "middle frame, head + prior"),
    ("clip, prior", "middle frame, prior"),
    (DEFAULT, "clip, head + prior, captions permuted"),
    (DEFAULT, "raw pixels of the middle frame"),
)
NOTES = {
    "chance": "measured: random scores",
    "raw pixels of the middle frame": "16 x 16 pixels, a head trained on pixels",
    "clip, prior": "no training",
    "middle frame, prior": "no training",
    DEFAULT: "the shipped default: 16 frames averaged",
    "clip, head + prior, captions permuted": "control: a head trained on wrong captions",
    "a drawing of the same concept": "what the head makes of a still of another house",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    for model in ("minilm-l6", "efficientnet-lite0", "imagenet-labels"):
        weights.fetch(model)
    clips, drawings = fetch("emoji-motion"), fetch("emoji")
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine.from_recipe(RECIPES["mini"], Path(folder) / "space")
        table, pairs = measure(engine, clips, drawings, range(chosen.seeds))
    result = {
        "n_clips": len(clips),
        "seeds": chosen.seeds,
        "table": table,
        "differences_in_r_at_1": pairs,
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (chosen.out / "video.json").write_text(text + "\n", encoding="utf-8")
    (chosen.out / "video.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


def measure(engine: Engine, clips: Dataset, drawings: Dataset, seeds: range):
    prior = engine.prior("image")
    pictures = Pictures.of(
        [drawings],
        encoder=engine.encoder("image"),
        prior=prior,
        embed_texts=lambda texts: engine.embed("text", list(texts)),
        space=engine.space.id,
    )
    labels = [item.label for item in clips.items]
    seen = {"clip": features_of(clips, {}), "middle frame": features_of(clips, {"n_frames": 1})}
    inputs = {name: head_inputs(engine.encoder("image"), each) for name, each in seen.items()}
    priors = {name: prior.embed(each) for name, each in seen.items()}
    texts = engine.embed("text", labels)
    points = unit(texts - texts.mean(axis=0))
    still = [pictures.captions.index(label) for label in labels]
    tested: dict[str, list[Tested]] = defaultdict(list)
    for seed in seeds:
        rows = training_rows(pictures, labels, seed)
        head = train_head(pictures, rows, "emoji", seed=seed)
        pixel_head = train_head(pictures, rows, "emoji", seed=seed, inputs=pictures.pixels)
        wrong = permuted_head(pictures, rows, head, seed)
        scores: dict[str, FloatArray] = {
            "chance": np.random.default_rng(seed).random((len(labels),) * 2, np.float32),
            "raw pixels of the middle frame": pixel_head.project(middle_pixels(clips)) @ points.T,
        }
        for name in ("middle frame", "clip"):
            scores[f"{name}, prior"] = priors[name] @ points.T
            scores[f"{name}, head + prior"] = scored(head, inputs[name], priors[name], points)
        scores["clip, head + prior, captions permuted"] = scored(
            wrong, inputs["clip"], priors["clip"], points
        )
        scores["a drawing of the same concept"] = scored(
            head, pictures.inputs[still], pictures.prior[still], points
        )
        for arm, each in scores.items():
            ranks = ranks_of(each, np.arange(len(labels)))
            tested[arm].append(Tested(ranks, np.array(labels), len(labels)))
    table = [
        row_of(arm, each, default=arm == DEFAULT, note=NOTES.get(arm, ""))
        for arm, each in tested.items()
    ]
    within = {arm: [each.within(1) for each in outcomes] for arm, outcomes in tested.items()}
    pairs = {f"{a} minus {b}": asdict(difference(within[a], within[b])) for a, b in PAIRS}
    return table, pairs


def features_of(clips: Dataset, options: dict[str, int]) -> FloatArray:
    encoder = open_encoder("video-frames")
    with FeatureCache.of(encoder) as cache:
        paths = [item.path for item in clips.items]
        encoded = encode_sources(encoder, paths, options=options, cache=cache, batch_size=8)
    assert not encoded.failures, encoded.failures[0]
    return encoded.features


def middle_pixels(clips: Dataset) -> FloatArray:
    frames = [VIDEO.read(item.path.read_bytes(), n_frames=1).frames[0] for item in clips.items]
    return RawPixels().encode(frames)


def without_sex(label: str) -> str:
    words = re.findall(r"\w+", plain_name(label))
    people = {"man", "woman", "men", "women", "person", "people", "boy", "girl"}
    return " ".join(word for word in words if word not in people)


def training_rows(pictures: Pictures, held_out: list[str], seed: int) -> IntArray:
    """Return rows of a share of the concepts that no clip shows, drawn by the seed."""
    near = {without_sex(label) for label in held_out}
    others = sorted({c for c in pictures.captions if without_sex(c) not in near})
    drawn = np.random.default_rng(seed).permutation(others)[: round(SHARE * len(others))]
    return np.flatnonzero(np.isin(pictures.captions, drawn))


def permuted_head(pictures: Pictures, rows: IntArray, like: Head, seed: int) -> Head:
    order = np.random.default_rng(seed).permutation(rows)
    targets = Targets.from_captions([pictures.captions[n] for n in order], pictures.texts[order])
    aligner = Aligner(strength=like.params["strength"], prior_weight=like.prior_weight, seed=seed)
    return aligner.fit(
        pictures.inputs[rows],
        targets,
        space=pictures.space,
        encoder=pictures.encoder,
        prior=pictures.prior[rows],
    )


def scored(head: Head, inputs: FloatArray, prior: FloatArray, points: FloatArray) -> FloatArray:
    return without_hubs(head.embed(inputs, prior) @ points.T, head.references @ points.T)


def as_markdown(result: dict) -> str:
    table: list[Row] = result["table"]
    lines = [
        "# Animated emoji find their names",
        "",
        f"{result['n_clips']} clips against the names of all {result['n_clips']}; "
        f"{result['seeds']} seeds (each trains on another 80 % of the other concepts' drawings), "
        "95 % intervals by bootstrap over concepts.",
        "",
        "| arm | R@1 | R@5 | |",
        "|---|---|---|---|",
    ]
    for row in table:
        cells = [
            f"{row[name]:.3f} [{row[f'interval_{name}'][0]:.3f}, {row[f'interval_{name}'][1]:.3f}]"
            for name in ("r_at_1", "r_at_5")
        ]
        name = f"**{row['arm']}**" if row["default"] else row["arm"]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {row['note']} |")
    lines += ["", "| paired difference in R@1 | mean | 95 % interval |", "|---|---|---|"]
    for name, found in result["differences_in_r_at_1"].items():
        lines.append(
            f"| {name} | {found['mean']:+.3f} | {found['low']:+.3f} to {found['high']:+.3f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
