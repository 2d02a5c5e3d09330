from unibind import weights
from unibind.encoders import efficientnet_lite, minilm
from unibind.encoders.fingerprints import fingerprint_of, weight_hashes


def test_a_fingerprint_depends_on_every_part_and_on_no_order():
    whole = fingerprint_of(architecture="a", crop=0.875)
    assert whole == fingerprint_of(crop=0.875, architecture="a")
    assert (
        len({whole, fingerprint_of(architecture="a"), fingerprint_of(architecture="a", crop=1)})
        == 3
    )
    assert len(whole) == 64


def test_the_hashes_are_the_pinned_ones():
    (file,) = weights.MODELS["efficientnet-lite0"].files
    assert weight_hashes("efficientnet-lite0", file.name) == {file.name: file.sha256}


def test_the_towers_of_mini_keep_their_fingerprints(text_tower, image_tower):
    # Built spaces, stores and caches carry these. Change them only where the features change.
    assert text_tower.fingerprint == TEXT_TOWER
    assert image_tower.fingerprint == IMAGE_TOWER
    assert minilm.load().fingerprint == TEXT_TOWER
    assert efficientnet_lite.load().fingerprint == IMAGE_TOWER


TEXT_TOWER = "30d889dc1faaf48650a3fdaed3ce5d0e4f8f11491472511523cd929256fb6ca3"
IMAGE_TOWER = "5ba48ac5a321bbf0b647858e9a766fc71627cd519619e988b62dacad0f1549b4"
