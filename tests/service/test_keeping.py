"""Keys, kept contents, the writer, the settings: what the service holds on to."""

import json
import os
import stat
import threading
import time

import numpy as np
import pytest
from pydantic import ValidationError

from unibind.errors import ArtifactError, InvalidInputError, StoreError
from unibind.retrieval.store import LocalStore
from unibind.service.access import Access, KeyRing, Role, role_for
from unibind.service.contents import Content, Contents
from unibind.service.refusals import Refusal, refusal_of, without_paths
from unibind.service.writing import StoreWriter, Upsert
from unibind.settings import ServiceSettings
from unibind.types import SpaceId

# Keys.


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "keys.json")


def test_a_key_is_known_by_its_hash_alone(ring):
    secret = ring.add("ci", "write")
    assert secret not in ring.path.read_text()
    caller = Access(ring).caller(secret, "here")
    assert (caller.name, caller.role) == ("ci", Role.WRITE)


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_the_file_of_keys_is_its_owners_alone(ring):
    ring.add("ci", "read")
    assert stat.S_IMODE(ring.path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "role", "words"),
    [("a b", "read", "cannot name"), ("", "read", "cannot name"), ("x", "root", "no role")],
)
def test_a_key_that_cannot_be_is_not_made(ring, name, role, words):
    with pytest.raises(InvalidInputError, match=words):
        ring.add(name, role)
    assert not ring.path.exists()


def test_names_of_keys_are_unique_and_can_be_removed(ring):
    ring.add("a", "read")
    with pytest.raises(InvalidInputError, match="already"):
        ring.add("a", "read")
    ring.remove("a")
    assert ring.keys() == []
    with pytest.raises(InvalidInputError, match="there are none"):
        ring.remove("a")


def test_a_damaged_file_of_keys_is_no_open_door(ring):
    ring.path.write_text("{}")
    with pytest.raises(ArtifactError, match="cannot be read"):
        Access(ring)


def test_a_running_service_learns_of_new_and_removed_keys(ring, monkeypatch):
    monkeypatch.setattr(Access, "_REREAD_S", 0.0)
    first = ring.add("first", "read")
    access = Access(ring)
    second = ring.add("second", "admin")
    assert access.caller(second, "here").role is Role.ADMIN
    ring.remove("first")
    ring.remove("second")
    for secret in (first, second, None):  # the last key is gone: nobody gets in, not anybody
        with pytest.raises(Refusal):
            access.caller(secret, "here")


def test_a_key_may_ask_only_so_often(ring):
    secret = ring.add("busy", "read")
    access = Access(ring, rate_per_minute=5)
    caller = access.caller(secret, "here")
    for _ in range(5):
        access.admit(caller)
    with pytest.raises(Refusal, match="5 requests a minute") as caught:
        access.admit(caller)
    assert caught.value.status == 429
    assert 0 < caught.value.retry_after_s <= 12


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/", None), ("GET", "/app.js", None), ("GET", "/healthz", None),
        ("GET", "/v1/items/a", Role.READ), ("GET", "/metrics", Role.READ),
        ("POST", "/v1/embeddings", Role.READ), ("POST", "/v1/classify", Role.READ),
        ("PUT", "/v1/items/a", Role.WRITE), ("DELETE", "/v1/items/a", Role.WRITE),
        ("POST", "/v1/items:batch", Role.WRITE), ("POST", "/v1/alignments", Role.ADMIN),
        ("POST", "/v1/knowledge/x/changes", Role.ADMIN), ("POST", "/v1/new", Role.ADMIN),
        ("DELETE", "/v1/embeddings", Role.READ), ("PATCH", "/whatever", Role.ADMIN),
    ],
)  # fmt: skip
def test_what_is_not_listed_needs_the_most(method, path, role):
    assert role_for(method, path) is role


# Contents.


def test_a_content_comes_back_and_goes_with_its_last_key(tmp_path):
    contents = Contents(tmp_path / "contents")
    content = Content("image", b"pixels", {"rate_hz": 50})
    assert contents.get("a") is None
    contents.keep("a", content)
    contents.keep("b", content)
    assert contents.get("a") == content
    files = list((tmp_path / "contents").glob("??/*"))
    assert len(files) == 1
    contents.forget("a")
    assert contents.get("a") is None
    assert contents.get("b") == content
    contents.keep("b", Content("image", b"others", {}))
    assert not files[0].exists()
    contents.forget("nobody")
    contents.close()


def test_a_content_that_rotted_is_not_given_out(tmp_path):
    contents = Contents(tmp_path)
    contents.keep("a", Content("image", b"pixels", {}))
    (file,) = tmp_path.glob("??/*")
    file.write_bytes(b"pixelz")
    with pytest.raises(StoreError, match="not what was written"):
        contents.get("a")
    file.unlink()
    assert contents.get("a") is None


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    contents = Contents(tmp_path / "file" / "below")
    with pytest.raises(StoreError, match="cannot be kept"):
        contents.keep("a", Content("image", b"x", {}))


# The writer.


