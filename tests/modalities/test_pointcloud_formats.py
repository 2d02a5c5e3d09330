"""What each format can say, and how each can lie."""

import struct

import numpy as np
import pytest
from cloud_files import a_cloud, glb, las, lzf, mesh, npy, pcd, ply, text
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind.errors import InvalidInputError
from unibind.modalities.pointcloud import read
from unibind.modalities.pointcloud_pcd import _lzf
from unibind.modalities.pointcloud_shape import fan, to_colours

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 0 1\nv 0 0 1\n"


def refused(content, words, **options):
    with pytest.raises(InvalidInputError, match=words):
        read(content, **options)


def test_colours_are_kept_from_every_format_that_has_them():
    points = a_cloud(50)
    colours = np.random.default_rng(1).integers(0, 256, (50, 3))
    table = np.hstack([points, colours])
    contents = {
        "ply": ply(points, colours=colours),
        "ply text": ply(points, colours=colours, text=True),
        "pcd": pcd(points, colours=colours),
        "pcd ascii": pcd(points, "ascii", colours=colours),
        "pcd compressed": pcd(points, "binary_compressed", colours=colours),
        "las": las(points, point_format=2, colours=colours * 257),
        "laz, layered": las(points, point_format=7, colours=colours * 257, compressed=True),
        "xyz": text(table),
        "npy": npy(table),
    }
    for form, content in contents.items():
        np.testing.assert_array_equal(read(content).colours, colours, err_msg=form)


def test_normals_are_not_taken_for_colours():
    points = a_cloud(50)
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert read(npy(np.hstack([points, normals]))).colours is None


def test_named_columns_say_which_are_colours():
    rows = b"1 2 3 0 0.5 0 1\n4 5 7 0 1 1 0\n"
    named = read(b"//X Y Z I R G B\n" + rows)
    assert named.colours.tolist() == [[128, 0, 255], [255, 255, 0]]
    assert read(b"x y z i r g b\n" + rows).colours.tolist() == named.colours.tolist()
    assert read(rows).colours is None


def test_a_pts_file_counts_its_points():
    assert len(read(b"2\n1 2 3\n4 5 6\n").points) == 2
    refused(b"3\n1 2 3\n4 5 6\n", "announces 3 points, 2 lines follow")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1 2 3\n4 five 6\n", "could not convert string 'five'"),
        (b"1 2 3\n4 5\n", "the number of columns changed"),
        (b"1 2\n4 5\n", r"\(N, 3\) was needed"),
        (b"1,5;2,5;3,5\n2,5;3,5;4,5\n", "decimal commas"),
        (b"# only a remark\n", "no points in it"),
        (b"1 " * 1000 + b"\n", "1,000 numbers in a line; at most 64"),
        (b"2\n", "announces 2 points, 0 lines"),
        (b"Dear reader, this is no cloud.\n", "could not convert string 'Dear'"),
        (b"1 2 nan\n4 5 6\n", "NaN"),
    ],
)
def test_text_that_is_no_table_of_numbers_is_refused(content, words):
    refused(content, words)


def test_pixels_that_saw_nothing_are_left_out_of_a_pcd_but_half_a_point_is_refused():
    points = a_cloud(20)
    points[3] = np.nan
    for encoding in ("ascii", "binary", "binary_compressed"):
        assert len(read(pcd(points, encoding)).points) == 19
    points[4, 1] = np.nan
    refused(pcd(points), "1 of 19 points have NaN")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"FIELDS x y z", b"FIELDS x y w", "no field z"),
        (b"TYPE F F F", b"TYPE F F Q", "header of the PCD file is damaged"),
        (b"SIZE 4 4 4", b"SIZE 4 4", "header of the PCD file is damaged"),
        (b"COUNT 1 1 1", b"COUNT 1 1 0", "header of the PCD file is damaged"),
        (b"COUNT 1 1 1", b"COUNT 1 1 9999", "count 1|a row of"),
        (b"WIDTH 40", b"WIDTH -40", "damaged"),
        (b"POINTS 40", b"POINTS 41", "WIDTH x HEIGHT is 40"),
        (b"DATA binary", b"DATA zipped", "ascii, binary or binary_compressed"),
        (b"DATA binary", b"", "no line DATA|damaged"),
    ],
)
def test_a_forged_pcd_header_is_refused(old, new, words):
    content = pcd(a_cloud(40))
    assert old in content
    refused(content.replace(old, new, 1), words)


