"""How fast the towers of mini encode, against the plain torch loop and sentence-transformers.

    python benchmarks/encode_speed.py --threads 2     # writes benchmarks/results/encode_speed_*
    pip install sentence-transformers                 # optional: adds its arms

Every arm gets the same files and sentences in the same run, in turn, and its features are compared
with ours, so that a ratio is between equal results. Ratios travel between machines; the speeds are
this machine's. Where others use its cores too, compare with one thread: torch's threads wait for
each other at every layer, and then for whoever holds the core.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from unibind import weights
from unibind.datasets import fetch
from unibind.encoders import efficientnet_lite, minilm
from unibind.encoders.cache import FeatureCache
from unibind.encoders.compiled import n_threads
from unibind.encoders.networks.bert import from_hugging_face
from unibind.encoders.networks.efficientnet_lite import EfficientNetLite0
from unibind.encoders.pipeline import encode_sources
from unibind.knowledge.base import open_base
from unibind.modalities.image import IMAGE
from unibind.types import FloatArray

SEED = 0
OURS = "unibind"


@dataclass(frozen=True)
class Arm:
    name: str
    encode: Callable[[], FloatArray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=n_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    torch.set_num_threads(chosen.threads)
    for model in ("minilm-l6", "efficientnet-lite0", "imagenet-labels"):
        weights.fetch(model)
    paths, sentences = sample_images(chosen.images), sample_sentences(chosen.sentences)
    with tempfile.TemporaryDirectory() as cache:
        result = {
            "machine": {
                "cores": os.cpu_count(),
                "threads": chosen.threads,
                "load_before": round(os.getloadavg()[0], 1),
                "system": platform.platform(terse=True),
                "python": platform.python_version(),
                "versions": {name: version(name) for name in installed()},
            },
            "images": measure("images", image_arms(paths, Path(cache)), len(paths), chosen.repeats),
            "sentences": measure(
                "sentences", text_arms(sentences, Path(cache)), len(sentences), chosen.repeats
            ),
            "first sentence of a fresh process": measure_starts(chosen.repeats),
        }
    result["machine"]["load_after"] = round(os.getloadavg()[0], 1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    stem = f"encode_speed_{chosen.threads}_thread{'s' if chosen.threads > 1 else ''}"
    (chosen.out / f"{stem}.json").write_text(text + "\n", encoding="utf-8")
    (chosen.out / f"{stem}.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


def sample_images(n: int) -> list[Path]:
    paths = [item.path for item in fetch("stamps").items if item.path.suffix == ".png"]
    return [paths[i] for i in np.random.default_rng(SEED).choice(len(paths), n, replace=False)]


def sample_sentences(n: int) -> list[str]:
    lines = [line.text for line in open_base("everyday").lines]
    return [lines[i] for i in np.random.default_rng(SEED).choice(len(lines), n, replace=False)]


def installed() -> list[str]:
    names = ["torch", "onnxruntime", "transformers", "pillow", "sentence-transformers"]
    return [name for name in names if find_spec(name.replace("-", "_").replace("pillow", "PIL"))]


def image_arms(paths: list[Path], folder: Path) -> list[Arm]:
    ours = efficientnet_lite.load()
    state = torch.load(
        weights.path("efficientnet-lite0") / "efficientnet-lite0.pth", weights_only=True
    )
    network = EfficientNetLite0(state)

    def plain(batch_size: int) -> FloatArray:
        features = []
        for start in range(0, len(paths), batch_size):
            items = [IMAGE.read(path.read_bytes()) for path in paths[start : start + batch_size]]
            pixels = np.stack([efficientnet_lite.preprocess(item) for item in items])
            with torch.inference_mode():
                features.append(network.trunk(torch.from_numpy(pixels)).numpy())
        return np.concatenate(features)

    cache = FeatureCache.of(ours, folder)
    encode_sources(ours, paths, cache=cache)
    return [
        Arm(OURS, lambda: encode_sources(ours, paths).features),
        Arm("plain torch loop, one by one", lambda: plain(1)),
        Arm("plain torch loop, batches of 32", lambda: plain(32)),
        Arm("unibind, second run", lambda: encode_sources(ours, paths, cache=cache).features),
    ]


def text_arms(sentences: list[str], folder: Path) -> list[Arm]:
    ours = minilm.load()
    model = weights.path("minilm-l6")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(minilm.MAX_TOKENS)
    tokenizer.enable_padding()
    network = from_hugging_face(load_file(model / "model.safetensors"), n_heads=12).eval()

    def plain(batch_size: int) -> FloatArray:
        features = []
        for start in range(0, len(sentences), batch_size):
            pieces = tokenizer.encode_batch(sentences[start : start + batch_size])
            ids = torch.tensor([piece.ids for piece in pieces])
            mask = torch.tensor([piece.attention_mask for piece in pieces], dtype=torch.float32)
            with torch.inference_mode():
                features.append(network(ids, mask).numpy())
        return np.concatenate(features)

    cache = FeatureCache.of(ours, folder)
    encode_sources(ours, sentences, cache=cache)
    arms = [
        Arm(OURS, lambda: encode_sources(ours, sentences).features),
        Arm("plain torch loop, one by one", lambda: plain(1)),
        Arm("plain torch loop, batches of 32", lambda: plain(32)),
        Arm("unibind, second run", lambda: encode_sources(ours, sentences, cache=cache).features),
    ]
    if find_spec("sentence_transformers"):
        from sentence_transformers import SentenceTransformer

        whole = SentenceTransformer(str(model), device="cpu")
        theirs = SentenceTransformer(modules=[whole[0], whole[1]])  # without its normalisation
        arms.append(
            Arm(
                "sentence-transformers, batches of 32",
                lambda: theirs.encode(sentences, batch_size=32, show_progress_bar=False),
            )
        )
    return arms


def measure(what: str, arms: list[Arm], n: int, repeats: int) -> list[dict[str, object]]:
    expected = arms[0].encode()
    differences = {arm.name: float(np.abs(arm.encode() - expected).max()) for arm in arms}
    seconds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for repeat in range(repeats):
        print(f"{what}: round {repeat + 1} of {repeats}", file=sys.stderr)
        for arm in arms:
            start = time.perf_counter()
            arm.encode()
            seconds[arm.name].append(time.perf_counter() - start)
    return [
        {
            "arm": arm.name,
            **ratios(seconds[arm.name], seconds[OURS]),
            "per_second": n / statistics.median(seconds[arm.name]),
            "largest_difference": differences[arm.name],
        }
        for arm in arms
    ]


def ratios(theirs: list[float], ours: list[float]) -> dict[str, object]:
    """Return how many times as long as ours an arm takes: median and extremes over the rounds."""
    each = [their / our for their, our in zip(theirs, ours, strict=True)]
    return {
        "time_over_ours": statistics.median(each),
        "lowest": min(each),
        "highest": max(each),
    }


def measure_starts(repeats: int) -> list[dict[str, object]]:
    folder = str(weights.path("minilm-l6"))
    programs = {
        OURS: "from unibind.encoders import minilm; minilm.load().encode(['a cat'])",
        "transformers and torch": (
            "import torch; from transformers import AutoModel, AutoTokenizer\n"
            f"tokens = AutoTokenizer.from_pretrained({folder!r})(['a cat'], return_tensors='pt')\n"
            f"AutoModel.from_pretrained({folder!r})(**tokens).last_hidden_state.mean(dim=1)"
        ),
    }
    if find_spec("sentence_transformers"):
        programs["sentence-transformers"] = (
            "from sentence_transformers import SentenceTransformer\n"
            f"SentenceTransformer({folder!r}, device='cpu').encode(['a cat'])"
        )
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for repeat in range(repeats + 1):  # the first round warms the file system's cache
        print(f"starts: round {repeat} of {repeats}", file=sys.stderr)
        for name, program in programs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return [
        {
            "arm": name,
            **ratios(seconds[name], seconds[OURS]),
            "seconds": statistics.median(seconds[name]),
        }
        for name in programs
    ]


def as_markdown(result: dict) -> str:
    machine = result["machine"]
    used = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"# Encode speed, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}",
        "",
        "Time of each arm over ours: median over the rounds, in which the arms take turns, and "
        "[lowest, highest]. Above 1: ours is faster. Ours reads and decodes in further threads, "
        "beside those that encode; a second run finds its features in the cache.",
        "",
        f"{machine['cores']} cores, shared with other work (load {machine['load_before']} before, "
        f"{machine['load_after']} after), Python {machine['python']}, {used}.",
    ]
    for title in ("images", "sentences", "first sentence of a fresh process"):
        has_speed = "per_second" in result[title][0]
        last = f"{title} a second | largest difference of a feature" if has_speed else "seconds"
        lines += ["", f"## {title.capitalize()}", "", f"| arm | time over ours | {last} |"]
        lines.append("|---" * (4 if has_speed else 3) + "|")
        for row in result[title]:
            ratio = f"{row['time_over_ours']:.2f} [{row['lowest']:.2f}, {row['highest']:.2f}]"
            if has_speed:
                rest = f"{row['per_second']:.0f} | {row['largest_difference']:.1e}"
            else:
                rest = f"{row['seconds']:.2f}"
            lines.append(f"| {row['arm']} | {ratio} | {rest} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
