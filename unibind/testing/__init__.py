"""What a plug-in's author runs: conformance checks, and small honest fakes for their own tests.

def test_my_encoder() -> None:
    check_encoder(MyEncoder(), items=[first, second, third])

def test_my_store(tmp_path_factory) -> None:
    check_store(lambda: tmp_path_factory.mktemp("store"), MyStore.open_at)
"""

from unibind.testing.encoder import FakeEncoder, check_encoder
from unibind.testing.instrument import check_instrument
from unibind.testing.store import check_store

__all__ = ["FakeEncoder", "check_encoder", "check_instrument", "check_store"]