def test_a_forged_compressed_block_is_refused_before_it_is_unpacked():
    content = pcd(a_cloud(40), "binary_compressed")
    start = content.index(b"binary_compressed\n") + len(b"binary_compressed\n")
    head, body = content[:start], content[start + 8 :]
    refused(head + struct.pack("<II", len(body), 2**32 - 1) + body, "announces 4,294,967,295 bytes")
    refused(head + struct.pack("<II", 2**32 - 1, 480) + body, "truncated")
    bomb = b"\x00A" + b"\xff\xff\x00" * 100_000  # 26 MB of A
    refused(head + struct.pack("<II", len(bomb), 480) + bomb, "compressed block .* damaged")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 30), st.binary(max_size=20))
def test_lzf_unpacks_what_was_packed(start, n_repeats, end):
    content = start * n_repeats + end
    assert _lzf(lzf(content), len(content)) == content


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_lzf_never_unpacks_more_than_was_announced(packed):
    try:
        assert len(_lzf(packed, 50)) == 50
    except InvalidInputError as error:
        assert "damaged" in str(error) or "truncated" in str(error)  # noqa: PT017


def test_ply_faces_of_any_number_of_corners_become_triangles():
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 1.5, 0]]
    for faces in ([[0, 1, 2, 4, 3]], [[0, 1, 2, 3], [3, 2, 4]], [[0, 1, 2], [0, 2, 3], [3, 2, 4]]):
        for is_text in (True, False):
            cloud = read(ply(points, faces=faces, text=is_text), n_points=4000)
            assert len(cloud.points) == 4000
            above = (cloud.points[:, 1] > cloud.points[:, 1].min() + 1).mean()
            assert above == pytest.approx(0.2, abs=0.01)  # the gable's share of the area


def test_a_forged_ply_header_is_refused():
    content = ply(a_cloud(40))
    refused(content.replace(b"vertex 40", b"vertex 41"), "truncated")
    refused(content.replace(b"vertex 40", b"vertex -1"), "damaged")
    refused(content.replace(b"vertex 40", b"vertex xx"), "damaged")
    refused(content.replace(b"property float x", b"property quux x"), "damaged")
    refused(content.replace(b"property float z", b"property float w"), "no property 'z'")
    refused(content.replace(b"element vertex", b"element corner"), "no element 'vertex'")
    empty = content.replace(b"end_header", b"element empty 9000000\nend_header")
    refused(empty, "without a property")
    meshed = ply(np.eye(3), faces=[[0, 1, 2]])
    refused(meshed.replace(struct.pack("<Bi", 3, 0), struct.pack("<Bi", 200, 0)), "truncated")
    refused(ply(np.eye(3), faces=[[0, 1, 7]]), "names vertex 7, it has 3")


def test_text_in_a_number_of_a_ply_is_refused():
    content = ply(a_cloud(5), text=True)
    place = content.index(b"end_header\n") + len(b"end_header\n")
    refused(content[:place] + b"one two three\n" + content[place:], "could not convert")
    refused(content[:place] + b"1 2\n" + content[place:], "number of columns changed")


def test_obj_takes_faces_of_any_form_and_counts_back_from_a_line():
    whole = read(f"{SQUARE}f 1 2 3 4\n".encode(), n_points=100)
    for faces in (
        "f 1/1 2/2 3/3 4/4",
        "f 1//9 2//9 3//9 4//9",
        "f -4 -3 -2 -1",
        "f 1 2 3\nf 1 3 4",
        "f 1 2 \\\n3 4",
        "g a\nusemtl b\ns 1\nf 1 2 3 4 # all",
    ):
        cloud = read(f"{SQUARE}{faces}\n".encode(), n_points=100)
        np.testing.assert_allclose(cloud.points, whole.points, atol=1e-6)
    early = read(f"{SQUARE}f -4 -3 -2 -1\nv 9 9 9\n".encode(), n_points=100)
    np.testing.assert_allclose(early.points, whole.points, atol=1e-6)


