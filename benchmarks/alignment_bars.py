"""The aligner's bars on stamps and emoji together: arms, controls, both kinds of classes, balance.

The protocol of docs/method.md: classes of `everyday` that three pictures or more name, a third of
them unseen. Each bar stands beside its control in the same run.
"""

import argparse
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import numpy as np

import unibind
from unibind import datasets
from unibind.evaluation.balance import Crowd, draw_matrix, measure_balance
from unibind.evaluation.captions import hold_out_captions, train_head
from unibind.evaluation.zero_shot import label_pictures, zero_shot
from unibind.knowledge.base import open_base
from unibind.quickstart.measure import load_pictures

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--space", default="indexes/mini-benchmark")
    arguments = parser.parse_args()
    base = open_base("everyday")
    with unibind.open(arguments.space, recipe="mini") as engine:
        pictures = load_pictures(engine, [datasets.fetch(name) for name in ("stamps", "emoji")])
        labelled = label_pictures(pictures, base.classes)
        outcome = zero_shot(
            labelled,
            knowledge=engine.centers(knowledge=base, classes=labelled.classes),
            names=engine.centers(classes=labelled.classes),
            seeds=range(arguments.seeds),
        )
        balance = held_out_balance(pictures)
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "seeds": arguments.seeds,
        "pictures": len(labelled.rows),
        "classes": len(labelled.classes),
        "knowledge": base.content_id,
        **asdict(outcome),
        "balance": asdict(balance),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "alignment_balance.png").write_bytes(draw_matrix(balance))
    told = json.dumps(result, indent=2) + "\n"
    (RESULTS / "alignment_bars.json").write_text(told, encoding="utf-8")
    print(told)


def held_out_balance(pictures):
    """Return the balance between held-out pictures and their captions, by a head of the others."""
    split = hold_out_captions(pictures, "stamps", seed=0)
    head = train_head(pictures, split.train, "stamps", seed=0)
    names = [pictures.captions[row] for row in split.test]
    rows = np.array([names.index(name) for name in sorted(set(names))])
    return measure_balance(
        {
            "image": Crowd(
                head.embed(pictures.inputs[split.test], pictures.prior[split.test]), names
            ),
            "text": Crowd(pictures.texts[split.test[rows]], [names[row] for row in rows]),
        }
    )


if __name__ == "__main__":
    main()
