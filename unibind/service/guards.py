"""What is refused of a request by its head alone, whoever sent it."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from unibind.service.exchange import Headers
from unibind.service.refusals import Refusal

__all__ = ["check_framing", "check_host", "check_origin"]


def check_host(headers: Headers, names: set[str], *, takes_any: bool) -> None:
    """Refuse a request that is for another host: a page may have rebound its name to ours.

    Args:
        headers: Of the request.
        names: Those of the service, besides the ones of loopback.
        takes_any: Whether other names will do, too.

    Raises:
        Refusal: It is for another host, or for none.
    """
    host = headers.get("host")
    if host is None:
        raise Refusal(400, "missing_host", "the request has no Host header")
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        raise Refusal(400, "invalid_host", "the Host header is no name of a host") from None
    if takes_any or _is_loopback(name) or name in names:
        return
    raise Refusal(
        421,
        "wrong_host",
        "the server does not answer for this host; its operator can allow it with "
        "UNIBIND_SERVE_ALLOWED_HOSTS",
    )


def check_framing(headers: Headers) -> None:
    """Refuse a body whose end two servers could see in two places (request smuggling).

    Raises:
        Refusal: It has two lengths or two hosts.
    """
    lengths, codings = headers.count("content-length"), headers.count("transfer-encoding")
    if lengths + codings > 1 or headers.count("host") > 1:
        raise Refusal(
            400,
            "ambiguous_request",
            "the request has two lengths or two hosts; send Content-Length or Transfer-Encoding, "
            "once",
        )


def check_origin(method: str, headers: Headers) -> None:
    """Refuse what a page of another site makes a browser send.

    Raises:
        Refusal: It says so of itself.
    """
    if method in ("GET", "HEAD", "OPTIONS"):
        return
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    own = (headers.get("host") or "").lower()
    is_foreign = site is not None and site not in ("same-origin", "none")
    if is_foreign or (origin is not None and _netloc(origin) != own):
        raise Refusal(
            403, "cross_site", "a page of another site sent this; call the service from a program"
        )


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
