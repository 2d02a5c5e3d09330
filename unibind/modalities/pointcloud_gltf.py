"""Binary glTF, cut down to its geometry and checked, so that nothing else of it is ever decoded."""

import json
import struct
from collections.abc import Mapping
from typing import Any

from unibind.errors import InvalidInputError
from unibind.modalities.pointcloud_shape import (
    MAX_POINTS,
    MAX_TRIANGLES,
    check_count,
    check_length,
)
from unibind.types import Json

__all__ = ["alone"]

_MAX_JSON_BYTES = 2**26
_MAX_NODES = 100_000
_JSON, _BIN = 0x4E4F534A, 0x004E4942
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
_COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_PACKED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")
_KEPT_OF_NODE = ("children", "mesh", "matrix", "translation", "rotation", "scale")


def alone(content: bytes) -> bytes:
    """Return a GLB file with only scenes, nodes and geometry, each announced size checked.

    Raises:
        InvalidInputError: It is damaged, too large, compressed, or its data lie elsewhere.
    """
    document, body = _chunks(content)
    try:
        geometry = _geometry(document, len(body))
        _check_instances(geometry)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"the GLB file's description is damaged ({type(error).__name__}: {error}); "
            "export it again"
        ) from None
    return _packed(geometry, body)


def _chunks(content: bytes) -> tuple[Mapping[str, Json], bytes]:
    check_length(len(content), 20, "the header")
    version, length = struct.unpack_from("<II", content, 4)
    if version != 2:
        raise InvalidInputError(f"the GLB file has glTF version {version}, 2 was needed")
    check_length(len(content), length, "the file")
    n_json, kind = struct.unpack_from("<II", content, 12)
    check_length(len(content) - 20, n_json, "its description")
    if kind != _JSON or n_json > _MAX_JSON_BYTES:
        raise InvalidInputError("the GLB file does not begin with its description; it is damaged")
    try:
        document = json.loads(content[20 : 20 + n_json])
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the GLB file's description is damaged: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInputError("the GLB file's description is no JSON object; export it again")
    place = 20 + n_json
    while place + 8 <= len(content):
        n_bytes, kind = struct.unpack_from("<II", content, place)
        check_length(len(content) - place - 8, n_bytes, "its geometry")
        if kind == _BIN:
            return document, content[place + 8 : place + 8 + n_bytes]
        place += 8 + n_bytes
    return document, b""


def _geometry(document: Mapping[str, Any], n_body: int) -> dict[str, Any]:
    packed = [name for name in document.get("extensionsRequired", []) if name in _PACKED]
    if packed:
        raise InvalidInputError(f"the GLB file is compressed with {packed[0]}; export it without")
    meshes = [_mesh(mesh) for mesh in document.get("meshes", [])]
    used = sorted({n for mesh in meshes for each in mesh["primitives"] for n in _accessors(each)})
    place = {n: i for i, n in enumerate(used)}
    accessors, views, n_rows = [], [], 0
    for i, n in enumerate(used):
        accessor, view = _accessor(document, n, n_body)
        accessors.append({**accessor, "bufferView": i})
        views.append(view)
        n_rows += accessor["count"]
    check_count(n_rows, "rows of geometry", MAX_POINTS + 3 * MAX_TRIANGLES)
    for mesh in meshes:
        for each in mesh["primitives"]:
            each["attributes"] = {key: place[n] for key, n in each["attributes"].items()}
            if "indices" in each:
                each["indices"] = place[each["indices"]]
    scenes = document.get("scenes") or [{"nodes": list(range(len(document.get("nodes", []))))}]
    scene = scenes[document.get("scene", 0)]
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(scene.get("nodes", []))}],
        "nodes": [
            {key: node[key] for key in _KEPT_OF_NODE if key in node}
            for node in document.get("nodes", [])
        ],
        "meshes": meshes,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": n_body}],
    }