def test_an_obj_without_faces_is_a_cloud_with_its_colours():
    cloud = read(b"v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 2 0 0 0 1\n")
    assert np.ptp(cloud.points, axis=0).tolist() == [1, 0, 2]
    assert cloud.colours.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("f 1 2 9", "names vertex 8, it has 4"),
        ("f 1 2 x", "face of the OBJ file is damaged"),
        ("f 0 1 2", "face of the OBJ file is damaged"),
        ("f -9 1 2", "the mesh names vertex"),
        ("f 1 2 99999999999999999999", "vertex that is not there"),
        ("f 1 1 1", "no area"),
        ("f 1 2", "no triangles"),
        ("v 1 2 x\nf 1 2 3", "could not convert"),
        ("v 1 2\nf 1 2 3", "number of columns changed"),
        ("v 1 2 nan\nf 1 2 3", "NaN"),
    ],
)
def test_damaged_lines_of_an_obj_are_refused(lines, words):
    refused(f"{SQUARE}{lines}\n".encode(), words)


def test_off_may_hold_its_counts_in_its_first_line_remarks_and_colours():
    body = "4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"
    plain = read(f"OFF\n{body}".encode(), n_points=50).points
    for content in (f"OFF{body}", f"OFF {body}", f"# made by hand\nOFF\n# counts\n{body}"):
        np.testing.assert_array_equal(read(content.encode(), n_points=50).points, plain)
    coloured = (
        "COFF\n3 1 0\n" + "0 0 0 255 0 0 255\n1 0 0 255 0 0 255\n1 1 0 255 0 0 255\n3 0 1 2\n"
    )
    assert (read(coloured.encode(), n_points=50).colours == [255, 0, 0]).all()
    refused(b"4OFF\n1 1 1\n0 0 0 0\n", "needed: OFF or COFF")
    refused(b"OFF\nfour 1 0\n", "numbers of vertices and faces are damaged")
    refused(b"OFF\n4 1 0\n0 0 0\n", "truncated")
    refused(b"OFF\n3 1 0\n0 0 0\n1 0 0\n1 1 0\n3 0 1\n", "face of the OFF file is damaged")


def test_a_binary_stl_must_be_as_long_as_it_announces():
    content = mesh("stl")
    refused(content[:-50], "as long as it announces")
    refused(content + b"\0", "as long as it announces")
    refused(mesh("stl_ascii").replace(b"vertex", b"vertigo", 1), "truncated or damaged")
    refused(mesh("stl_ascii").replace(b"0.5", b"half", 1), "could not convert")


TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype="<f4").tobytes()


def a_document(**changes):
    document = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    return document | changes


def test_a_glb_scene_is_put_together_with_the_places_of_its_nodes():
    moved = [{"mesh": 0}, {"mesh": 0, "translation": [9, 0, 0]}]
    cloud = read(glb(a_document(nodes=moved, scenes=[{"nodes": [0, 1]}]), TRIANGLE))
    assert np.ptp(cloud.points[:, 0]) == pytest.approx(10, abs=0.05)
    points = [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}]
    assert len(read(glb(a_document(meshes=points), TRIANGLE)).points) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "accessors": [
                    {"bufferView": 0, "componentType": 5126, "count": 10**9, "type": "VEC3"}
                ]
            },
            "1,000,000,000 rows",
        ),
        (
            {"accessors": [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"}]},
            "truncated",
        ),
        (
            {"accessors": [{"componentType": 5126, "count": 10**6, "type": "VEC3"}]},
            "sparse or empty",
        ),
        ({"bufferViews": [{"buffer": 0, "byteLength": 10**6}]}, "truncated"),
        ({"bufferViews": [{"buffer": 0, "byteLength": 36, "byteStride": 1}]}, "damaged"),
        ({"bufferViews": [{"buffer": 0, "byteLength": 36, "byteOffset": -36}]}, "damaged"),
        ({"buffers": [{"byteLength": 36, "uri": "secret.bin"}]}, "another file"),
        ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "compressed with KHR_draco"),
        ({"nodes": [{"mesh": 0, "children": [0]}]}, "no tree"),
        ({"nodes": [{"mesh": 5}]}, "damaged"),
        ({"nodes": [{"mesh": 0}] * 100_001}, "100,001 nodes"),
        ({"meshes": []}, "damaged"),
        ({"meshes": 7}, "damaged"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 6}]}]}, "fans"),
        ({"scenes": []}, "x" * 0),
    ],
)
def test_a_forged_glb_is_refused(changes, words):
    if not words:  # without scenes all nodes are shown
        assert len(read(glb(a_document(**changes), TRIANGLE)).points) > 2
        return
    refused(glb(a_document(**changes), TRIANGLE), words)


