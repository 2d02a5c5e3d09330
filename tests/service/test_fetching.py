"""The one door to other servers: what it lets through, and everything that it must not."""

import asyncio
import contextlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unibind.service.fetching import Fetcher, is_global, resolve
from unibind.service.refusals import Refusal
from unibind.settings import ServiceSettings

sys.path.insert(0, str(Path(__file__).parents[1]))

from loopback import Site, serving

ON = {"fetch_urls": True, "fetch_schemes": ("http", "https"), "fetch_timeout_s": 3}


def refused(fetcher: Fetcher, url: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        asyncio.run(fetcher.fetch(url))
    return caught.value


def of(*addresses: str):
    async def resolver(host: str, port: int):
        return [ip_address(each) for each in addresses]

    return resolver


@pytest.fixture
def guarded():
    return Fetcher(ServiceSettings(**ON, fetch_ports=(80, 443)))


def test_fetching_is_off_unless_it_is_asked_for():
    assert refused(Fetcher(ServiceSettings()), "https://example.org/").code == "fetching_is_off"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://0.0.0.0/", "http://0/",
        "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/",
        "http://0x7f.0.0.1/", "http://127.0.1/",
        "http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.1.1/", "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://[fe80::1]/",
        "http://[fd00::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[::127.0.0.1]/",
        "http://[2001:0:7f00:1::]/", "http://[ff02::1]/", "http://224.0.0.1/",
        "http://255.255.255.255/", "http://[::]/", "http://192.0.2.1/", "http://198.18.0.1/",
        "http://240.0.0.1/",
    ],
)  # fmt: skip
def test_no_address_that_is_not_public_is_dialled_however_it_is_written(guarded, url):
    assert refused(guarded, url).code in ("forbidden_url", "fetch_failed")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.org/", "gopher://example.org/", "http:///x", "x",
        "http://user@example.org/", "http://u:p@example.org/", "http://example.org:22/",
        "http://example.org\\@127.0.0.1/", "http://exa mple.org/", "http://example.org/\r\nX: y",
        "http://[::1", "http://example.org:99999/", "//example.org/", "http://a.example:0/",
    ],
)  # fmt: skip
def test_no_other_kind_of_url_is_used(guarded, url):
    assert refused(guarded, url).code == "forbidden_url"


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    fetcher = Fetcher(
        ServiceSettings(**ON, fetch_ports=(80,)), resolver=of("93.184.216.34", "10.0.0.1")
    )
    assert refused(fetcher, "http://example.org/").code == "forbidden_url"


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_in_ipv6_clothes_as_without(address):
    for clothes in (f"::ffff:{address}", f"64:ff9b::{address}"):
        dressed = ip_address(clothes)
        if is_global(dressed):
            assert is_global(address)


@contextlib.contextmanager
def redirecting(target: str):
    """A server that sends everybody elsewhere: to a target, or round and round."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", target or "/again")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Site({}, url=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def site():
    with serving(Site({"/a": b"hello", "/large": b"x" * 10_000})) as running:
        yield running


def port_of(site: Site) -> int:
    return int(site.url.rpartition(":")[2])


def opened(site: Site, **settings) -> Fetcher:
    """Return a fetcher for which the test's site is the public internet."""
    told = ServiceSettings(**{**ON, "fetch_ports": (port_of(site),), **settings})
    return Fetcher(told, allows=lambda address: str(address) == "127.0.0.1")


def test_a_public_file_is_fetched(site):
    assert asyncio.run(opened(site).fetch(f"{site.url}/a")) == b"hello"


def test_the_address_that_was_checked_is_the_one_that_is_dialled(site):
    asked = []

    async def rebinding(host: str, port: int):
        asked.append(host)
        return [ip_address("127.0.0.1" if len(asked) == 1 else "10.0.0.1")]

    told = ServiceSettings(**ON, fetch_ports=(port_of(site),))
    fetcher = Fetcher(told, resolver=rebinding, allows=lambda a: str(a) == "127.0.0.1")
    url = f"http://rebinding.example:{port_of(site)}/a"
    assert asyncio.run(fetcher.fetch(url)) == b"hello"
    assert asked == ["rebinding.example"]  # once: there is no second answer to be fooled by
    assert refused(fetcher, url).code == "forbidden_url"


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/", "http://[::1]/", "file:///etc/passwd", "//10.0.0.1/"]
)
def test_a_redirect_is_checked_like_the_first_url(target):
    with redirecting(target) as elsewhere:
        fetcher = opened(elsewhere, fetch_ports=(port_of(elsewhere), 80))
        assert refused(fetcher, elsewhere.url).code == "forbidden_url"


def test_redirects_end():
    with redirecting("") as elsewhere:
        assert "redirects" in refused(opened(elsewhere), elsewhere.url).message


def test_what_is_too_large_or_too_slow_is_left(site):
    assert refused(opened(site, fetch_max_bytes=999), f"{site.url}/large").code == "fetch_too_large"
    site.bytes_per_s = 20_000
    slow = opened(site, fetch_timeout_s=0.2)
    site.pages["/slow"] = b"x" * 100_000
    assert refused(slow, f"{site.url}/slow").code == "fetch_too_slow"


def test_what_is_not_there_is_told_without_detail(site):
    assert "404" in refused(opened(site), f"{site.url}/none").message
    closed = Fetcher(ServiceSettings(**ON, fetch_ports=(9,)), allows=lambda address: True)
    assert refused(closed, "http://127.0.0.1:9/").message.endswith("it cannot be fetched")


def test_names_are_resolved_by_the_system():
    assert ip_address("127.0.0.1") in asyncio.run(resolve("localhost", 80)) or ip_address(
        "::1"
    ) in asyncio.run(resolve("localhost", 80))
