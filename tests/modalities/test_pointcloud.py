import contextlib
import io

import numpy as np
import pytest
from cloud_files import a_cloud, glb, las, mesh, npy, pcd, ply, text
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from unibind.encoders.cache import item_key
from unibind.encoders.pipeline import read_source
from unibind.errors import InvalidInputError
from unibind.modalities import pointcloud
from unibind.modalities.pointcloud import MAX_KEPT, N_POINTS, POINTCLOUD, PointCloud, accept, read
from unibind.modalities.registry import modality_of, open_modality

MESHES = ("stl", "stl_ascii", "glb", "off", "obj", "ply")
TELLERS = {
    "ply": ply,
    "ply text": lambda points: ply(points, text=True),
    "ply big-endian": lambda points: ply(points, byte_order=">"),
    "pcd ascii": lambda points: pcd(points, "ascii"),
    "pcd binary": pcd,
    "pcd compressed": lambda points: pcd(points, "binary_compressed"),
    "las": las,
    "laz": lambda points: las(points, compressed=True),
    "xyz": text,
    "csv": lambda points: text(points, ","),
    "npy": npy,
}


def centred(points):
    points = np.asarray(points, dtype=np.float64)
    return points - (points.min(axis=0) + points.max(axis=0)) / 2


def refused(content, *words, **options):
    with pytest.raises(InvalidInputError) as caught:
        read(content, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("form", TELLERS)
def test_every_format_gives_the_points_that_were_written(form):
    points = a_cloud()
    cloud = read(TELLERS[form](points))
    tolerance = 0.0011 if form in ("las", "laz") else 1e-5  # LAS was written to the millimetre
    np.testing.assert_allclose(cloud.points, centred(points), atol=tolerance)
    assert cloud.points.dtype == np.float32
    assert cloud.metres_per_unit == (1.0 if form in ("las", "laz") else None)


@settings(max_examples=15, deadline=None)
@given(
    st_np.arrays(
        np.float32,
        st.tuples(st.integers(2, 30), st.just(3)),
        elements=st.floats(-1000, 1000, width=32),
        unique=True,
    ),
    st.sampled_from(sorted(set(TELLERS) - {"las", "laz"})),
)
def test_any_points_come_back_from_any_format(points, form):
    cloud = read(TELLERS[form](points))
    np.testing.assert_allclose(cloud.points, centred(points), atol=1e-3)


def test_a_path_its_content_and_an_array_give_the_same_item(tmp_path):
    points = a_cloud()
    path = tmp_path / "cloud.npy"
    path.write_bytes(npy(points))
    items = [
        read_source(POINTCLOUD, source, options={"metres_per_unit": 0.01})
        for source in (path, str(path), path.read_bytes(), points)
    ]
    assert len({item_key(item) for item in items}) == 1
    assert items[0].metres_per_unit == 0.01


def test_the_door_has_the_modality_and_knows_its_files(tmp_path):
    assert open_modality("pointcloud") is POINTCLOUD
    for ending in (".ply", ".laz", ".glb", ".OBJ"):
        assert modality_of(tmp_path / f"shape{ending}") is POINTCLOUD
    (tmp_path / "no_ending").write_bytes(mesh("glb"))
    assert modality_of(tmp_path / "no_ending") is POINTCLOUD


@pytest.mark.parametrize("kind", MESHES)
def test_a_mesh_becomes_points_on_its_surface(kind):
    content = mesh(kind)
    cloud = read(content, up="z")
    assert cloud.points.shape == (N_POINTS, 3)
    np.testing.assert_allclose(np.ptp(cloud.points, axis=0), [1, 2, 3], atol=1e-6)
    place = np.abs(cloud.points / [0.5, 1, 1.5]).max(axis=1)
    np.testing.assert_allclose(place, 1, atol=1e-6)
    # Faces of 6, 3 and 2 on each side: a point falls on each in proportion to its area.
    on_top = np.isclose(np.abs(cloud.points[:, 2]), 1.5, atol=1e-6).mean()
    assert on_top == pytest.approx(2 / 11, abs=0.005)


def test_sampling_is_the_same_each_time_and_the_share_of_n_points():
    content = mesh("stl")
    np.testing.assert_array_equal(read(content).points, read(content).points)
    assert len(read(content, n_points=50).points) == 50


def test_a_large_cloud_is_thinned_by_chance_the_same_each_time():
    points = np.arange(3000.0).reshape(1000, 3)
    colours = np.stack([np.arange(1000) % 256] * 3, axis=1)
    cloud = read(ply(points, colours=colours), n_points=100)
    again = read(ply(points, colours=colours), n_points=100)
    assert len(cloud.points) == len(cloud.colours) == 100
    np.testing.assert_array_equal(cloud.points, again.points)
    place = np.round((cloud.points[:, 0] - cloud.points[0, 0]) / 3).astype(int)
    np.testing.assert_array_equal(
        (cloud.colours[0, 0].astype(int) + place) % 256, cloud.colours[:, 0]
    )
    assert np.ptp(cloud.points[:, 0]) > 0.8 * 2997  # from all over the cloud


def test_y_up_is_turned_to_z_up_without_mirroring():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3.0]])
    upright = read(npy(points), up="y").points
    tall = read(npy(points), up="z").points
    assert np.ptp(upright, axis=0).tolist() == [1, 3, 2]
    sides = [cloud[1:] - cloud[0] for cloud in (upright, tall)]
    assert np.linalg.det(sides[0]) == pytest.approx(np.linalg.det(sides[1]))


