import numpy as np
import pytest

from unibind.encoders.depth_views import VIEWS, DepthViews, depth_pictures
from unibind.encoders.depth_views import _fingerprint as fingerprint_over
from unibind.encoders.registry import open_encoder
from unibind.encoders.shape_descriptors import N_DESCRIPTORS, describe, in_unit_ball
from unibind.errors import InvalidInputError
from unibind.modalities.image import IMAGE
from unibind.modalities.pointcloud import accept
from unibind.modalities.pointcloud_drawing import depth_map, looking
from unibind.testing import check_encoder


class SmallTower:
    """Pictures to the means of their quarters: a tower without weights."""

    modality = IMAGE
    dim = 4
    fingerprint = "quarters"

    def encode(self, items):
        features = np.zeros((len(items), 4), dtype=np.float32)
        for row, item in enumerate(items):
            features[row] = item[:, :, 0].reshape(2, 112, 2, 112).mean(axis=(1, 3)).ravel()
        return features


@pytest.fixture
def encoder():
    return DepthViews(SmallTower(), fingerprint="test")


def a_cloud(seed=0, n=500, sides=(1.0, 2.0, 3.0)):
    points = np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 3)) * sides
    return accept(points)


def test_the_installed_encoder_keeps_its_promises_and_names_its_tower_in_its_fingerprint():
    encoder = open_encoder("depth-views")
    check_encoder(encoder, [a_cloud(0), a_cloud(1, sides=(3, 1, 1))])
    assert encoder.dim == 2 * 1280 + N_DESCRIPTORS
    assert encoder.fingerprint == fingerprint_over(open_encoder("efficientnet-lite0"))
    assert encoder.fingerprint != fingerprint_over(SmallTower())


def test_any_tower_will_do(encoder):
    check_encoder(encoder, [a_cloud(0), a_cloud(1, sides=(3, 1, 1)), a_cloud(2, n=2)])


def test_views_are_joined_by_mean_and_maximum(encoder):
    cloud = a_cloud()
    views = SmallTower().encode(depth_pictures(cloud))
    feature = encoder.encode([cloud])[0]
    np.testing.assert_allclose(feature[:4], views.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(feature[4:8], views.max(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(feature[8:], describe(in_unit_ball(cloud.points)))


def test_place_size_and_unit_do_not_matter_but_what_is_up_does(encoder):
    points = np.random.default_rng(3).standard_normal((400, 3)) * [1, 2, 3]
    whole = encoder.encode([accept(points)])[0]
    moved = encoder.encode([accept(1000 * points + 7, metres_per_unit=0.001)])[0]
    np.testing.assert_allclose(moved, whole, rtol=0.02, atol=0.5)
    lying = encoder.encode([accept(points, up="y")])[0]
    assert np.abs(lying - whole).max() > 5


def test_a_size_that_float32_cannot_square_is_no_trouble():
    points = in_unit_ball((a_cloud().points * 1e25).astype(np.float32))
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)


def test_what_is_no_point_cloud_is_refused(encoder):
    with pytest.raises(InvalidInputError, match="a point cloud was needed"):
        encoder.encode(["chair"])


def test_a_depth_map_is_what_a_slow_loop_makes():
    points = in_unit_ball(a_cloud(n=60).points)
    axes = looking(30, 20)
    side, splat = 40, 5
    depth = np.full((side, side), -np.inf, dtype=np.float32)
    owner = np.full((side, side), -1)
    reach = (side - splat) / 2
    for n, point in enumerate(points):
        right, up, towards = axes @ point
        column = round(float((right + 1) * reach)) + 2
        row = round(float((1 - up) * reach)) + 2
        for y in range(row - 2, row + 3):
            for x in range(column - 2, column + 3):
                if towards > depth[y, x]:
                    depth[y, x], owner[y, x] = towards, n
    found, nearest = depth_map(points, axes, side=side, splat=splat)
    np.testing.assert_allclose(found, depth, atol=1e-6)
    np.testing.assert_array_equal(nearest, owner)


def test_views_are_right_handed_and_from_where_they_say():
    for azimuth, elevation in VIEWS:
        axes = looking(azimuth, elevation)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(axes) == pytest.approx(1)
        assert axes[1, 2] > 0  # up is up
    np.testing.assert_allclose(looking(0, 0)[2], [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(looking(90, 0)[2], [1, 0, 0], atol=1e-6)


def test_the_nearer_point_is_darker_and_hides_the_farther():
    points = np.array([[0, -1, 0], [0, 1, 0], [0.5, 0, 0], [-0.5, 0, 0]])
    front = depth_pictures(accept(points))[-1][:, :, 0]
    assert front[112, 112] == 30  # the point at the front, before the one behind it
    assert front[0, 0] == 255
    back = depth_pictures(accept(points * [1, -1, 1]))[-1]
    np.testing.assert_array_equal(front, back[:, :, 0])


def test_descriptors_of_a_cube_are_those_of_a_closed_form():
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    inside = np.random.default_rng(0).random((100_000, 3))
    cube = in_unit_ball(np.concatenate([inside, corners]).astype(np.float32))
    found = describe(cube)
    half = 1 / np.sqrt(3)
    np.testing.assert_allclose(found[:3], 2 * half, rtol=0.02)
    distances, heights, radii, slices = np.split(found[3:], [32, 48, 64])
    for shares in (distances, heights, radii):
        assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(heights, 1 / 16, atol=0.004)
    # Robbins's constant: the mean distance of two points in a unit cube.
    mean = (distances * (np.arange(32) + 0.5) / 16).sum()
    assert mean == pytest.approx(0.6617 * 2 * half, rel=0.01)
    np.testing.assert_allclose(slices.reshape(8, 4)[:, 0], 1 / 8, atol=0.005)
    np.testing.assert_allclose(slices.reshape(8, 4)[:, 1:3], 2 * half, rtol=0.02)


def test_descriptors_do_not_depend_on_the_order_of_the_points_beyond_the_pairs_of_d2():
    points = in_unit_ball(a_cloud().points)
    turned = describe(points[::-1].copy())
    found = describe(points)
    np.testing.assert_allclose(
        np.delete(turned, range(3, 35)), np.delete(found, range(3, 35)), atol=1e-5
    )
    np.testing.assert_allclose(turned[3:35], found[3:35], atol=0.02)
