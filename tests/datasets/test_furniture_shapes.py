from collections import Counter

import numpy as np
import pytest

from unibind.datasets import SETS, Dataset, fetch
from unibind.datasets.furniture_shapes import _geometry


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    return fetch("furniture-shapes")


def vertices_of(text):
    return np.array([line.split()[1:] for line in text.splitlines() if line[:2] == "v "], float)


def test_the_shapes_are_those_of_the_pictures(shapes, furniture):
    assert len(shapes) == SETS["furniture-shapes"].n_items == 400
    assert Counter(item.group for item in shapes.items) == {
        "BlendSwap-CC-0": 175,
        "BlendSwap-CC-BY": 135,
        "KatorLegaz": 90,
    }
    pictures = {item.key: item for item in furniture.items}
    for item in shapes.items:
        picture = pictures[item.extra["picture"]]
        assert (item.label, item.group) == (picture.label, picture.group)
        assert item.extra["width_m"] == pytest.approx(picture.extra["width_cm"] / 100)


def test_a_shape_stands_on_the_ground_in_metres_and_names_no_other_file(shapes):
    chair = next(i for i in shapes.items if i.key == "BlendSwap-CC-0/armchair.obj")
    text = chair.path.read_text()
    assert {line[:2] for line in text.splitlines()} == {"# ", "v ", "f "}
    vertices = vertices_of(text)
    sizes = [chair.extra[f"{side}_m"] for side in ("width", "height", "depth")]
    assert sizes == pytest.approx([0.594, 1.05, 0.627])
    np.testing.assert_allclose(np.ptp(vertices, axis=0), sizes, rtol=1e-4)
    assert vertices[:, 1].min() == 0


def test_a_model_is_turned_then_scaled_and_stray_vertices_do_not_count():
    obj = "mtllib a.mtl\nv 0 0 0\nv 99 99 99\nv 2 0 0\nvt 0 0\nv 0 0 4\nf 1/1 -2/1 -1/1\n"
    standing = {"modelRotation": "1 0 0 0 0 1 0 -1 0"}  # what was z is y now
    text = _geometry(obj, standing, (1.0, 10.0, 0.5))
    assert text.splitlines()[0].startswith("# Changed")
    assert text.splitlines()[-1] == "f 1 3 4"
    corners = vertices_of(text)[[0, 2, 3]]
    np.testing.assert_allclose(corners, [[-0.5, 0, 0], [0.5, 0, 0], [-0.5, 10, 0]])
