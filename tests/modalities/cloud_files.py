"""Writers of point cloud files for the tests, apart from the readers that they test."""

import io
import struct

import laspy
import numpy as np
import trimesh
from plyfile import PlyData, PlyElement


def ply(points, *, text=False, byte_order="<", colours=None, faces=None):
    names = [("x", "f4"), ("y", "f4"), ("z", "f4")]
    rows = [tuple(row) for row in np.asarray(points, dtype=np.float64)]
    if colours is not None:
        names += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
        rows = [(*row, *colour) for row, colour in zip(rows, colours, strict=True)]
    elements = [PlyElement.describe(np.array(rows, dtype=names), "vertex")]
    if faces is not None:
        table = np.empty(len(faces), dtype=[("vertex_indices", object)])
        table["vertex_indices"] = [np.array(face, dtype="i4") for face in faces]
        elements.append(PlyElement.describe(table, "face"))
    buffer = io.BytesIO()
    PlyData(elements, text=text, byte_order="=" if text else byte_order).write(buffer)
    return buffer.getvalue()


def pcd(points, encoding="binary", *, n_announced=None, colours=None):
    points = np.asarray(points, dtype="<f4")
    n = len(points) if n_announced is None else n_announced
    fields, sizes, types = "x y z", "4 4 4", "F F F"
    columns = [points[:, 0], points[:, 1], points[:, 2]]
    if colours is not None:
        fields, sizes, types = f"{fields} rgb", f"{sizes} 4", f"{types} U"
        red, green, blue = np.asarray(colours, dtype="<u4").T
        columns.append(red << 16 | green << 8 | blue)
    header = (
        f"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {fields}\n"
        f"SIZE {sizes}\nTYPE {types}\nCOUNT {' '.join('1' * len(columns))}\nWIDTH {n}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA {encoding}\n"
    ).encode()
    if encoding == "ascii":
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return header + "\n".join(" ".join(map(repr, row)) for row in rows).encode() + b"\n"
    if encoding == "binary":
        rows = zip(*columns, strict=True)
        return header + b"".join(b"".join(value.tobytes() for value in row) for row in rows)
    body = b"".join(column.tobytes() for column in columns)
    packed = lzf(body)
    return header + struct.pack("<II", len(packed), len(body)) + packed


def lzf(content):
    """A plain LZF packer: the longest repeat of the last 8 KiB, or a literal."""
    packed, literals, place = bytearray(), bytearray(), 0

    def flush():
        while literals:
            run = literals[:32]
            packed.append(len(run) - 1)
            packed.extend(run)
            del literals[:32]

    while place < len(content):
        length, distance = _repeat(content, place)
        if length < 3:
            literals.append(content[place])
            place += 1
            continue
        flush()
        code, back = length - 2, distance - 1
        packed.append(min(code, 7) << 5 | back >> 8)
        if code >= 7:
            packed.append(code - 7)
        packed.append(back & 255)
        place += length
    flush()
    return bytes(packed)


def _repeat(content, place):
    key = content[place : place + 3]
    # The match may run into itself: the window ends two bytes after the place.
    start = content.rfind(key, max(0, place - 8191), place + 2) if len(key) == 3 else -1
    if start < 0 or start >= place:
        return 0, 0
    length = 3
    while length < 264 and place + length < len(content):
        if content[start + length] != content[place + length]:
            break
        length += 1
    return length, place - start


def las(points, *, compressed=False, point_format=0, colours=None, keys=None):
    points = np.asarray(points, dtype=np.float64)
    header = laspy.LasHeader(
        point_format=point_format, version="1.4" if point_format > 5 else "1.2"
    )
    header.scales, header.offsets = [0.001] * 3, np.floor(points.min(axis=0))
    if keys is not None:
        header.vlrs.append(geo_keys(keys))
    data = laspy.LasData(header)
    data.xyz = points
    if colours is not None:
        data.red, data.green, data.blue = np.asarray(colours, dtype=np.uint16).T
    buffer = io.BytesIO()
    data.write(buffer, do_compress=compressed)
    return buffer.getvalue()


def geo_keys(keys):
    body = struct.pack("<4H", 1, 1, 0, len(keys))
    body += b"".join(struct.pack("<4H", key, 0, 1, value) for key, value in keys.items())
    return laspy.VLR("LASF_Projection", 34735, "", body)


def text(points, separator=" "):
    return "\n".join(separator.join(map(repr, map(float, row))) for row in points).encode()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def mesh(kind, extents=(1.0, 2.0, 3.0)):
    content = trimesh.creation.box(extents=extents).export(file_type=kind)
    return content.encode() if isinstance(content, str) else content


def glb(document, body=b""):
    import json

    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(body), 0x004E4942) + body
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def a_cloud(n=300, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3)) * [1.0, 2.0, 3.0]
