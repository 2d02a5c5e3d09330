"""On synthetic thermal pictures: no real ones can be had."""

import numpy as np
import pytest

from unibind.encoders import efficientnet_lite, thermal_pictures
from unibind.encoders.registry import open_encoder
from unibind.errors import InvalidInputError
from unibind.modalities.thermal import accept
from unibind.modalities.thermal_synthesis import synthetic_thermogram
from unibind.protocols import LabelledEncoder, PicturingEncoder
from unibind.testing import check_encoder


def test_thermal_pictures_is_a_true_encoder():
    encoder = open_encoder("thermal-pictures")
    check_encoder(encoder, [synthetic_thermogram(seed=n, shape=(30, 40)) for n in range(3)])
    assert isinstance(encoder, PicturingEncoder)
    assert isinstance(encoder, LabelledEncoder)


def test_the_tower_sees_the_stated_range_in_grey():
    item = accept(np.array([[10.0, 20.0], [30.0, 50.0]]), unit="celsius", low_c=10, high_c=30)
    (picture,) = thermal_pictures.grey_of(item)
    assert picture[:, :, 0].tolist() == [[0, 128], [255, 255]]
    assert (picture == picture[:, :, :1]).all()
    encoder, tower = thermal_pictures.load(), efficientnet_lite.load()
    np.testing.assert_array_equal(encoder.encode([item]), tower.encode([picture]))


def test_what_is_no_thermogram_is_refused():
    with pytest.raises(InvalidInputError, match="a thermal picture was needed"):
        open_encoder("thermal-pictures").encode(["picture.tiff"])
