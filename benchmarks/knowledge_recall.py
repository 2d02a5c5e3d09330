"""What lint finds of planted faults, by kind, where it was tuned and where it was not.

Every kind is planted equally often. Lint was made while looking at one half of the classes of
everyday and one set of texts; the other half and the other texts were kept aside. Beside it, for
lines of another class, stands what a linear probe finds that is trained on all other clean lines.

    python benchmarks/knowledge_recall.py [--seeds 6] > benchmarks/results/knowledge_recall.json
"""

import argparse
import json
import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "knowledge"))
from planted import Half, Planted, half_of, plant

from unibind.cli.text_tower import TextTower, load_tower
from unibind.knowledge.base import open_base
from unibind.knowledge.lint import Finding, lint
from unibind.knowledge.values import KnowledgeBase
from unibind.types import FloatArray


def linted(base: KnowledgeBase, tower: TextTower) -> list[Finding]:
    return lint(
        base,
        encoder=tower.encoder,
        count_tokens=tower.count_tokens,
        max_tokens=tower.max_tokens,
    )


def share(n: int, total: int) -> dict[str, float | int]:
    """Return a share with Wilson's 95 % interval."""
    p, z = n / total, 1.96
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"share": round(p, 3), "low": round(low, 3), "high": round(high, 3), "n": total}


def is_found(planted: Planted, row: int, kind: str, findings: list[Finding]) -> bool:
    return any(
        found.row == row and (kind != "classes-too-close" or found.kind == kind)
        for found in findings
    )


def recall(base: KnowledgeBase, tower: TextTower, half: Half, seeds: range) -> dict[str, object]:
    total: Counter[str] = Counter()
    found: Counter[str] = Counter()
    n_clean = n_flagged = 0
    for seed in seeds:
        planted = plant(base, half=half, seed=seed)
        findings = linted(planted.base, tower)
        for row, kind in planted.kinds.items():
            names = [kind, "overall"]
            names += [f"{kind}: {planted.forms[row]}"] if row in planted.forms else []
            total.update(names)
            if is_found(planted, row, kind, findings):
                found.update(names)
        # A line that was copied is rightly told of.
        copies = {"duplicate", "near-duplicate"}
        flagged = {x.row for x in findings if x.row not in planted.kinds and x.kind not in copies}
        n_flagged += len(flagged)
        n_clean += len(planted.base.lines) - len(planted.kinds)
    shares = {kind: share(found[kind], total[kind]) for kind in sorted(total)}
    return {"recall": shares, "clean_lines_flagged_beside_faults": share(n_flagged, n_clean)}


def clean(base: KnowledgeBase, tower: TextTower) -> dict[str, object]:
    findings = linted(base, tower)
    return {
        "flagged": share(len({f.row for f in findings}), len(base.lines)),
        "findings": dict(Counter(f.kind for f in findings)),
    }


def probe_reference(
    base: KnowledgeBase, tower: TextTower, seeds: range, *, within: bool
) -> dict[str, object]:
    """Return what lint's margin and a linear probe find of moved lines, at 1 % false alarms."""
    assert tower.encoder is not None
    vectors = tower.encoder.encode([line.text for line in base.lines])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    number = {name: at for at, name in enumerate(base.classes)}
    labels = np.array([number[line.class_name] for line in base.lines])
    logits = held_out_logits(vectors, labels)
    row_of = {line.text: row for row, line in enumerate(base.lines)}
    n_lint = n_probe = n = 0
    threshold = np.quantile(margins(logits, labels), 0.99)
    for seed in seeds:
        planted = plant(base, half="tuning", seed=seed, is_within_group=within)
        flagged = {finding.row for finding in linted(planted.base, tower)}
        for row, kind in planted.kinds.items():
            line = planted.base.lines[row - 1]
            if kind != "misplaced" or line.class_name not in number:
                continue
            assigned = np.array([number[line.class_name]])
            n += 1
            n_lint += row in flagged
            n_probe += bool(margins(logits[[row_of[line.text]]], assigned)[0] > threshold)
    return {"lint": share(n_lint, n), "linear_probe_at_1_percent": share(n_probe, n)}


def margins(logits: FloatArray, labels: np.ndarray) -> FloatArray:
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    others = logits.copy()
    others[rows, labels] = -np.inf
    return np.asarray(others.max(axis=1) - own)


def held_out_logits(vectors: FloatArray, labels: np.ndarray) -> FloatArray:
    """Return the logits of each line by a probe that has not seen it: ten folds, clean labels."""
    folds = np.random.default_rng(0).integers(0, 10, len(labels))
    logits = np.zeros((len(labels), labels.max() + 1), dtype=np.float32)
    for fold in range(10):
        probe = LogisticRegression(C=30, max_iter=100).fit(
            vectors[folds != fold], labels[folds != fold]
        )
        logits[folds == fold] = probe.decision_function(vectors[folds == fold])
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    seeds = range(1000, 1000 + parser.parse_args().seeds)
    tower, everyday = load_tower(), open_base("everyday")
    tuning, held_out = half_of(everyday, "tuning"), half_of(everyday, "held_out")
    result = {
        "clean": {
            "everyday": clean(everyday, tower),
            "tuning classes": clean(tuning, tower),
            "held-out classes": clean(held_out, tower),
        },
        "tuning classes, tuning texts": recall(tuning, tower, "tuning", seeds),
        "held-out classes, tuning texts": recall(held_out, tower, "tuning", seeds),
        "held-out classes, held-out texts": recall(held_out, tower, "held_out", seeds),
        "misplaced, of any class": probe_reference(held_out, tower, seeds, within=False),
        "misplaced, of the same group": probe_reference(held_out, tower, seeds, within=True),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
