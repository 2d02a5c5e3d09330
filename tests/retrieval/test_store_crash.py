"""What SIGKILL, a full disk, a power cut and a missing permission leave of a store."""

from pathlib import Path

import crash
import pytest


def test_no_acknowledged_write_is_lost_in_sixty_kills(fast_folder: Path) -> None:
    n_steps = crash.kill_at_random(fast_folder, 60, seed=6)
    assert n_steps > 60


@pytest.mark.parametrize("verb", ["upsert", "upsert many", "delete", "compact", "rebuild"])
def test_no_write_step_is_a_bad_moment_to_die(verb: str, fast_folder: Path) -> None:
    numbers = iter(range(1000, 100_000))
    before = [n for n in range(1, 60) if crash.Step(n).verb in ("upsert", "upsert many", "delete")]
    number = next(n for n in numbers if crash.Step(n).verb == verb)
    assert crash.kill_at_every_step(fast_folder, number, before) > 3