def test_a_mesh_that_a_glb_shows_too_often_is_refused_before_it_is_multiplied():
    accessors = [{"bufferView": 0, "componentType": 5126, "count": 100_000, "type": "VEC3"}]
    views = [{"buffer": 0, "byteLength": 1_200_000}]
    nodes = [{"mesh": 0}] * 1_000
    document = a_document(
        accessors=accessors,
        bufferViews=views,
        buffers=[{"byteLength": 1_200_000}],
        nodes=nodes,
        scenes=[{"nodes": list(range(1000))}],
    )
    refused(glb(document, bytes(1_200_000)), "rows of geometry, at most")


def test_las_says_its_unit_by_its_keys():
    points = a_cloud(20)
    assert read(las(points)).metres_per_unit == 1.0
    assert read(las(points, keys={3076: 9001})).metres_per_unit == 1.0
    assert read(las(points, keys={3076: 9003})).metres_per_unit == pytest.approx(0.3048006)
    assert read(las(points, keys={1024: 2})).metres_per_unit is None  # degrees
    assert read(las(points, keys={3076: 9002}), metres_per_unit=2.0).metres_per_unit == 2.0


def test_a_forged_las_header_is_refused():
    content = bytearray(las(a_cloud(20)))
    for place, value, words in (
        (94, b"\xff\xff", "truncated"),
        (96, b"\xff\xff\xff\x7f", "truncated"),
        (100, b"\xff\xff\xff\x7f", "records beside the points"),
        (107, b"\xff\xff\x00\x00", "truncated"),
        (104, b"\x63", "damaged|truncated"),
    ):
        forged = content.copy()
        forged[place : place + len(value)] = value
        refused(bytes(forged), words)


def test_forged_lengths_inside_a_laz_are_refused_before_its_decoder_believes_them():
    content = las(a_cloud(40), point_format=7, compressed=True, colours=np.full((40, 3), 257))
    start = int.from_bytes(content[96:100], "little")
    table = int.from_bytes(content[start : start + 8], "little")
    chunks = bytearray(content)
    chunks[table + 4 : table + 8] = b"\xff\xff\xff\x7f"
    refused(bytes(chunks), "2,147,483,647 chunks")
    layer = bytearray(content)
    layer[start + 8 + 36 + 4 : start + 8 + 36 + 8] = b"\xff\xff\xff\xf0"
    refused(bytes(layer), "a chunk of points")
    moved = bytearray(content)
    moved[start : start + 8] = (10**12).to_bytes(8, "little")
    refused(bytes(moved), "table of chunks")


def test_a_forged_npy_header_is_refused():
    content = npy(a_cloud(4))
    refused(content.replace(b"(4, 3)", b"(9, 3)"), "truncated")
    refused(content.replace(b"'<f8'", b"'|O' "), "real numbers were needed")
    refused(content.replace(b"(4, 3)", b"(-4, 3)"), "damaged")
    refused(content.replace(b"{'descr'", b"{'descr("), "damaged")
    refused(npy(np.zeros((3, 3), dtype=[("x", "f4")])), "real numbers were needed")
    assert len(read(npy(np.asfortranarray(a_cloud(4)))).points) == 4


def test_a_fan_has_two_triangles_fewer_than_corners():
    triangles = fan(np.array([7, 8, 9, 1, 2, 3, 4, 5, 5]), np.array([3, 4, 2]))
    assert triangles.tolist() == [[7, 8, 9], [1, 2, 3], [1, 3, 4]]


def test_colours_of_16_bits_and_of_0_to_1_become_8_bits():
    assert to_colours(np.array([[0, 65535, 257]], np.uint16)).tolist() == [[0, 255, 1]]
    assert to_colours(np.array([[0, 1, 0.5]])).tolist() == [[0, 255, 128]]
    assert to_colours(np.array([[0, 255, 7]], np.int64)).tolist() == [[0, 255, 7]]
