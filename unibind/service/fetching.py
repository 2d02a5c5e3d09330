"""Files by URL: off unless asked for, and then only what anybody on the internet could fetch.

A service that fetches what it is told to can be made to fetch what only it can reach: its own
machine, its network, the address from which clouds hand out credentials. So: only listed schemes
and ports; a name is resolved once, every address that it has must be global, and that very address
is dialled, so that it cannot be another one by then (DNS rebinding); each redirect begins anew.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from unibind.service.refusals import Refusal
from unibind.settings import ServiceSettings

if TYPE_CHECKING:
    import httpx

__all__ = ["Address", "Fetcher", "is_global", "resolve"]

_log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]

_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ip_network("::/96")


def is_global(address: Address) -> bool:
    """Return whether an address is one of the public internet, whatever it is wrapped in."""
    if isinstance(address, IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour
        if wrapped is None and address.teredo is not None:
            return False
        if wrapped is None and any(address in network for network in (*_NAT64, _COMPATIBLE)):
            wrapped = IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None and not is_global(wrapped):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def resolve(host: str, port: int) -> list[Address]:
    """Return all addresses that the system knows for a host, as it reads any form of number.

    Raises:
        OSError: It knows none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = {str(entry[4][0]).partition("%")[0] for entry in found}
    return [ip_address(each) for each in sorted(addresses)]


@dataclass(frozen=True, slots=True)
class _Target:
    """Where one request goes: the address is fixed before anything is sent."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    address: Address


class Fetcher:
    """Fetches files for the service, or refuses to.

    Args:
        settings: Whether at all, and how much.
        resolver: From a host to its addresses.
        allows: Which addresses may be dialled.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        resolver: Resolver = resolve,
        allows: Callable[[Address], bool] = is_global,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._allows = allows

    async def fetch(self, url: str) -> bytes:
        """Return the content of a URL.

        Raises:
            Refusal: Fetching is off, the URL may not be fetched, or it cannot be in time.
        """
        settings = self._settings
        if not settings.fetch_urls:
            raise Refusal(
                403,
                "fetching_is_off",
                "this server fetches no URLs; send the file itself as data, or ask its operator "
                "for UNIBIND_SERVE_FETCH_URLS=1",
                "url",
            )
        try:
            async with asyncio.timeout(settings.fetch_timeout_s):
                return await self._follow(url)
        except TimeoutError:
            raise _refused(
                "fetch_too_slow", f"took longer than {settings.fetch_timeout_s:g} s"
            ) from None
        # What can go wrong with somebody's server is told alike, so that nothing can be learnt
        # of a network by trying it.
        except (OSError, ValueError) as error:
            _log.info("a URL cannot be fetched: %r", error)
            raise _refused("fetch_failed", "it cannot be fetched") from None

    async def _follow(self, url: str) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            target = await self._target(url)
            async with self._answered(target) as answer:
                if answer.status_code in _REDIRECTS and "location" in answer.headers:
                    url = urljoin(url, answer.headers["location"])
                    continue
                if answer.status_code != 200:
                    raise _refused("fetch_failed", f"its server answered {answer.status_code}")
                return await self._body(answer)
        raise _refused("fetch_failed", f"more than {_MOST_REDIRECTS} redirects")

    async def _target(self, url: str) -> _Target:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise _refused("forbidden_url", "it is no URL") from None
        _check_url(parts, url)
        settings = self._settings
        if parts.scheme.lower() not in settings.fetch_schemes or not host:
            schemes = ", ".join(settings.fetch_schemes)
            raise _refused("forbidden_url", f"only {schemes} URLs with a host are fetched")
        port = port if port is not None else _PORTS.get(parts.scheme.lower(), 0)
        if port not in settings.fetch_ports:
            raise _refused("forbidden_url", "its port is not one that is fetched from")
        try:
            addresses = await self._resolver(host, port)
        except (OSError, UnicodeError):
            raise _refused("fetch_failed", "it cannot be fetched") from None
        if not addresses or not all(map(self._allows, addresses)):
            raise _refused("forbidden_url", "it leads to an address that is not public")
        path = parts.path or "/"
        if parts.query:
            path += f"?{parts.query}"
        return _Target(url, parts.scheme.lower(), host, port, path, addresses[0])

    @contextlib.asynccontextmanager
    async def _answered(self, target: _Target) -> "AsyncIterator[httpx.Response]":
        import httpx

        address = str(target.address)
        dialled = f"[{address}]" if target.address.version == 6 else address
        host = (
            target.host
            if target.port == _PORTS.get(target.scheme)
            else (f"{target.host}:{target.port}")
        )
        try:
            # The address is dialled; the name is what its certificate must be for.
            async with (
                httpx.AsyncClient(
                    trust_env=False, timeout=self._settings.fetch_timeout_s
                ) as client,
                client.stream(
                    "GET",
                    f"{target.scheme}://{dialled}:{target.port}{target.path}",
                    headers={"Host": host, "Accept-Encoding": "identity"},
                    extensions={"sni_hostname": target.host},
                ) as answer,
            ):
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OSError(str(error)) from error

    async def _body(self, answer: "httpx.Response") -> bytes:
        most = self._settings.fetch_max_bytes
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise _refused("fetch_failed", "its server compresses what it was told not to")
        length = answer.headers.get("content-length", "0")
        if length.isdigit() and int(length) > most:
            raise _refused("fetch_too_large", f"it has more than {most:,} bytes")
        content = bytearray()
        async for chunk in answer.aiter_raw():
            content += chunk
            if len(content) > most:
                raise _refused("fetch_too_large", f"it has more than {most:,} bytes")
        return bytes(content)


def _check_url(parts: SplitResult, url: str) -> None:
    if parts.username is not None or parts.password is not None or "\\" in url:
        raise _refused("forbidden_url", "it holds a user, a password or a backslash")
    if any(ord(character) < 0x21 for character in url):
        raise _refused("forbidden_url", "it holds a space or a control character")


def _refused(code: str, why: str) -> Refusal:
    return Refusal(400, code, f"the URL is not used: {why}", "url")
