from importlib.metadata import EntryPoint

import pytest

from unibind import plugins
from unibind.encoders.registry import open_encoder
from unibind.errors import InvalidInputError, PluginError
from unibind.testing import FakeEncoder


@pytest.fixture
def declared(monkeypatch):
    extra = []
    real = plugins.entry_points
    monkeypatch.setattr(plugins, "entry_points", lambda group: [*real(group=group), *extra])
    plugins.load.cache_clear()
    yield lambda name, value: extra.append(
        EntryPoint(name, f"{__name__}:{value}", "unibind.encoders")
    )
    plugins.load.cache_clear()


def of_width(dim):
    return FakeEncoder(dim=int(dim))


def without_argument():
    return FakeEncoder()


def with_a_bug(name):
    raise TypeError("a bug")


def no_encoder():
    return "a str"


def test_our_towers_have_names(text_tower):
    assert open_encoder("minilm-l6").fingerprint == text_tower.fingerprint


def test_what_follows_the_colon_goes_to_the_factory(declared):
    declared("fake", "of_width")
    assert open_encoder("fake:7").dim == 7


def test_each_call_gives_a_new_encoder(declared):
    declared("fake", "without_argument")
    assert open_encoder("fake") is not open_encoder("fake")


def test_a_missing_argument_is_asked_for(declared):
    declared("fake", "of_width")
    with pytest.raises(InvalidInputError, match=r"needs to know which model: write fake:MODEL"):
        open_encoder("fake")


def test_an_argument_too_many_is_refused(declared):
    declared("fake", "without_argument")
    with pytest.raises(PluginError, match="takes no argument, got 'x:y'"):
        open_encoder("fake:x:y")


def test_a_bug_in_a_factory_is_not_hidden(declared):
    declared("fake", "with_a_bug")
    with pytest.raises(TypeError, match="a bug"):
        open_encoder("fake:x")


def test_what_is_no_encoder_is_refused(declared):
    declared("fake", "no_encoder")
    with pytest.raises(PluginError, match=r"gives str, which is no Encoder"):
        open_encoder("fake")


def test_an_unknown_name_lists_those_installed():
    with pytest.raises(PluginError, match=r"no encoder is called 'nothing'.*minilm-l6"):
        open_encoder("nothing")
