"""Start-up of `unibind --help`, `import unibind` and `classify` against bare Python, as ratios."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

RESULTS = Path(__file__).parent / "results"


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.new("RGB", (320, 240), "red").save(picture)
        unibind = [sys.executable, "-m", "unibind"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import unibind": [sys.executable, "-c", "import unibind"],
            "unibind --help": [*unibind, "--help"],
            "unibind classify (1 picture)": [
                *unibind, "classify", str(picture), "--classes", "a cat,a dog",
                "--space", str(Path(folder) / "mini"),
            ],
            "import torch": [sys.executable, "-c", "import torch"],
        }  # fmt: skip
        for command in commands.values():
            seconds(command)  # warms the disk cache, and exports networks the first time
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats):  # in turn, so that a drift of the machine meets all of them
            for name, command in commands.items():
                taken[name].append(seconds(command))
    bare = taken["python -c pass"]
    rows = [
        {
            "command": name,
            "ratio_to_bare_python": round(
                statistics.median(a / b for a, b in zip(times, bare, strict=True)), 2
            ),
            "median_s": round(statistics.median(times), 3),
            "min_s": round(min(times), 3),
            "max_s": round(max(times), 3),
        }
        for name, times in taken.items()
    ]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine, "repeats": repeats, "rows": rows}
    (RESULTS / "startup.json").write_text(json.dumps(document, indent=2) + "\n")
    lines = [
        f"Median of {repeats} interleaved runs; {machine}.",
        "",
        "| command | ratio to bare Python | median s | min | max |",
        "|---|---|---|---|---|",
        *(
            f"| {row['command']} | {row['ratio_to_bare_python']} | {row['median_s']} "
            f"| {row['min_s']} | {row['max_s']} |"
            for row in rows
        ),
    ]
    (RESULTS / "startup.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
