"""What a server can be made to fetch (SSRF), against a real one: nothing inside is reached."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import httpx
import pytest
import uvicorn
from serving import free_port, serving

from unibind.service.app import create_app
from unibind.service.fetching import Fetcher
from unibind.service.server import protocol_for
from unibind.settings import ServiceSettings

INSIDE = [
    "http://127.0.0.1/", "http://localhost/", "http://10.0.0.1/", "http://172.16.0.1/",
    "http://192.168.1.1/", "http://100.64.0.1/", "http://0.0.0.0/",
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/meta-data/",
    "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/",
    "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/",
    "http://[::1]/", "http://[fe80::1]/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/", "http://[::]/", "http://224.0.0.1/",
    "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "http://127.0.0.1:22/",
    "http://user@127.0.0.1/", "http://example.org\\@127.0.0.1/",
]  # fmt: skip


@pytest.fixture(scope="module")
def fetching(mini_weights, tmp_path_factory):
    """A server that fetches, with every port and scheme that a person might allow."""
    folder = tmp_path_factory.mktemp("fetching")
    with serving(folder, fetch_urls="true", fetch_schemes="http,https", fetch_ports="80,443") as it:
        yield it


@pytest.mark.parametrize("url", INSIDE)
def test_no_address_inside_is_reached_however_it_is_written(fetching, url):
    with fetching.client() as client:
        part = {"type": "image", "url": url}
        answer = client.post("/v1/embeddings", json={"input": part})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "input.url")
        assert error["code"] in ("forbidden_url", "fetch_failed")
        assert "127.0.0.1" not in error["message"]  # where it leads is not told
        assert client.get("/healthz").status_code == 200


def test_a_url_among_good_parts_and_in_an_item_is_refused_too(fetching):
    with fetching.client() as client:
        parts = ["fine", {"type": "image", "url": INSIDE[0]}]
        answer = client.post("/v1/search", json={"input": parts})
        assert answer.json()["error"]["param"] == "input[1].url"
        item = {"type": "image", "url": INSIDE[7]}
        assert client.put("/v1/items/stolen", json=item).status_code == 400
        assert client.get("/v1/items/stolen").status_code == 404


class Elsewhere(BaseHTTPRequestHandler):
    """A site that people may fetch from: a text, and redirects to wherever one asks."""

    def do_GET(self):
        self.server.asked.append(self.path)
        where = self.path.partition("?to=")[2]
        self.send_response(302 if where else 200)
        if where:
            self.send_header("Location", where)
        content = b"" if where else b"a red kettle"
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def site() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def outside() -> Iterator[ThreadingHTTPServer]:
    """A site that stands for the internet: its address alone counts as public."""
    with site() as running:
        yield running


@pytest.fixture(scope="module")
def inside() -> Iterator[ThreadingHTTPServer]:
    """A site on the server's own network, on an address that counts as private."""
    with site() as running:
        yield running


@pytest.fixture(scope="module")
def rebinding(mini_weights, tmp_path_factory, outside, inside) -> Iterator[str]:
    """A server whose names are answered by an attacker: public when asked first, then private."""
    answered: dict[str, int] = {}

    async def resolver(host: str, port: int):
        answered[host] = answered.get(host, 0) + 1
        if host.startswith("rebinding") and answered[host] > 1:
            return [ip_address("127.0.0.2")]
        return [ip_address("127.0.0.1" if host != "127.0.0.2" else host)]

    folder = tmp_path_factory.mktemp("rebinding")
    settings = ServiceSettings(
        space=str(folder / "mini"), port=free_port(), decoders=1, fetch_urls=True, warm_up=False,
        fetch_schemes=("http",), fetch_ports=(outside.server_port, inside.server_port),
    )  # fmt: skip
    fetcher = Fetcher(settings, resolver=resolver, allows=lambda each: str(each) == "127.0.0.1")
    app = create_app(settings, fetcher=fetcher)
    config = uvicorn.Config(
        app, port=settings.port, http=protocol_for(settings), log_config=None, lifespan="on"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", settings.port), timeout=1).close()
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{settings.port}"
    finally:
        server.should_exit = True
        thread.join()


def ask(base: str, url: str) -> httpx.Response:
    part = {"type": "text", "url": url}
    return httpx.post(f"{base}/v1/embeddings", json={"input": part}, timeout=60)


def test_a_public_url_is_read(rebinding, outside):
    answer = ask(rebinding, f"http://public.example:{outside.server_port}/kettle.txt")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "where",
    ["http://127.0.0.2:{inside}/secret", "http://169.254.169.254/", "file:///etc/passwd",
     "//127.0.0.2:{inside}/secret", "http://rebinding-later.example:{inside}/secret"],
)  # fmt: skip
def test_a_redirect_leads_nowhere_inside(rebinding, outside, inside, where):
    before = list(inside.asked)
    target = where.format(inside=inside.server_port)
    if "rebinding" in target:  # its first, public answer is spent before
        ask(rebinding, f"http://rebinding-later.example:{outside.server_port}/")
    answer = ask(rebinding, f"http://public.example:{outside.server_port}/go?to={target}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "forbidden_url")
    assert inside.asked == before


def test_a_name_that_is_rebound_between_check_and_use_is_of_no_use(rebinding, outside):
    url = f"http://rebinding.example:{outside.server_port}/kettle.txt"
    assert ask(rebinding, url).status_code == 200  # the address that was checked was dialled
    answer = ask(rebinding, url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "forbidden_url")


def test_redirects_end(rebinding, outside):
    loop = f"http://public.example:{outside.server_port}/go"
    url = loop
    for _ in range(5):
        url = f"{loop}?to={url}"
    answer = ask(rebinding, url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "fetch_failed")


def test_nothing_is_fetched_unless_it_was_allowed(served, client):
    answer = client.post("/v1/embeddings", json={"input": {"type": "text", "url": "https://a.b/"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "fetching_is_off")
