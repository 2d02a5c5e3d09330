"""Servers on the loopback for tests of fetching: a package index, an npm registry, a small hub."""

import base64
import hashlib
import json
import os
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CLOSED = "http://127.0.0.1:9"  # the discard port: nobody listens


@dataclass
class Site:
    """Pages by path; what was asked; and how badly the line behaves."""

    pages: dict[str, bytes]
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    bytes_per_s: float | None = None
    cut_after: int | None = None
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            site.asked.append(f"{self.command} {self.path}")
            content = site.pages.get(self.path)
            self.send_response(404 if content is None else 200)
            content = content or b""
            kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
            headers = {"Content-Type": kind} | site.headers.get(self.path, {})
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self._send(content)

        def _send(self, content: bytes) -> None:
            is_large = len(content) > 2_000
            if is_large and site.cut_after is not None:
                content = content[: site.cut_after]
                self.close_connection = True
            step = 16_384 if is_large and site.bytes_per_s else len(content) or 1
            try:
                for start in range(0, len(content), step):
                    self.wfile.write(content[start : start + step])
                    if is_large and site.bytes_per_s:
                        time.sleep(step / site.bytes_per_s)
            except OSError:  # the client was interrupted
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def package_index(archives: Iterable[Path]) -> Site:
    """Return a simple index (PEP 503) of wheels and source archives, without hashes."""
    site = Site({})
    for archive in archives:
        project = archive.name.split("-")[0].replace("_", "-").lower()
        site.pages[f"/files/{archive.name}"] = archive.read_bytes()
        page = f'<a href="/files/{archive.name}">{archive.name}</a>'.encode()
        site.pages[f"/simple/{project}/"] = site.pages.get(f"/simple/{project}/", b"") + page
    return site


def npm_registry(name: str, version: str, tarball: bytes) -> Site:
    site = Site({f"/{name}.tgz": tarball})

    def add_page() -> None:
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        dist = {"tarball": f"{site.url}/{name}.tgz", "integrity": integrity}
        versions = {version: {"name": name, "version": version, "dist": dist}}
        page = {"name": name, "dist-tags": {"latest": version}, "versions": versions}
        site.pages[f"/{name}"] = json.dumps(page).encode()
        site.headers[f"/{name}"] = {"Content-Type": "application/json"}

    site.add_page = add_page  # type: ignore[attr-defined]
    return site


def hub(repository: str, revision: str, files: Mapping[str, bytes]) -> Site:
    """Return what the Hugging Face hub's resolve route answers for one revision."""
    site = Site({})
    for name, content in files.items():
        page = f"/{repository}/resolve/{revision}/{name}"
        site.pages[page] = content
        etag = hashlib.sha256(content).hexdigest()
        site.headers[page] = {"X-Repo-Commit": revision, "ETag": f'"{etag}"'}
    return site


def pip_settings(index_url: str) -> dict[str, str]:
    """Return an environment in which pip knows one index, no cache and no second try."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return kept | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{index_url}/simple",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "0",
    }


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> Path:
    """Write a wheel that pip takes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in files.items():
            wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path
