import subprocess
import sys

import pytest

import unibind
from unibind import errors, types


def test_the_public_names_are_these():
    assert unibind.__all__ == [
        "open",
        "Engine",
        "Client",
        "AsyncClient",
        "Hit",
        "Modality",
        "Prediction",
        "UnibindError",
        "ArtifactError",
        "FetchError",
        "InvalidInputError",
        "PluginError",
        "SpaceMismatchError",
        "StoreError",
        "WriterError",
    ]


@pytest.mark.parametrize("name", unibind.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(unibind, name)
    assert value.__doc__
    assert name in dir(unibind)


def test_public_names_are_those_of_their_homes():
    from unibind import engine

    assert unibind.open is engine.open
    assert unibind.Engine is engine.Engine
    assert unibind.Prediction is types.Prediction
    assert unibind.SpaceMismatchError is errors.SpaceMismatchError


def test_each_branch_of_the_errors_can_be_caught_by_a_public_name():
    for child in errors.UnibindError.__subclasses__():
        assert child.__name__ in unibind.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'unibind' has no attribute 'opne'"):
        _ = unibind.opne
    assert not hasattr(unibind, "Manager")


def test_a_star_import_brings_the_public_names():
    code = "from unibind import *; print(sorted(n for n in dir() if not n.startswith('_')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted(unibind.__all__))
