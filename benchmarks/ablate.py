"""Whether a language model's sentences help, per modality: a model card each, by `unibind ablate`.

    scripts/bench ablate               # writes benchmarks/results/cards/
    scripts/bench ablate audio video   # these only

What each card is made of stands in benchmarks/ablate.toml. `unibind.engine.recipes` ships what the
cards chose, and a test compares the two.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from unibind import weights
from unibind.datasets import SETS, fetch
from unibind.modalities.event_simulation import simulate_saccades

HERE = Path(__file__).parent
CARDS = HERE / "results" / "cards"
EVENTS, N_RECORDINGS = "simulated-events", 40


def main() -> None:
    recipes = tomllib.loads((HERE / "ablate.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cards", nargs="*", help=", ".join(recipes))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=CARDS)
    chosen = parser.parse_args()
    unknown = set(chosen.cards) - set(recipes)
    if unknown:
        parser.error(f"no card {', '.join(sorted(unknown))}; there are {', '.join(recipes)}")
    for model in weights.MODELS.values():
        if model.in_mini:
            weights.fetch(model.name)
    out = chosen.out.resolve()
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.cards or recipes:
            recipe = {"modality": name, "seeds": chosen.seeds, **recipes[name]}
            for each in recipe["data"]:
                if each in SETS:
                    fetch(each)
            if EVENTS in recipe["data"]:
                simulate(Path(folder) / EVENTS)
            recipe["card"] = str(out / name)
            command = [sys.executable, "-m", "unibind", "ablate", *arguments(recipe)]
            print(f"== {name}: unibind ablate {' '.join(arguments(recipe))}", flush=True)
            subprocess.run(command, cwd=folder, check=True)
    (out / "README.md").write_text(overview(out, list(recipes)), encoding="utf-8")


def arguments(recipe: dict) -> list[str]:
    told = []
    for name, value in recipe.items():
        for each in value if isinstance(value, list) else [value]:
            told += [f"--{name}"] if each is True else [f"--{name}", str(each)]
    return told


def simulate(folder: Path) -> None:
    """Write what an event camera would have seen of clothes, as a folder of classes."""
    done: dict[str, int] = defaultdict(int)
    for item in fetch("fashion-mnist").items:
        if item.split != "train" or done[item.label] == N_RECORDINGS:
            continue
        done[item.label] += 1
        seen = simulate_saccades(np.asarray(Image.open(item.path)))
        times = np.round(seen.t_s * 1e6).astype(np.int64)
        place = folder / item.label.replace("/", " ") / f"{done[item.label]:02}.npz"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            place, t_us=times, x=seen.x, y=seen.y, p=seen.polarity.astype(np.int8),
            width=seen.width, height=seen.height,
        )  # fmt: skip


def overview(cards: Path, names: list[str]) -> str:
    """Return all cards in one table."""
    lines = [
        "# Model cards",
        "",
        "Made by `scripts/bench ablate` from `benchmarks/ablate.toml`. Accuracy among classes that "
        "no head has seen, five seeds; LLM is a class's name and fifteen sentences about it.",
        "",
        "| card | classes | items | chance | name | domain word | random words | LLM "
        "| LLM less domain word | stands for a class |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        if not (cards / name / "card.json").is_file():
            continue
        card = json.loads((cards / name / "card.json").read_text(encoding="utf-8"))
        about = card["about"]
        unseen = {row["arm"]: row["unseen"]["mean"] for row in card["rows"] if row["unseen"]}
        less = card["differences"]["unseen"]["domain word"]
        arms = ("class name", "domain word", "shared random words", "LLM")
        cells = [
            f"[{name}]({name}/card.md)",
            about["classes"],
            about["items"],
            f"{about['chance_unseen']:.3f}",
            *(f"{unseen[arm]:.3f}" for arm in arms),
            f"{less['mean']:+.3f} [{less['low']:+.3f}, {less['high']:+.3f}]",
            card["chosen"],
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
