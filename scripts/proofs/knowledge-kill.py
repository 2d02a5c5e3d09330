"""Kills a build of a knowledge base at 20 random moments, lets one run end, compares the tables."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "knowledge"))
from killing import kill_again_and_again

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--kills", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    outcome = kill_again_and_again(Path(folder), n_kills=arguments.kills, seed=arguments.seed)
print(f"killed with SIGKILL: {outcome.n_killed} of {arguments.kills} starts")
print(f"answers stored after each: {outcome.n_stored}")
print(f"same table as an undisturbed build: {outcome.is_same_table}, {outcome.n_lines} lines")
print(f"calls repeated for a stored answer: {outcome.n_asked_again}")
is_proven = outcome.is_same_table and not outcome.n_asked_again
print("proven" if is_proven else "NOT proven")
raise SystemExit(not is_proven)
