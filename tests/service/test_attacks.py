"""What somebody who means harm sends: all of it is refused, and the server lives on."""

import base64
import contextlib
import io
import json
import socket
import struct
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from serving import serving

from unibind.modalities.registry import installed


@pytest.fixture(autouse=True)
def lives_on(served):
    yield
    assert served.is_alive()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def embed(client, modality: str, content: bytes, **options) -> httpx.Response:
    part = {"type": modality, "data": b64(content), "options": options}
    return client.post("/v1/embeddings", json={"input": part})


def raw(served, request: bytes, *, timeout_s: float = 10) -> bytes:
    """Return all that the server answers to bytes, until it closes or is silent."""
    answer = b""
    with served.connect(timeout_s) as connection:
        connection.sendall(request)
        try:
            while chunk := connection.recv(65536):
                answer += chunk
                if answer.rstrip().endswith(b"}"):
                    break
        except (TimeoutError, ConnectionResetError):
            pass  # it closes on what it did not read
    return answer


# Files.


def png_of(width: int, height: int) -> bytes:
    """Return a PNG whose header promises so many pixels and whose data is empty."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"\0" * 1_000_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def gif_of(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6 + b";"


def wav_of(n_bytes: int) -> bytes:
    head = struct.pack("<4sI4s", b"RIFF", n_bytes & 0xFFFFFFFF, b"WAVE")
    shape = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 48000, 192000, 4, 16)
    return head + shape + struct.pack("<4sI", b"data", n_bytes & 0xFFFFFFFF) + b"\0" * 64


def ply_of(n_points: int) -> bytes:
    return (
        b"ply\nformat binary_little_endian 1.0\n"
        + f"element vertex {n_points}\n".encode()
        + b"property float x\nproperty float y\nproperty float z\nend_header\n"
        + b"\0" * 24
    )


def npy_of(shape: str) -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(10 + len(head) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + b"\0" * 64


def mp4_of(n_bytes: int) -> bytes:
    return struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4s", n_bytes, b"moov")


FORGED = [
    ("image", png_of(60_000, 60_000)),
    ("image", png_of(2**31 - 1, 2**31 - 1)),
    ("image", png_of(9_000, 9_000)),
    ("image", gif_of(65_535, 65_535)),
    ("audio", wav_of(2**32 - 1)),
    ("audio", b"RIFF\xff\xff\xff\xffWAVE" + b"fmt " * 50),
    ("pointcloud", ply_of(2_000_000_000)),
    ("pointcloud", ply_of(-1)),
    ("timeseries", npy_of("(1000000000000, 3)")),
    ("timeseries", npy_of("(9" * 300 + ",)")),
    ("thermal", npy_of("(100000, 100000)")),
    ("event", npy_of("(4000000000, 4)")),
    ("video", mp4_of(2**31)),
    ("video", gif_of(65_535, 65_535)),
]


@pytest.mark.parametrize(
    ("modality", "content"), FORGED, ids=[f"{n}-{name}" for n, (name, _) in enumerate(FORGED)]
)
def test_a_forged_header_is_refused_quickly(client, modality, content):
    if modality not in installed():
        pytest.skip(f"{modality} is not installed")
    began = time.monotonic()
    response = client.post("/v1/inspect", json={"input": {"type": modality, "data": b64(content)}})
    assert response.status_code in (400, 503), response.text
    assert time.monotonic() - began < 30
    assert "Traceback" not in response.text
    assert "site-packages" not in response.text


@pytest.mark.parametrize("modality", sorted(set(installed()) - {"text"}))
def test_noise_is_no_file_of_any_modality(client, modality):
    noise = np.random.default_rng(0).bytes(4096)
    part = {"type": modality, "data": b64(noise)}
    response = client.post("/v1/inspect", json={"input": part})
    assert response.status_code in (400, 501, 503), response.text


def test_a_polite_client_is_served_while_bombs_are_defused(client, served):
    bomb = {"input": {"type": "image", "data": b64(png_of(9_400, 9_400))}}
    with ThreadPoolExecutor(4) as pool, served.client() as other:
        bombs = [pool.submit(other.post, "/v1/inspect", json=bomb) for _ in range(4)]
        response = client.post("/v1/embeddings", json={"input": "a polite question"})
        assert response.status_code == 200
        assert {each.result().status_code for each in bombs} <= {400, 429}


# JSON and forms.


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"input":' * 100_000,
        b'{"input": "x", "input": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"input": "\xff\xfe"}',
        b'{"input": "\\ud800"}',
        b'{"input": 1e999999}',
        b"null",
        b"",
        b'{"input": NaN}',
    ],
    ids=["brackets", "objects", "twice", "no-utf8", "surrogate", "huge", "null", "empty", "nan"],
)
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/search"])
def test_json_that_is_too_deep_or_none_is_refused(client, path, body):
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_a_filter_that_is_too_deep_is_refused(client):
    where = {"a": 1}
    for _ in range(150):
        where = {"$not": where}
    response = client.post("/v1/search", json={"input": "x", "where": where})
    assert response.status_code == 400


@pytest.mark.parametrize(
    "body",
    [b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n", b"\0" * 5000],
)
def test_a_broken_form_is_refused(client, body):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = client.post("/v1/embeddings", content=body, headers=headers)
    assert response.status_code == 400


def test_another_kind_of_body_is_refused(client):
    headers = {"Content-Type": "text/plain"}
    response = client.post("/v1/embeddings", content=b'{"input": "x"}', headers=headers)
    assert response.status_code == 415


def archive(members: dict[str, bytes], *, link: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0xA1FF if link else 0x81A4) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(info, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        archive({"../../outside.png": b"x"}),
        archive({"/etc/outside": b"x"}),
        archive({"a/link": b"/etc/passwd"}, link=True),
        archive({"a/bomb.png": b"\0" * 300_000_000}),
        archive({}),
        b"PK\x03\x04 no zip",
    ],
    ids=["dots", "absolute", "link", "bomb", "empty", "none"],
)
def test_an_archive_that_leads_out_or_explodes_is_refused(client, served, content):
    response = client.post(
        "/v1/alignments",
        files={"file": ("set.zip", content)},
        data={"modality": "image", "learn_from": "class_names"},
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_archive")
    assert not list(served.root.glob("uploaded-*"))


@pytest.mark.parametrize("value", ["--space=/tmp/x", "../x", "a b", "/etc/passwd"])
def test_no_argument_of_an_alignment_is_an_option_or_a_path(client, value):
    form = {"modality": "image", "set": "stamps", "knowledge": value}
    response = client.post("/v1/alignments", data=form, files={"none": ("", b"")})
    assert response.status_code == 400


# HTTP itself.


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: localhost", "Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Host: localhost", "Content-Length: 4", "Content-Length: 5"),
        ("Host: localhost", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Host: localhost", "Transfer-Encoding: xchunked"),
        ("Host: localhost", "Content-Length: +4"),
        ("Host: localhost", "Host: other", "Content-Length: 4"),
        ("Content-Length: 4",),
        ("Host: localhost", "Content-Length : 4"),
        ("Host: localhost", "X: a\0b"),
    ],
)
def test_a_request_whose_end_is_in_doubt_is_refused(served, headers):
    request = head("/v1/embeddings", *headers) + b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n"
    answer = raw(served, request, timeout_s=5)
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501")
    assert b'"object":"list"' not in answer  # the second request is not answered


def test_a_host_that_is_not_ours_is_refused(served):
    answer = raw(served, head("/v1/models", "Host: attacker.example", method="GET"))
    assert answer.startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize("headers", [("Host: [",), ("Host: localhost", "Origin: http://[")])
def test_a_host_that_is_no_name_is_refused(served, headers):
    answer = raw(served, head("/v1/embeddings", *headers, "Content-Length: 2") + b"{}")
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
)
def test_a_page_of_another_site_cannot_send_anything(client, headers):
    response = client.put("/v1/items/x", json={"type": "text", "text": "x"}, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "cross_site")
    assert "access-control-allow-origin" not in response.headers


def test_a_head_that_never_ends_is_cut_off(served):
    began = time.monotonic()
    with served.connect() as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n")
        connection.settimeout(0.1)
        is_open = True
        while is_open and time.monotonic() - began < 20:
            try:
                connection.sendall(b"X: y\r\n")
                is_open = connection.recv(1) != b""
            except TimeoutError:
                continue
            except OSError:
                is_open = False
    assert not is_open
    assert time.monotonic() - began < 10


def test_slow_heads_do_not_keep_others_out(served, client):
    waiting = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(200)]
    try:
        for each in waiting:
            each.sendall(b"GET /")
        assert client.get("/healthz").status_code == 200
        time.sleep(3)
        closed = 0
        for each in waiting:
            each.settimeout(5)
            closed += each.recv(10) == b""
        assert closed == 200
    finally:
        for each in waiting:
            each.close()


def test_a_second_request_on_a_connection_has_its_time_too(served):
    with served.connect() as connection:
        connection.sendall(head("/healthz", "Host: localhost", method="GET"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        connection.settimeout(10)
        rest = connection.recv(65536)  # the rest of the first answer's body, or the end
        while rest:
            rest = connection.recv(65536)


def test_a_head_that_is_too_long_is_refused(served):
    answer = raw(served, head("/healthz", "Host: localhost", "X: " + "y" * 200_000, method="GET"))
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")) or not answer


def test_a_websocket_is_not_opened(served):
    request = head(
        "/v1/models", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket", method="GET"
    )
    assert not raw(served, request).startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/index.html/../../app.py", "/.git/config",
        "/%2e%2e/server.log", "//etc/passwd", "/console/../app.py",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_console(served, path):
    answer = raw(served, head(path, "Host: localhost", method="GET"))
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
    assert b"root:" not in answer


def test_answers_carry_the_headers_that_browsers_obey(client):
    api, page = client.get("/v1/models"), client.get("/")
    for response in (api, page):
        assert response.headers["x-content-type-options"] == "nosniff"
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
    assert "server" not in api.headers


# Keys.


@pytest.fixture(scope="module")
def keyed(mini_weights, tmp_path_factory):
    from unibind.service.access import KeyRing

    folder = tmp_path_factory.mktemp("keyed")
    ring = KeyRing(folder / "indexes" / "mini" / "keys.json")
    keys = {role: ring.add(role, role) for role in ("read", "write", "admin")}
    limits = {"max_body_bytes": 200_000, "body_timeout_s": 1.5, "rate_per_minute": 600}
    with serving(folder, api_key="master-key", **limits) as running:
        running.keys = keys
        yield running


@pytest.mark.parametrize("key", [None, "wrong", "ub_admin_" + "x" * 43, "é" * 40])
def test_without_the_right_key_nothing_is_told(keyed, key):
    headers = {"Authorization": f"Bearer {key}".encode()} if key is not None else {}
    with keyed.client() as client:
        for method, path in [
            ("GET", "/v1/models"),
            ("POST", "/v1/embeddings"),
            ("GET", "/metrics"),
        ]:
            response = client.request(method, path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
        assert client.get("/healthz").status_code == 200


def test_a_key_may_do_what_its_role_may(keyed):
    item = {"type": "text", "text": "x"}
    change = {"action": "accept", "rows": [1], "reviewer": "t", "dry_run": True}
    expected = {"read": (200, 403, 403), "write": (200, 200, 403), "admin": (200, 200, 200)}
    for role, statuses in expected.items():
        with keyed.client(keyed.keys[role]) as client:
            assert (
                client.post("/v1/search", json={"input": "x"}).status_code,
                client.put("/v1/items/k", json=item).status_code,
                client.post("/v1/knowledge/everyday/changes", json=change).status_code,
            ) == statuses, role
    with keyed.client("master-key") as client:
        assert client.delete("/v1/items/k").status_code == 200


def test_the_other_header_for_keys_works_too(keyed):
    with keyed.client() as client:
        headers = {"X-API-Key": keyed.keys["read"]}
        assert client.get("/v1/models", headers=headers).status_code == 200


def test_no_key_lies_on_disk(keyed):
    for path in keyed.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for key in (*keyed.keys.values(), "master-key"):
                assert key.encode() not in content, path


def test_the_right_key_takes_as_long_as_a_wrong_one(keyed):
    from unibind.service.access import Access, KeyRing, Refusal

    access = Access(KeyRing(keyed.root / "keys.json"))

    def seconds(key: str) -> float:
        began = time.perf_counter()
        with contextlib.suppress(Refusal):
            access.caller(key, f"peer {np.random.default_rng().random()}")
        return time.perf_counter() - began

    right = keyed.keys["read"]
    wrong_early, wrong_late = "x" + right[1:], right[:-1] + "x"
    taken = {
        key: np.median([seconds(key) for _ in range(300)]) for key in (wrong_early, wrong_late)
    }
    # Digests are compared, so a key that is nearly right is as far off as any other.
    assert taken[wrong_late] < 3 * taken[wrong_early] + 1e-4


def test_a_body_that_is_too_large_is_refused_before_it_is_read(keyed):
    with keyed.client(keyed.keys["read"]) as client:
        response = client.post("/v1/embeddings", json={"input": "x" * 300_000})
        assert response.status_code == 413

        def pieces():
            for _ in range(400):
                yield b"x" * 1000

        try:
            response = client.post(
                "/v1/embeddings", content=pieces(), headers={"Content-Type": "application/json"}
            )
            assert response.status_code == 413
        except httpx.HTTPError:
            pass  # the connection was closed while we still sent
    assert keyed.is_alive()


def test_a_body_that_stops_is_not_waited_for(keyed):
    key = keyed.keys["read"]
    request = head(
        "/v1/embeddings", "Host: localhost", f"Authorization: Bearer {key}",
        "Content-Type: application/json", "Content-Length: 1000",
    )  # fmt: skip
    began = time.monotonic()
    answer = raw(keyed, request + b'{"input": ')
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 10


def test_who_guesses_keys_is_made_to_wait(keyed):
    with keyed.client("wrong") as client:
        statuses = [client.get("/v1/models").status_code for _ in range(40)]
    assert statuses[-1] == 429
    # The right key is let in from another address; from the same, one waits as well.


def test_a_public_address_without_a_key_is_refused(tmp_path, mini_weights):
    import os
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "unibind", "serve", "--host", "0.0.0.0", "--port", "0"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("UNIBIND_SERVE")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "unibind keys add" in done.stderr
    assert json.dumps("Traceback") not in done.stderr
