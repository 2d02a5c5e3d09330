import numpy as np
import pytest

from unibind.alignment.space import Space
from unibind.errors import InvalidInputError
from unibind.testing import FakeEncoder

NAMES = ["bolt", "tabby", "lighthouse", "spoon"]


def around(tower: FakeEncoder, names=NAMES) -> Space:
    return Space.around(
        tower,
        text_encoder="fake",
        encoders={"image": "eye"},
        names=names,
        features=tower.encode(names),
    )


@pytest.fixture
def tower():
    return FakeEncoder(16)


def test_the_origin_is_the_mean_direction_of_the_names(tower):
    space = around(tower)
    directions = [row / np.linalg.norm(row) for row in tower.encode(NAMES)]
    np.testing.assert_allclose(space.origin, np.mean(directions, axis=0), atol=1e-6)
    assert space.dim == 16
    assert space.tower == tower.fingerprint


def test_texts_are_placed_by_their_direction_from_the_origin(tower):
    space = around(tower)
    features = tower.encode(["a", "b"])
    for row, feature in zip(space.place(features), features, strict=True):
        moved = feature / np.linalg.norm(feature) - space.origin
        np.testing.assert_allclose(row, moved / np.linalg.norm(moved), atol=1e-5)


def test_only_the_direction_of_a_feature_matters(tower):
    space, features = around(tower), tower.encode(["a", "b"])
    np.testing.assert_allclose(space.place(features * 100), space.place(features), atol=1e-5)


def test_taken_from_the_origin_the_names_have_nothing_in_common(tower):
    many = [f"name {n}" for n in range(300)]
    cone = tower.encode(many) + 3  # all in one narrow cone, as a text tower's
    space = Space.around(tower, text_encoder="fake", encoders={}, names=many, features=cone)
    raw = cone / np.linalg.norm(cone, axis=1, keepdims=True)
    placed = space.place(cone)
    assert (raw @ raw.T).mean() > 0.8
    assert abs((placed @ placed.T).mean()) < 0.05


def test_the_id_tells_towers_and_names_apart(tower):
    spaces = [
        around(tower),
        around(FakeEncoder(16, seed=1)),
        around(tower, NAMES[:3]),
        around(tower, NAMES[::-1]),
    ]
    assert len({space.id for space in spaces}) == 4
    assert around(tower).id == spaces[0].id


def test_one_more_modality_is_the_same_space(tower):
    space = around(tower)
    more = space.with_encoder("audio", "ear").with_encoder("image", "sharper eye")
    assert more.id == space.id
    assert more.encoders == {"image": "sharper eye", "audio": "ear"}
    assert space.encoders == {"image": "eye"}


def test_names_and_features_must_fit(tower):
    with pytest.raises(InvalidInputError, match="0 names with 0 features cannot give an origin"):
        around(tower, [])
    with pytest.raises(InvalidInputError, match="4 names with 3 features"):
        Space.around(
            tower, text_encoder="f", encoders={}, names=NAMES, features=tower.encode(NAMES[:3])
        )
    with pytest.raises(InvalidInputError, match=r"text features have shape \(1, 5\), \(N, 16\)"):
        around(tower).place(np.ones((1, 5), dtype=np.float32))
