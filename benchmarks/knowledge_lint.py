"""Seconds and memory of linting: everyday, cold and with cached features, and 10,000 rows.

python benchmarks/knowledge_lint.py [--rows 10000]
"""

import argparse
import json
import resource
import sys
import time
from dataclasses import replace

from unibind.cli.text_tower import TextTower
from unibind.encoders.minilm import load
from unibind.knowledge.base import KnowledgeBase, open_base
from unibind.knowledge.lint import lint
from unibind.types import FloatArray


class Remembering:
    """A tower that has read its lines before."""

    def __init__(self) -> None:
        self._tower = load()
        self.modality, self.dim = self._tower.modality, self._tower.dim
        self.fingerprint = self._tower.fingerprint
        self._known: dict[tuple[str, ...], FloatArray] = {}

    def encode(self, items: list[str]) -> FloatArray:
        key = tuple(items)
        if key not in self._known:
            self._known[key] = self._tower.encode(items)
        return self._known[key].copy()


def larger(base: KnowledgeBase, n_rows: int) -> KnowledgeBase:
    """Return a base of so many different rows, made of everyday's."""
    lines = []
    for n in range(n_rows):
        line = base.lines[n % len(base.lines)]
        turn = n // len(base.lines)
        text = line.text if not turn else f"In case {turn}, {line.text[0].lower()}{line.text[1:]}"
        lines.append(replace(line, text=text))
    return replace(base, lines=tuple(lines))


def timed(base: KnowledgeBase, tower: TextTower) -> tuple[float, int]:
    start = time.perf_counter()
    findings = lint(
        base,
        encoder=tower.encoder,
        count_tokens=tower.count_tokens,
        max_tokens=tower.max_tokens,
    )
    return time.perf_counter() - start, len({finding.row for finding in findings})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    rows = parser.parse_args().rows
    encoder = Remembering()
    counter = encoder._tower
    tower = TextTower(encoder, counter.count_tokens, counter.max_tokens)
    everyday = open_base("everyday")
    cold_s, flagged = timed(everyday, tower)
    warm_s, _ = timed(everyday, tower)
    large_s, _ = timed(larger(everyday, rows), tower)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    result = {
        "everyday_rows": len(everyday.lines),
        "everyday_flagged_share": round(flagged / len(everyday.lines), 4),
        "everyday_cold_s": round(cold_s, 1),
        "everyday_cached_s": round(warm_s, 1),
        "large_rows": rows,
        "large_s": round(large_s, 1),
        "peak_memory_mb": round(peak / 1e6),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
