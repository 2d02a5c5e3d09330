"""Which words are these? Spoken prompts against the words of prompts that no head has heard.

    scripts/bench speech               # writes benchmarks/results/speech.json and speech.md

The set `prompts-en`, one voice, 8 kHz: prompts of four words or more. A third of the texts is held
out; a head from the encoder's features to the texts' embeddings is trained on the others.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from unibind import weights
from unibind.alignment.aligner import Aligner
from unibind.alignment.geometry import unit
from unibind.alignment.hubs import without_hubs
from unibind.alignment.targets import Targets
from unibind.datasets import fetch
from unibind.encoders.aisfx import log_mel
from unibind.encoders.cache import FeatureCache
from unibind.encoders.pipeline import encode_sources
from unibind.encoders.registry import open_encoder
from unibind.engine import RECIPES, Engine
from unibind.evaluation.arms import Tested, ranks_of, row_of
from unibind.modalities.audio import read, samples_at
from unibind.types import FloatArray

LEAST_WORDS = 4
HELD_OUT_SHARE = 1 / 3
ENCODERS = ("whisper-tiny-en", "aisfx")
NOTES = {
    "chance": "measured: random scores",
    "raw log-mel": "mean and spread of 96 log-mel bands, a head trained on them",
    "whisper-tiny-en, texts permuted": "control",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    for model in ("minilm-l6", "imagenet-labels", *ENCODERS):
        weights.fetch(model)
    items = [item for item in fetch("prompts-en").items if len(item.caption.split()) >= LEAST_WORDS]
    paths = [item.path for item in items]
    inputs = {"raw log-mel": np.stack([raw(path) for path in paths])}
    for name in ENCODERS:
        tower = open_encoder(name)
        with FeatureCache.of(tower) as cache:
            inputs[name] = encode_sources(tower, paths, cache=cache, batch_size=4).features
        print(f"{name}: {len(paths)} prompts", flush=True)
    captions = [item.caption for item in items]
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine.from_recipe(RECIPES["mini"], Path(folder) / "space")
        texts = engine.embed("text", captions)
    rows = table(inputs, captions, texts, range(chosen.seeds))
    chosen.out.mkdir(parents=True, exist_ok=True)
    result = {"n_prompts": len(items), "n_texts": len(set(captions)), "table": rows}
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (chosen.out / "speech.json").write_text(text + "\n", encoding="utf-8")
    (chosen.out / "speech.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


def raw(path: Path) -> FloatArray:
    mel = log_mel(samples_at(read(path.read_bytes()), 44_100))
    return np.concatenate([mel.mean(axis=0), mel.std(axis=0)])


def table(inputs: dict[str, FloatArray], captions: list[str], texts: FloatArray, seeds: range):
    distinct = sorted(set(captions))
    number = {caption: n for n, caption in enumerate(distinct)}
    said = np.array([number[caption] for caption in captions])
    points = np.stack([texts[captions.index(caption)] for caption in distinct])
    tested = defaultdict(list)
    for seed in seeds:
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(distinct))
        held_out = np.sort(order[: round(len(distinct) * HELD_OUT_SHARE)])
        test = np.flatnonzero(np.isin(said, held_out))
        train = np.flatnonzero(~np.isin(said, held_out))
        gallery = unit(points[held_out] - points[held_out].mean(axis=0))
        scores = {"chance": generator.random((len(test), len(held_out)), np.float32)}
        arms = {name: (features, train) for name, features in inputs.items()}
        arms["whisper-tiny-en, texts permuted"] = (
            inputs["whisper-tiny-en"],
            generator.permutation(train),
        )
        for name, (features, told) in arms.items():
            head = Aligner(seed=seed).fit(
                features[train],
                Targets.from_captions([captions[row] for row in told], texts[told]),
                space="benchmark",
                encoder="benchmark",
            )
            scores[name] = without_hubs(
                head.embed(features[test]) @ gallery.T, head.references @ gallery.T
            )
        for name, each in scores.items():
            ranks = ranks_of(each, np.searchsorted(held_out, said[test]))
            clusters = np.array([captions[row] for row in test])
            tested[name].append(Tested(ranks, clusters, len(held_out)))
    return [
        row_of(name, each, default=name == ENCODERS[0], note=NOTES.get(name, ""))
        for name, each in tested.items()
    ]


def as_markdown(result: dict) -> str:
    first = result["table"][0]
    lines = [
        "# Speech",
        "",
        f"{result['n_prompts']} spoken prompts of one voice, {result['n_texts']} texts; about "
        f"{first['n']} prompts a seed against {first['gallery']} texts that were not trained on, "
        f"{first['seeds']} seeds, [95 % by bootstrap over texts].",
        "",
        "| arm | R@1 | R@5 | |",
        "|---|---|---|---|",
    ]
    for row in result["table"]:
        ones = "{:.3f} [{:.3f}, {:.3f}]".format(row["r_at_1"], *row["interval_r_at_1"])
        fives = "{:.3f} [{:.3f}, {:.3f}]".format(row["r_at_5"], *row["interval_r_at_5"])
        arm = f"**{row['arm']}**" if row["default"] else row["arm"]
        lines.append(f"| {arm} | {ones} | {fives} | {row['note']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