@pytest.fixture
def store(tmp_path):
    with LocalStore.open(tmp_path / "store", space=SpaceId("s"), dim=4) as opened:
        yield opened


def upsert(key: str, n: int = 0, modality: str = "text") -> Upsert:
    row = np.zeros(4, dtype=np.float32)
    row[n % 4] = 1
    return Upsert(key, modality, row, {"n": n})


def test_what_the_writer_acknowledged_is_stored(store):
    writer = StoreWriter(lambda: store)
    done = [writer.upsert(upsert(f"k{n}", n, ("text", "image")[n % 2])) for n in range(40)]
    for each in done:
        each.result(20)
    assert store.count() == 40
    assert writer.delete(["k1", "none"]).result(20) == 1
    assert store.get("k1") is None
    writer.close()


def test_writes_to_one_key_keep_their_order(store):
    writer = StoreWriter(lambda: store)
    for n in range(60):
        last = writer.upsert(upsert("same", n))
    last.result(20)
    assert store.get("same").metadata == {"n": 59}
    writer.delete(["same"])
    writer.upsert(upsert("same", 7)).result(20)
    assert store.get("same").metadata == {"n": 7}
    writer.close()


def test_what_came_while_it_wrote_goes_into_one_transaction(store):
    begun, go = threading.Event(), threading.Event()
    sizes = []

    class Slow:
        def upsert(self, keys, *args, **options):
            begun.set()
            go.wait(10)
            sizes.append(len(keys))
            store.upsert(keys, *args, **options)

    writer = StoreWriter(Slow)
    first = writer.upsert(upsert("first"))
    begun.wait(10)
    rest = [writer.upsert(upsert(f"k{n}")) for n in range(30)]
    go.set()
    for each in (first, *rest):
        each.result(20)
    assert sizes == [1, 30]
    writer.close()


def test_one_bad_write_fails_alone(store):
    writer = StoreWriter(lambda: store)
    bad = Upsert("bad", "text", np.ones(4, dtype=np.float32), {})
    done = [writer.upsert(each) for each in (upsert("a"), bad, upsert("b"))]
    assert done[0].result(20)
    with pytest.raises(InvalidInputError, match="unit length"):
        done[1].result(20)
    assert done[2].result(20)
    assert store.count() == 2
    writer.close()


def test_a_closed_writer_has_written_what_it_took_and_takes_no_more(store):
    writer = StoreWriter(lambda: store)
    done = [writer.upsert(upsert(f"k{n}")) for n in range(20)]
    writer.close()
    assert all(each.done() for each in done)
    assert store.count() == 20
    with pytest.raises(StoreError, match="shutting down"):
        writer.upsert(upsert("late"))


# Settings and refusals.


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("UNIBIND_SERVE_PORT", "9000")
    monkeypatch.setenv("UNIBIND_SERVE_ALLOWED_HOSTS", "a.example, b.example")
    monkeypatch.setenv("UNIBIND_SERVE_FETCH_PORTS", "443,8443")
    monkeypatch.setenv("UNIBIND_SERVE_API_KEY", "secret")
    told = ServiceSettings()
    assert (told.port, told.allowed_hosts) == (9000, ("a.example", "b.example"))
    assert told.fetch_ports == (443, 8443)
    assert "secret" not in repr(told)


@pytest.mark.parametrize("name", ["PORT", "MAX_WAIT_S", "LOG_FORMAT"])
def test_a_setting_that_cannot_be_is_refused(monkeypatch, name):
    monkeypatch.setenv(f"UNIBIND_SERVE_{name}", "-1")
    with pytest.raises(ValidationError):
        ServiceSettings()


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.8.8.8", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False)],
)  # fmt: skip
def test_only_loopback_is_open_without_a_key(host, is_loopback):
    told = ServiceSettings(host=host)
    assert told.is_loopback is is_loopback
    told.check_access(has_key=True)
    if is_loopback:
        told.check_access(has_key=False)
    else:
        with pytest.raises(InvalidInputError, match="unibind keys add"):
            told.check_access(has_key=False)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("cannot read /srv/indexes/mini/x.png: no", "cannot read (a file): no"),
        (r"at C:\Users\me\x.wav", "at (a file)"),
        ("12 m/s2 and 3/4, and/or http://a/b", "12 m/s2 and 3/4, and/or http://a/b"),
    ],
)
def test_no_answer_names_a_path(message, told):
    assert without_paths(message) == told


def test_what_is_wrong_with_the_server_is_told_in_general():
    refusal = refusal_of(StoreError("/srv/secret/place is full"))
    assert refusal.status == 503
    assert "secret" not in json.dumps(refusal.error("id"))
    assert refusal.headers()["Retry-After"] == "5"


def test_buckets_fill_again(ring):
    secret = ring.add("slow", "read")
    access = Access(ring, rate_per_minute=600)
    caller = access.caller(secret, "here")
    for _ in range(600):
        access.admit(caller)
    with pytest.raises(Refusal):
        access.admit(caller)
    time.sleep(0.3)
    access.admit(caller)
