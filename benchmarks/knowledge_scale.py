"""Seconds and memory of a base at the scale of the paper: 1,000 lines for each of 1,000 classes.

The writer answers at once, so what is measured is ours: asking, checking, journal, table.

    python benchmarks/knowledge_scale.py [--classes 1000] [--per-class 1000]
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from unibind.knowledge.build import build
from unibind.knowledge.plan import Plan, split_lines
from unibind.knowledge.prompts import find_prompts
from unibind.types import WritingRequest, WrittenAnswer

WORDS = """amber bright broad coarse curved dark deep dull faint fine flat glossy heavy hollow large
light long narrow pale plain quick rough round sharp short slender small smooth soft steady thick
thin wide worn base bell border branch cover crest edge frame grain handle hinge joint knob layer
ledge line panel patch plate point ring root seam shell side spine stem strap surface tip top tube
wall""".split()  # noqa: SIM905


class Instant:
    """A DescriptionWriter that makes up harmless sentences."""

    model = "instant"
    sampling = {"seed": 0}  # noqa: RUF012
    lines_per_call = 8
    n_in_flight = 2

    def write(self, request: WritingRequest) -> WrittenAnswer:
        rng = random.Random(request.key)
        name = request.facts["class_name"]
        lines = [
            f"The {name} has a {' '.join(rng.sample(WORDS, 4))} and is {rng.choice(WORDS)} of it."
            for _ in request.places
        ]
        return WrittenAnswer(json.dumps({"lines": lines}), 100, 200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--per-class", type=int, default=1000)
    arguments = parser.parse_args()
    plan = Plan(
        classes=tuple(f"thing {n}" for n in range(arguments.classes)),
        prompts=split_lines(arguments.per_class, find_prompts(["looks", "sound", "shape"])),
    )
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        start = time.perf_counter()
        report = build(base, plan, Instant(), writer_name="instant")
        build_s = time.perf_counter() - start
        start = time.perf_counter()
        again = build(base, plan, Instant(), writer_name="instant")
        again_s = time.perf_counter() - start
        n_bytes = (base / "descriptions.jsonl").stat().st_size
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    result = {
        "lines": report.n_lines,
        "missing": report.n_missing,
        "calls": report.n_calls,
        "build_s": round(build_s, 1),
        "again_calls": again.n_calls,
        "again_s": round(again_s, 1),
        "table_mb": round(n_bytes / 1e6),
        "peak_memory_mb": round(peak / 1e6),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