def test_obj_and_glb_are_y_up_unless_told_and_glb_is_in_metres():
    for kind in ("obj", "glb"):
        np.testing.assert_allclose(np.ptp(read(mesh(kind)).points, axis=0), [1, 3, 2], atol=0.01)
    assert read(mesh("glb")).metres_per_unit == 1.0
    assert read(mesh("glb"), metres_per_unit=0.5).metres_per_unit == 0.5
    assert read(mesh("obj")).metres_per_unit is None


def test_coordinates_far_from_the_origin_keep_their_detail():
    points = a_cloud() + np.array([500_000, 4_000_000, 100])
    np.testing.assert_allclose(read(las(points)).points, centred(points), atol=0.0011)
    np.testing.assert_allclose(read(npy(points)).points, centred(points), atol=1e-5)


def test_an_item_is_accepted_again_as_it_is():
    cloud = read(mesh("stl"), metres_per_unit=0.01)
    assert accept(cloud) is cloud
    with pytest.raises(InvalidInputError, match="already has its upright axis"):
        accept(cloud, up="y")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[1, 2, 3]], "got list"),
        (np.zeros((3, 500)), r"turn it with \.T"),
        (np.zeros((4, 5, 3)), "reshape"),
        (np.zeros((4, 2)), r"\(N, 3\) was needed"),
        (np.array([["a", "b", "c"]]), "real numbers were needed"),
        (np.zeros((4, 3), dtype=complex), "real numbers were needed"),
        (np.zeros((0, 3)), "0 points"),
        (np.zeros((1, 3)), "1 point;"),
        (np.ones((9, 3)), "all 9 points of the cloud are the same"),
        (np.array([[1, 2, np.nan], [1, 2, 3]]), "1 of 2 points have NaN"),
        (np.array([[1, 2, np.inf], [1, 2, 3]]), "infinite"),
        (np.array([[1e300, 0, 0], [-1e300, 0, 0]]), "units long"),
        (np.array([[1e-40, 0, 0], [0, 0, 0]]), "units long"),
        (PointCloud(np.zeros((5, 3))), "finite float32"),
        (PointCloud(np.eye(3, dtype=np.float32), np.zeros((2, 3), np.uint8)), "one row for each"),
        (PointCloud(np.eye(3, dtype=np.float32), None, -1.0), "metres_per_unit"),
    ],
)
def test_values_that_are_no_cloud_are_refused_with_a_remedy(value, words):
    with pytest.raises(InvalidInputError, match=words):
        accept(value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"up": "x"}, "option up is 'x'"),
        ({"metres_per_unit": 0}, "metres_per_unit is 0"),
        ({"metres_per_unit": float("nan")}, "metres_per_unit is nan"),
        ({"metres_per_unit": "1"}, "metres_per_unit is '1'"),
        ({"n_points": 1}, "n_points is 1"),
        ({"n_points": MAX_KEPT + 1}, "n_points"),
        ({"n_points": 10.0}, "n_points is 10.0"),
    ],
)
def test_wrong_options_are_refused(options, words):
    refused(mesh("stl"), words, **options)
    with pytest.raises(InvalidInputError):
        accept(a_cloud(), **options)
    assert set(options) <= set(POINTCLOUD.options)


