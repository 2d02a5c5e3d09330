import dataclasses
import pickle
import re

import numpy as np
import pytest

from unibind import errors, protocols, types
from unibind.testing import FakeEncoder


def drawn_tree() -> dict[str, str]:
    """Return child to parent, as the docstring of unibind.errors draws them."""
    parents, above = {}, {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"^([\s│]*(?:[├└]── )?)(\w+(?:Error))\b", line)
        if found:
            depth = len(found[1]) // 4
            above[depth] = found[2]
            if depth:
                parents[found[2]] = above[depth - 1]
    return parents


def test_the_drawn_tree_of_errors_is_the_one_that_exists():
    built = {
        name: getattr(errors, name).__mro__[1].__name__
        for name in errors.__all__
        if name != "UnibindError"
    }
    assert drawn_tree() == built
    assert issubclass(errors.UnibindError, Exception)


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_is_a_value_error_if_the_docstring_says_so(name):
    line = next(each for each in errors.__doc__.splitlines() if re.search(rf"\b{name}\b", each))
    assert issubclass(getattr(errors, name), ValueError) == ("also ValueError" in line)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_caught_as_unibind_error_and_keeps_its_words(name):
    with pytest.raises(errors.UnibindError, match=r"^what to do$"):
        raise getattr(errors, name)("what to do")


VALUES = [
    types.Modality("image", "uint8", bytes.decode, str, (".png",)),
    types.Prediction("a cat", 0.5, 0.9),
    types.Hit("key", "image", 0.5, {"licence": "CC0"}),
    types.WritingRequest("key", "write", {}, (), {}, 0),
    types.WrittenAnswer("text"),
    types.WriterSettings(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_frozen_and_have_no_room_for_more(value):
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize("value", VALUES[1:], ids=lambda value: type(value).__name__)
def test_values_are_equal_by_content_and_travel_between_processes(value):
    assert dataclasses.replace(value) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_a_hit_has_metadata_of_its_own():
    assert types.Hit("a", "image", 1.0).metadata == {}


def test_every_public_type_is_documented():
    for name in types.__all__:
        value = getattr(types, name)
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                assert f"        {field.name}: " in value.__doc__, (name, field.name)


def test_a_protocol_is_recognised_by_what_an_object_has():
    encoder = FakeEncoder()
    assert isinstance(encoder, protocols.Encoder)
    assert not isinstance(encoder, protocols.LabelledEncoder)
    assert not isinstance(encoder, protocols.AlignedEncoder)
    encoder.space = types.SpaceId("s")
    assert isinstance(encoder, protocols.AlignedEncoder)
    encoder.labels, encoder.label_texts = ["a"], [["a"]]
    encoder.logits = lambda features: np.zeros((len(features), 1), dtype=np.float32)
    assert isinstance(encoder, protocols.LabelledEncoder)
    assert not isinstance(object(), protocols.Encoder)
