import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.knowledge.sensors import find_sensor
from unibind.measurement.scan import Scanner
from unibind.modalities.pointcloud import PointCloud, accept, read
from unibind.plugins import load
from unibind.testing import check_instrument

make = trimesh.creation


def scanned(mesh, *, metres_per_unit=1.0, n_points=8192):
    content = mesh.export(file_type="stl")
    return read(content, metres_per_unit=metres_per_unit, n_points=n_points)


def measured(cloud):
    instrument = Scanner()
    return dict(zip(instrument.attributes, instrument.measure([cloud])[0].tolist(), strict=True))


def an_l():
    long = make.box(extents=(2, 1, 1)).apply_translation((1, 0.5, 0))
    return trimesh.util.concatenate([long, make.box().apply_translation((0.5, 1.5, 0))])


def test_it_keeps_the_promises_of_an_instrument():
    check_instrument(Scanner(), [scanned(make.box()), scanned(make.cone(1, 2))])


def test_it_measures_what_the_sensor_table_names():
    assert list(find_sensor("scan").attributes) == list(Scanner.attributes)
    assert load("unibind.instruments", "scan") is Scanner


@pytest.mark.parametrize("angle_deg", [0, 30, 77])
def test_a_box_has_its_sizes_whichever_way_it_faces_and_is_full(angle_deg):
    box = make.box(extents=(0.6, 0.4, 1.2))
    turn = trimesh.transformations.rotation_matrix(np.deg2rad(angle_deg), (0, 0, 1))
    found = measured(scanned(box.apply_transform(turn)))
    sizes = [found[name] for name in ("height_m", "length_m", "width_m")]
    assert sizes == pytest.approx([1.2, 0.6, 0.4], rel=0.01)
    assert found["fill"] == pytest.approx(1, abs=0.03)
    assert found["mirror_symmetry"] > 0.99


@pytest.mark.parametrize(
    ("mesh", "fill"),
    [
        (make.icosphere(subdivisions=4), np.pi / 6),
        (make.cylinder(radius=1, height=3), np.pi / 4),
        (make.cone(radius=1, height=2), np.pi / 12),
        (make.torus(1, 0.3), np.pi**2 * 2 * 0.09 / (2.6 * 2.6 * 0.6)),
        (an_l(), 3 / 4),
    ],
)
def test_fill_is_that_of_the_closed_form(mesh, fill):
    assert measured(scanned(mesh))["fill"] == pytest.approx(fill, abs=0.045)


def test_what_is_open_to_one_side_is_empty():
    walls = [make.box(extents=(2, 0.1, 1)).apply_translation((0, y, 0)) for y in (-0.95, 0.95)] + [
        make.box(extents=(0.1, 2, 1)).apply_translation((x, 0, 0)) for x in (-0.95, 0.95)
    ]
    floor = make.box(extents=(2, 2, 0.1)).apply_translation((0, 0, -0.45))
    bin_ = trimesh.util.concatenate([*walls, floor])
    assert measured(scanned(bin_))["fill"] < 0.4


def test_a_solid_cloud_is_as_full_as_its_surface():
    solid = accept(np.random.default_rng(0).random((8192, 3)))
    assert measured(solid)["fill"] > 0.95


def test_symmetry_is_that_of_a_slow_loop_and_low_for_an_l():
    cloud = scanned(an_l(), n_points=2000)
    points = cloud.points.astype(np.float64)  # its box is where it stands
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    reach = 0.05 * np.ptp(points, axis=0).max()
    shares = []
    for axis in (0, 1):
        mirrored = points.copy()
        mirrored[:, axis] *= -1
        near = [np.linalg.norm(points - point, axis=1).min() < reach for point in mirrored]
        shares.append(np.mean(near))
    found = measured(cloud)["mirror_symmetry"]
    assert found == pytest.approx(max(shares), abs=0.01)
    assert found < 0.9


def test_sizes_are_unknown_where_the_unit_is_but_shares_are_not():
    box = make.box(extents=(60, 40, 120))
    unknown = measured(scanned(box, metres_per_unit=None))
    assert np.isnan([unknown[name] for name in ("height_m", "length_m", "width_m")]).all()
    in_centimetres = measured(scanned(box, metres_per_unit=0.01))
    assert in_centimetres["height_m"] == pytest.approx(1.2, rel=1e-5)
    assert unknown["fill"] == in_centimetres["fill"]


def test_few_points_say_sizes_and_flat_things_no_fill():
    few = measured(scanned(make.box(), n_points=300))
    assert few["height_m"] == pytest.approx(1)
    assert np.isnan([few["fill"], few["mirror_symmetry"]]).all()
    plate = np.random.default_rng(0).random((2000, 3)) * [2, 1, 0]
    flat = measured(accept(plate, metres_per_unit=1.0))
    assert flat["height_m"] == 0
    assert np.isnan(flat["fill"])
    assert flat["mirror_symmetry"] > 0.9


@pytest.mark.parametrize("points", [[[0, 0, 0], [3, 4, 12]], [[0, 0, 0], [0, 0, 2]]])
def test_points_on_a_line_have_a_length(points):
    found = measured(accept(np.array(points, dtype=float), metres_per_unit=1.0))
    across = np.hypot(points[1][0], points[1][1])
    assert [found["height_m"], found["length_m"], found["width_m"]] == pytest.approx(
        [points[1][2], across, 0], abs=1e-5
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0, 6.3), st.floats(0.01, 100))
def test_turning_about_the_upright_axis_changes_nothing_and_a_scale_only_sizes(seed, angle, scale):
    points = np.random.default_rng(seed).standard_normal((1500, 3)) * [3, 2, 1]
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    plain = Scanner().measure([PointCloud(points.astype(np.float32), None, 1.0)])[0]
    turned = (points @ turn.T * scale).astype(np.float32)
    found = Scanner().measure([PointCloud(turned, None, 1.0)])[0]
    np.testing.assert_allclose(found[:3], plain[:3] * scale, rtol=1e-3)
    np.testing.assert_allclose(found[3:], plain[3:], atol=0.02)


def test_length_and_width_are_of_the_box_of_least_area():
    """A slow search over directions finds no smaller box."""
    points = np.random.default_rng(1).standard_normal((1200, 3)) * [3, 1, 1]
    found = measured(PointCloud(points.astype(np.float32), None, 1.0))
    areas = []
    for angle in np.linspace(0, np.pi / 2, 2000):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        areas.append(np.ptp(points[:, :2] @ turn.T, axis=0).prod())
    assert found["length_m"] * found["width_m"] == pytest.approx(min(areas), rel=2e-3)
    assert found["length_m"] * found["width_m"] <= min(areas) * (1 + 1e-6)
