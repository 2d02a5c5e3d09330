import asyncio
import inspect

import numpy as np
import pytest
from conftest import png

import unibind
from unibind.client import AsyncClient, Client
from unibind.errors import InvalidInputError, UnibindError


@pytest.fixture
def remote(served):
    with unibind.Client(served.url, n_retries=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def engine(mini_weights, tmp_path_factory):
    with unibind.open(tmp_path_factory.mktemp("local") / "mini") as opened:
        yield opened


ON_THE_SERVERS_MACHINE = {
    "from_recipe": "makes a space, where there is none to serve yet",
    "with_encoder": "chooses towers, which are the operator's choice",
    "save": "writes the space's folder, which the server does itself",
    "encoder": "hands out a tower, which stays with the server",
    "head": "hands out a head, which stays with the server",
    "prior": "hands out a prior, which stays with the server",
    "store": "hands out the store, which stays with the server",
    "encode": "returns features, which mean something beside their encoder only",
    "centers": "returns class centers, which `classify` makes of the classes that it is told",
    "decide": "works on embeddings and centers that are at hand",
    "fit": "works on features; `align` takes the items",
    "train": "is the part of `align` for networks; a run does both",
    "is_trainable": "asks how `align` will go about it",
    "embed_each": "a refusal of `embed` names each item that cannot be read",
    "classify_each": "a refusal of `classify` names each item that cannot be read",
    "teach": "changes the space at once and for all; the server has no route for it",
    "unteach": "as teach",
    "outdated": "is for who keeps the store; `unibind index verify` says it there",
}
"""Methods of Engine that the clients lack, and why."""

OF_CLIENTS = {"get": "engine.store.get", "delete": "engine.store.delete"}
"""Methods that clients have besides, and where an engine's user finds them."""


def public(kind) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_the_clients_have_every_method_of_the_engine_but_those_that_cannot_leave_it(client):
    assert public(unibind.Engine) - public(client) == set(ON_THE_SERVERS_MACHINE)
    assert public(client) - public(unibind.Engine) == set(OF_CLIENTS)


def test_the_clients_verbs_take_the_engines_arguments():
    kept_by_the_server = {"evidence", "texts", "judged", "aligner", "watch"}
    for verb in public(Client) & public(unibind.Engine) - {"modalities", "close"}:
        ours = inspect.signature(getattr(Client, verb)).parameters
        engines = inspect.signature(getattr(unibind.Engine, verb)).parameters
        assert list(engines)[:3] == list(ours)[:3], verb
        assert set(engines) - set(ours) <= kept_by_the_server | {"targets"}, verb


def test_both_clients_have_the_same_methods():
    def methods(kind):
        found = {
            name: inspect.signature(value)
            for name, value in vars(kind).items()
            if inspect.isfunction(value) and not name.startswith("_")
        }
        return {name: list(told.parameters) for name, told in found.items()}

    assert methods(Client) == methods(AsyncClient)


def test_it_embeds_what_the_engine_embeds(remote, engine, tmp_path, picture):
    path = tmp_path / "a.png"
    path.write_bytes(picture)
    np.testing.assert_allclose(
        remote.embed("image", [path, picture, str(path)]),
        engine.embed("image", [path, picture, str(path)]),
        atol=1e-5,
    )
    assert remote.embed("text", []).shape == (0, 384)


def test_long_lists_go_in_several_requests_and_tell_how_far_they_are(remote, engine):
    texts = [f"text number {n}" for n in range(150)]
    told = []
    rows = remote.embed("text", texts, progress=lambda n, total: told.append((n, total)))
    np.testing.assert_allclose(rows, engine.embed("text", texts), atol=1e-5)
    assert told == [(64, 150), (128, 150), (150, 150)]


def test_it_stores_finds_and_deletes(remote):
    remote.add("text", ["a red kettle", "a dog"], keys=["c/1", "c/2"], metadata=[{"n": 1}, {}])
    assert remote.get("c/1").metadata == {"n": 1}
    assert remote.get("c/none") is None
    assert remote.count("text") >= 2
    (hits,) = remote.search("text", ["a kettle"], k=1, into=["text"])
    assert hits[0].key == "c/1"
    (hits,) = remote.search("text", ["a kettle"], where={"n": 1}, hybrid=True)
    assert [hit.key for hit in hits] == ["c/1"]
    assert remote.delete("c/1")
    assert not remote.delete("c/1")
    remote.delete("c/2")


def test_it_classifies_with_reasons(remote, engine, picture):
    (ours,) = remote.classify("image", [picture], classes=["a cat", "a quilt"])
    (engines,) = engine.classify("image", [picture], classes=["a cat", "a quilt"])
    assert [each.label for each in ours] == [each.label for each in engines]
    assert ours[0].probability == pytest.approx(engines[0].probability, abs=1e-4)
    assert ours[0].reasons


def test_what_the_server_refuses_is_unibinds_own_error(remote):
    with pytest.raises(InvalidInputError, match="not a picture"):
        remote.embed("image", [b"no picture"])
    with pytest.raises(InvalidInputError, match="1 of 2 items were not stored: bad"):
        remote.add("image", [png(1), b"no picture"], keys=["good", "bad"])
    assert remote.delete("good")
    with pytest.raises(InvalidInputError, match=r"request [0-9a-f]{32}"):
        remote.classify("text", ["x"], classes=["a", "a"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c.embed("text", "one"), "one item was given"),
        (lambda c: c.embed("image", [np.zeros(3)]), "path of a file or its content"),
        (lambda c: c.embed("image", ["/no/such/file"]), "cannot read"),
        (lambda c: c.add("text", ["a"], keys=[]), "1 items with 0 keys"),
        (lambda c: Client("localhost:8000"), "no address"),
    ],
)
def test_what_cannot_be_sent_is_told_before_it_is(remote, call, words):
    with pytest.raises(InvalidInputError, match=words):
        call(remote)


def test_a_server_that_is_not_there_is_told_as_such():
    with (
        Client("http://127.0.0.1:9", n_retries=0) as closed,
        pytest.raises(UnibindError, match="cannot be reached"),
    ):
        closed.count()


def test_the_async_client_does_the_same(served, engine):
    async def ask():
        async with AsyncClient(served.url) as remote:
            rows = await remote.embed("text", ["a red kettle"])
            await remote.add("text", ["a red kettle"], keys=["async"])
            (hits,) = await remote.search("text", ["a kettle"], k=1, into=["text"])
            (told,) = await remote.classify("text", ["it purrs"], classes=["a cat", "a bus"])
            assert await remote.count() >= 1
            assert (await remote.get("async")).key == "async"
            assert {each["type"] for each in await remote.modalities()} >= {"text", "image"}
            await remote.delete("async")
            return rows, hits, told

    rows, hits, told = asyncio.run(ask())
    np.testing.assert_allclose(rows, engine.embed("text", ["a red kettle"]), atol=1e-6)
    assert hits[0].key == "async"
    assert told[0].label == "a cat"


def test_it_tries_again_when_told_to_and_when_the_line_breaks():
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    seen = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            if len(seen) == 1:
                self.close_connection = True  # no answer at all
                return
            content = b'{"data": []}' if len(seen) == 4 else b"{}"
            self.send_response(200 if len(seen) == 4 else 503 if len(seen) == 2 else 429)
            if len(seen) == 3:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Busy)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{server.server_port}", n_retries=3) as client:
            assert client.modalities() == []
        assert len(seen) == 4
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