def _mesh(mesh: Mapping[str, Any]) -> dict[str, Any]:
    """Return the triangles of a mesh, or its points if it has none."""
    modes = [each.get("mode", _TRIANGLES) for each in mesh["primitives"]]
    if _FAN in modes:
        raise InvalidInputError("the GLB file has fans of triangles; export plain triangles")
    wanted = {_TRIANGLES, _STRIP} if {_TRIANGLES, _STRIP} & set(modes) else {_POINTS}
    primitives = []
    for each, mode in zip(mesh["primitives"], modes, strict=True):
        if mode in wanted:
            kept = {
                key: each["attributes"][key]
                for key in ("POSITION", "COLOR_0")
                if key in each["attributes"]
            }
            indices = {"indices": each["indices"]} if "indices" in each else {}
            primitives.append({"attributes": kept, "mode": mode, **indices})
    return {"primitives": primitives}


def _accessors(primitive: Mapping[str, Any]) -> list[int]:
    more = [primitive["indices"]] if "indices" in primitive else []
    return [*primitive["attributes"].values(), *more]


def _accessor(
    document: Mapping[str, Any], n: int, n_body: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    accessor = document["accessors"][_index(n)]
    if "sparse" in accessor or "bufferView" not in accessor:
        raise InvalidInputError("the GLB file has sparse or empty accessors; export plain ones")
    view = document["bufferViews"][_index(accessor["bufferView"])]
    buffer = document["buffers"][_index(view["buffer"])]
    if view["buffer"] != 0 or "uri" in buffer:
        raise InvalidInputError(
            "the GLB file's geometry lies in another file; export it as one self-contained .glb"
        )
    count, offset = _index(accessor["count"]), _index(accessor.get("byteOffset", 0))
    check_count(count, "rows of geometry", MAX_POINTS + 3 * MAX_TRIANGLES)
    n_row = _COLUMNS[accessor["type"]] * _BYTES[accessor["componentType"]]
    stride = _index(view.get("byteStride", n_row))
    if stride < n_row:
        raise ValueError(f"rows of {n_row} bytes every {stride}")
    start, n_view = _index(view.get("byteOffset", 0)), _index(view["byteLength"])
    check_length(n_body - start, n_view, "geometry")
    check_length(n_view - offset, (count - 1) * stride + n_row if count else 0, "geometry")
    kept = {"count": count, "type": accessor["type"], "componentType": accessor["componentType"]}
    kept["byteOffset"] = offset
    same = {"buffer": 0, "byteOffset": start, "byteLength": n_view}
    return kept, same | ({"byteStride": stride} if "byteStride" in view else {})


def _index(n: Any) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise ValueError(f"{n!r} is no number of a row")
    return n


def _check_instances(geometry: Mapping[str, Any]) -> None:
    """Check that the nodes are a tree, and how much they show: one mesh may stand many times."""
    nodes, accessors = geometry["nodes"], geometry["accessors"]
    check_count(len(nodes), "nodes", _MAX_NODES)
    sizes = [
        sum(accessors[n]["count"] for each in mesh["primitives"] for n in _accessors(each))
        for mesh in geometry["meshes"]
    ]
    seen: set[int] = set()
    waiting = list(geometry["scenes"][0]["nodes"])
    n_rows = 0
    while waiting:
        n = _index(waiting.pop())
        if n in seen:
            raise InvalidInputError("the GLB file shows a node twice: its nodes are no tree")
        seen.add(n)
        node = nodes[n]
        waiting.extend(node.get("children", []))
        if "mesh" in node:
            n_rows += sizes[_index(node["mesh"])]
            check_count(n_rows, "rows of geometry", MAX_POINTS + 3 * MAX_TRIANGLES)


def _packed(geometry: Mapping[str, Any], body: bytes) -> bytes:
    text = json.dumps(geometry).encode()
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    chunks = struct.pack("<II", len(text), _JSON) + text
    chunks += struct.pack("<II", len(body), _BIN) + body
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks
