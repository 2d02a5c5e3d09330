from pathlib import Path

import pytest
from service_soak import Truth, soak


@pytest.mark.skipif(not Path("/proc").exists(), reason="memory is read as on Linux")
def test_twenty_seconds_of_everything_at_once_bring_no_wrong_answer(served, tmp_path):
    outcome = soak(served, Truth.told(tmp_path / "mini"), seconds=20)
    assert outcome.wrong == []
    assert sum(outcome.n_asked.values()) > 40
    assert served.is_alive()
    assert max(mb for _, mb in outcome.megabytes) < 2_000
