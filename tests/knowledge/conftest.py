"""The committed base, the text tower and the small language model, with their real weights."""

import pytest

from unibind import weights
from unibind.cli.text_tower import load_tower
from unibind.knowledge.base import open_base


@pytest.fixture(scope="session")
def everyday():
    return open_base("everyday")


@pytest.fixture(scope="session")
def tower():
    weights.fetch("minilm-l6")
    return load_tower("minilm-l6")


@pytest.fixture(scope="session")
def small_model():
    """SmolLM2 in llama.cpp, whose server listens on the loopback."""
    pytest.importorskip("xllamacpp", reason="no wheel of xllamacpp for this platform")
    weights.fetch("smollm2-135m")
    from unibind.knowledge.writers.local import LocalWriter
    from unibind.types import WriterSettings

    return LocalWriter(WriterSettings(n_in_flight=2, max_tokens=64))


@pytest.fixture
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
