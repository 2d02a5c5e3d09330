"""Kills a build at random moments again and again, then lets one run end; used by the proof too."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from chat_server import chat_server

CLASSES = "heron,kettle,cello,tram,walnut,otter"
FILES = ("classes.csv", "descriptions.jsonl", "sources.json", "manifest.json")


@dataclass(frozen=True)
class Outcome:
    n_killed: int
    is_same_table: bool
    n_lines: int
    n_asked_again: int
    n_stored: list[int]


def command(folder: Path, address: str, per_class: int) -> list[str]:
    return [
        *(sys.executable, "-c", "from unibind.cli import main; main()"),
        *("knowledge", "build", str(folder), "--classes", CLASSES),
        *("--per-class", str(per_class), "--in-flight", "4", "--lines-per-call", "2"),
        *("--views", "looks,sound", "--writer", "openai", "--model", "stub"),
        *("--base-url", address),
    ]


def stored_seeds(journal: Path) -> set[int]:
    """Return the seeds of the calls whose answers are in a journal."""
    if not journal.exists():
        return set()
    with sqlite3.connect(journal) as connection:
        try:
            keys = connection.execute("SELECT key FROM answers").fetchall()
        except sqlite3.OperationalError:  # killed before the table was made
            keys = []
    connection.close()
    return {int(key[:7], 16) for (key,) in keys}


def kill_again_and_again(tmp: Path, *, n_kills: int, seed: int = 0) -> Outcome:
    rng = random.Random(seed)
    env = {k: v for k, v in os.environ.items() if k not in ("OPENAI_API_KEY", "OPENAI_BASE_URL")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env}
    undisturbed, killed = tmp / "undisturbed" / "base", tmp / "killed" / "base"
    per_class = max(12, 2 * n_kills)
    journal = killed.with_name(".base.lines.sqlite")
    with chat_server() as site:
        start = time.monotonic()
        subprocess.run(command(undisturbed, site.address, per_class), check=True, **quiet)
        duration_s = time.monotonic() - start
        n_calls = len(site.bodies)
        site.bodies.clear()
        site.delay_s = 0.1
        known: set[int] = set()
        counts: list[int] = []
        n_asked_again = n_killed = 0
        for turn in range(n_kills):
            before = len(site.bodies)
            process = subprocess.Popen(command(killed, site.address, per_class), **quiet)
            # Some die while Python starts, most while they ask, the last when all is answered.
            n_awaited = rng.randint(0, n_calls // n_kills)
            if turn == n_kills - 1:
                n_awaited = n_calls - len(known)
            if n_awaited == 0:
                time.sleep(rng.uniform(0, duration_s))
            while process.poll() is None and len(site.bodies) - before < n_awaited:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 1.5 * site.delay_s))
            n_killed += process.poll() is None
            process.kill()
            process.wait()
            time.sleep(0.2)  # what was under way arrives at the server
            asked = Counter(body["seed"] for body in site.bodies[before:])
            n_asked_again += sum(count for value, count in asked.items() if value in known)
            known |= stored_seeds(journal)
            counts.append(len(known))
        before = len(site.bodies)
        site.delay_s = 0.0
        subprocess.run(command(killed, site.address, per_class), check=True, **quiet)
        asked = Counter(body["seed"] for body in site.bodies[before:])
        n_asked_again += sum(count for value, count in asked.items() if value in known)
    same = all((undisturbed / name).read_bytes() == (killed / name).read_bytes() for name in FILES)
    table = (killed / "descriptions.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(row) for row in table.splitlines()]
    return Outcome(n_killed, same, len(rows), n_asked_again, counts)
