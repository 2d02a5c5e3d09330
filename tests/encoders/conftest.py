"""The towers of mini, with their real weights."""

import pytest

from unibind import weights
from unibind.encoders import efficientnet_lite, minilm
from unibind.encoders.torchvision_operators import make_torchvision_importable

# Tests that compare with transformers import it themselves, also where the extra clip is installed.
make_torchvision_importable()


@pytest.fixture(scope="session")
def text_tower():
    weights.fetch("minilm-l6")
    return minilm.load()


@pytest.fixture(scope="session")
def image_tower():
    weights.fetch("efficientnet-lite0")
    weights.fetch("imagenet-labels")
    return efficientnet_lite.load()
