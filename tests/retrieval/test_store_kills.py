"""What SIGKILL at random moments leaves of a store."""

from pathlib import Path

import crash


def test_no_acknowledged_write_is_lost_in_sixty_kills(fast_folder: Path) -> None:
    n_steps = crash.kill_at_random(fast_folder, 60, seed=6)
    assert n_steps > 60
