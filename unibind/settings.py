"""Settings of a deployment, read from the environment: ``UNIBIND_SERVE_PORT=9000``.

Only the service and the command line read them; a library that is imported has no settings.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from unibind.errors import InvalidInputError

__all__ = ["ServiceSettings"]

_MIB = 2**20
_NAMES_OF_LOOPBACK = frozenset({"localhost", "ip6-localhost"})


def _listed(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    return [part.strip() for part in given.split(",") if part.strip()]


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
"""Words with commas between them."""

Numbers = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_listed)]
"""Whole numbers with commas between them."""


class ServiceSettings(BaseSettings):
    """How a space is served.

    Attributes:
        space: Name of a space, or its folder.
        host: Address to listen on; any but loopback needs a key.
        port: Port to listen on; 0 takes a free one.
        api_key: One key that may do everything, for deployments with a single secret.
        keys_file: Hashes of further keys, written by ``unibind keys``; beside the space if unset.
        allowed_hosts: Host names that requests may be for, besides loopback ones; without a key
            every other is refused, which keeps web pages from reaching a local service by
            rebinding their name to it. With a key all are allowed if none is listed.
        model_aliases: Further names under which OpenAI clients may ask for the space.
        rate_per_minute: Requests per key and minute; 0 is no limit.
        request_timeout_s: Longest time from the first byte of a request to its answer.
        max_wait_s: Longest time that a small request may be expected to wait for the model before
            it is turned away with 429; a request that takes long itself may wait four times that.
        max_requests: Requests that are worked on at a time; more are turned away with 429.
        max_items: Items in one request.
        max_body_bytes: Largest body of a request; larger ones are refused with 413.
        max_stream_bytes: Largest body of ``/v1/items:batch``, which is never held whole.
        max_upload_bytes: Largest labelled set that can be uploaded to align with.
        max_held_bytes: Bodies of all requests together; beyond that, 429.
        header_timeout_s: Longest time that the head of a request may take to come.
        body_timeout_s: Longest silence while a body comes.
        drain_timeout_s: How long requests may take to finish after SIGTERM.
        max_connections: Open connections; more are closed at once.
        decoders: Processes that decode files; 0 is one per core, at most four.
        decode_memory_bytes: What one of them may allocate beyond what it starts with.
        decode_timeout_s: How long one file may take to decode.
        cache_bytes: Embeddings that are kept in memory, by the hash of what they are of.
        keep_content: Whether uploaded content is kept on disk, so that it can be shown again.
        show_files_under: Folders whose files are shown for items that were stored from them on this
            machine, by `unibind index add` or the quickstart; the working folder and the public
            sets' unless told. Nothing in a request can name a file.
        fetch_urls: Whether parts may be given by URL, which the service then fetches.
        fetch_schemes: URL schemes that are fetched.
        fetch_ports: Ports that are fetched from.
        fetch_max_bytes: Largest file that is fetched.
        fetch_timeout_s: Longest time that fetching one file may take, redirects included.
        warm_up: Whether every tower is opened before the service says that it is ready; else the
            first request of a modality waits for it.
        otlp_endpoint: Where traces are sent, an OTLP/HTTP collector as ``http://HOST:4318``; no
            trace is made and none is sent unless it is named.
        trace_share: Share of requests that are traced, of those that come without a trace of their
            caller's, who decides then.
        log_format: ``"json"`` for machines, ``"text"`` for people.
        audit_file: Where writes are noted; beside the space if unset.
    """

    model_config = SettingsConfigDict(
        env_prefix="UNIBIND_SERVE_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    space: str = "mini"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    api_key: SecretStr | None = None
    keys_file: Path | None = None
    allowed_hosts: Words = ()
    model_aliases: Words = ()
    rate_per_minute: Annotated[float, Field(ge=0)] = 0
    request_timeout_s: Annotated[float, Field(gt=0)] = 60
    max_wait_s: Annotated[float, Field(gt=0)] = 1
    max_requests: Annotated[int, Field(ge=1)] = 256
    max_items: Annotated[int, Field(ge=1)] = 2048
    max_body_bytes: Annotated[int, Field(ge=1)] = 64 * _MIB
    max_stream_bytes: Annotated[int, Field(ge=1)] = 512 * _MIB
    max_upload_bytes: Annotated[int, Field(ge=1)] = 2048 * _MIB
    max_held_bytes: Annotated[int, Field(ge=1)] = 512 * _MIB
    header_timeout_s: Annotated[float, Field(gt=0)] = 10
    body_timeout_s: Annotated[float, Field(gt=0)] = 20
    drain_timeout_s: Annotated[float, Field(gt=0)] = 30
    max_connections: Annotated[int, Field(ge=1)] = 1024
    decoders: Annotated[int, Field(ge=0)] = 0
    decode_memory_bytes: Annotated[int, Field(ge=1)] = 1024 * _MIB
    decode_timeout_s: Annotated[float, Field(gt=0)] = 30
    cache_bytes: Annotated[int, Field(ge=0)] = 64 * _MIB
    keep_content: bool = True
    show_files_under: Words | None = None
    fetch_urls: bool = False
    fetch_schemes: Words = ("https",)
    fetch_ports: Numbers = (443,)
    fetch_max_bytes: Annotated[int, Field(ge=1)] = 64 * _MIB
    fetch_timeout_s: Annotated[float, Field(gt=0)] = 20
    warm_up: bool = True
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/[^\s?#]*)?$")] | None = None
    trace_share: Annotated[float, Field(ge=0, le=1)] = 1
    log_format: Literal["json", "text"] = "json"
    audit_file: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host.lower() in _NAMES_OF_LOOPBACK:
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check_access(self, *, has_key: bool) -> None:
        """Refuse to be reached by others without a key.

        Raises:
            InvalidInputError: The address is public and there is no key.
        """
        if not self.is_loopback and not has_key:
            raise InvalidInputError(
                f"{self.host} can be reached from other machines, and there is no key: anybody "
                "could read and write. Make one with `unibind keys add NAME --role admin`, set "
                "UNIBIND_SERVE_API_KEY, or listen on 127.0.0.1"
            )
