"""Servers for the tests of the service: each a real process on the loopback."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unibind import weights

sys.path.insert(0, str(Path(__file__).parent))

from serving import serving


@pytest.fixture(scope="session")
def mini_weights():
    for name in (model.name for model in weights.MODELS.values() if model.in_mini):
        weights.fetch(name)


@pytest.fixture(scope="session")
def served(mini_weights, tmp_path_factory):
    """A server without keys, shared by all tests that leave it as it was."""
    with serving(tmp_path_factory.mktemp("served"), decoders=2, header_timeout_s=1.5) as running:
        yield running


@pytest.fixture
def client(served):
    with served.client() as opened:
        yield opened


def png(seed: int = 0, side: int = 64) -> bytes:
    """Return a picture that no other seed has."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def picture() -> bytes:
    return png()
