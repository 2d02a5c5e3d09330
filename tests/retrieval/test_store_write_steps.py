"""What SIGKILL at each single write of a step leaves of a store."""

from pathlib import Path

import crash
import pytest


@pytest.mark.parametrize("verb", ["upsert", "upsert many", "delete", "compact", "rebuild"])
def test_no_write_step_is_a_bad_moment_to_die(verb: str, fast_folder: Path) -> None:
    numbers = iter(range(1000, 100_000))
    before = [n for n in range(1, 60) if crash.Step(n).verb in ("upsert", "upsert many", "delete")]
    number = next(n for n in numbers if crash.Step(n).verb == verb)
    assert crash.kill_at_every_step(fast_folder, number, before) > 3