def test_an_empty_file_and_a_picture_are_refused():
    refused(b"", "empty (0 bytes)")
    refused(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no point cloud", "PLY")


CONTENTS = {form: teller(a_cloud(40)) for form, teller in TELLERS.items()}
CONTENTS |= {f"{kind} mesh": mesh(kind) for kind in MESHES}


@pytest.mark.parametrize("form", sorted(set(CONTENTS) - {"obj mesh", "xyz", "csv"}))
def test_a_file_cut_anywhere_is_refused(form):
    """Text without a count (obj, xyz) cannot tell that lines are missing."""
    content = CONTENTS[form].rstrip(b"\n ")  # text may do without its last line feed
    for share in (0.02, 0.3, 0.6, 0.9):
        refused(content[: int(share * len(content))])
    assert isinstance(read(CONTENTS[form]), PointCloud)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(CONTENTS)),
    st.lists(
        st.tuples(
            st.floats(0, 1), st.sampled_from(["byte", "cut", "drop", "nines"]), st.integers(0, 255)
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_damage_gives_a_whole_cloud_or_a_clear_error(form, damage):
    content = bytearray(CONTENTS[form])
    for share, kind, value in damage:
        # Half of the damage falls into the header, where it hurts.
        place = int(share * len(content) * (0.2 if value % 2 else 1))
        if kind == "byte":
            content[place : place + 1] = bytes([value])
        elif kind == "cut":
            del content[place + 1 :]
        elif kind == "drop":
            del content[place : place + value % 9 + 1]
        else:
            content[place : place + 8] = b"99999999" if value < 128 else b"\xff" * 8
    with contextlib.suppress(InvalidInputError):
        cloud = read(bytes(content))
        assert accept(cloud) is cloud


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [
            b"",
            b"ply\n",
            b"OFF\n",
            b"v ",
            b"# .PCD v0.7\n",
            b"LASF",
            b"glTF\x02\0\0\0",
            b"solid x\n",
            b"\x93NUMPY\x01\0",
            b"1 2 3\n",
        ]
    ),
    st.binary(max_size=300),
)
def test_arbitrary_bytes_give_a_cloud_or_a_clear_error(start, rest):
    with contextlib.suppress(InvalidInputError):
        assert isinstance(read(start + rest), PointCloud)


def test_drawing_shows_the_cloud_on_white():
    picture = POINTCLOUD.draw(read(mesh("obj")))
    assert picture.shape == (480, 480, 3)
    assert picture.dtype == np.uint8
    inked = (picture < 250).any(axis=2)
    assert 0.1 < inked.mean() < 0.6
    assert not inked[0].any()
    assert not inked[:, 0].any()


def test_drawing_uses_the_colours_of_the_cloud():
    points = a_cloud(5000)
    red = np.tile(np.array([255, 0, 0], np.uint8), (5000, 1))
    picture = pointcloud.draw(read(ply(points, colours=red)))
    inked = (picture < 250).any(axis=2)
    assert (picture[inked][:, 0] == 255).all()


def test_a_million_points_are_thinned_and_a_hundred_million_refused_unread():
    header = npy(np.zeros((1, 3), np.float32))
    forged = header.replace(b"(1, 3)", b"(100000000, 3)")[: len(header) + 200]
    refused(forged, "100,000,000 points", "at most 10,000,000", "thin it out")
    refused(pcd(a_cloud(5), n_announced=10**8), "100,000,000 points")
    refused(ply(a_cloud(5)).replace(b"vertex 5", b"vertex 100000000"), "100,000,000 rows")
    content = bytearray(las(a_cloud(5)))
    content[107:111] = (10**8).to_bytes(4, "little")
    refused(bytes(content), "100,000,000 points")
    refused(b"OFF\n100000000 1 0\n0 0 0\n", "100,000,000 vertices")
    refused(b"\0".ljust(80) + (10**8).to_bytes(4, "little"), "no point cloud")
    big = np.random.default_rng(0).standard_normal((1_000_000, 3)).astype(np.float32)
    assert len(read(npy(big)).points) == N_POINTS


def test_nothing_outside_the_file_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(io, "open", lambda *args, **_: opened.append(args))
    monkeypatch.setattr("builtins.open", lambda *args, **_: opened.append(args))
    obj = b"mtllib secret.mtl\nusemtl x\n" + mesh("obj") + b"\nmap_Kd texture.png\n"
    assert isinstance(read(obj), PointCloud)
    document = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": "secret.bin", "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    refused(glb(document), "lies in another file")
    document["buffers"][0].pop("uri")
    document["images"] = [{"uri": "http://127.0.0.1:9/texture.png"}]
    document["textures"] = [{"source": 0}]
    document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    document["meshes"][0]["primitives"][0]["material"] = 0
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype="<f4").tobytes()
    assert isinstance(read(glb(document, corners)), PointCloud)
    assert opened == []
