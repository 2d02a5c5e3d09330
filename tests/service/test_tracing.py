"""Traces, as a collector on the loopback receives them; and that nobody receives any by default."""

import base64
import gzip
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import png
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import ValidationError
from serving import serving

from unibind.errors import PluginError
from unibind.service.stages import Stage, collected, current, note
from unibind.service.tracing import open_traces
from unibind.settings import ServiceSettings

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRETS = ("secret sentence", "secret-key", "secret description", "secret metadata")


class Collector:
    """What an OTLP/HTTP server received, in order."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.spans: list = []
        self.resources: list[dict] = []

    def take(self, path: str, body: bytes) -> None:
        self.paths.append(path)
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(told(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def request(self, request_id: str):
        """Return the span of a request, waiting until it has come."""
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            for span in self.spans:
                if told(span.attributes).get("unibind.request_id") == request_id:
                    return span
            time.sleep(0.05)
        raise AssertionError(f"no span of the request {request_id} came")

    def below(self, parent) -> dict[str, list]:
        """Return the spans below one, by name."""
        found = defaultdict(list)
        for span in self.spans:
            if span.parent_span_id == parent.span_id:
                found[span.name].append(span)
        return found


def told(attributes) -> dict:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting():
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def collector():
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def traced(mini_weights, collector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    with serving(folder, otlp_endpoint=collector.url, fetch_urls="true") as running:
        yield running


@pytest.fixture
def client(traced):
    with traced.client() as opened:
        yield opened


def ask(client, path: str, request_id: str, *, method: str = "POST", **sent):
    headers = {"X-Request-Id": request_id, **sent.pop("headers", {})}
    return client.request(method, path, headers=headers, **sent)


@pytest.fixture(scope="module", autouse=True)
def sent_soon():
    """Let the exporter of the server that is started here not wait for five seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield


def test_a_request_is_a_span_with_its_stages_below(client, collector):
    part = {"type": "image", "data": base64.b64encode(png(71)).decode()}
    before = time.time_ns()
    ask(client, "/v1/embeddings", "r-embed", json={"input": ["a secret sentence", part]})
    span = collector.request("r-embed")
    assert span.name == "POST /v1/embeddings"
    assert span.kind == span.SPAN_KIND_SERVER
    said = told(span.attributes)
    assert said["http.response.status_code"] == 200
    assert said["unibind.items"] == 2
    assert before <= span.start_time_unix_nano < span.end_time_unix_nano <= time.time_ns()
    below = collector.below(span)
    assert {name: len(spans) for name, spans in below.items()} == {
        "queue": 3, "decode": 1, "encode": 2, "head": 2,
    }  # fmt: skip
    assert {told(each.attributes)["unibind.modality"] for each in below["encode"]} == {
        "text", "image",
    }  # fmt: skip
    for each in (one for spans in below.values() for one in spans):
        assert each.trace_id == span.trace_id
        assert span.start_time_unix_nano <= each.start_time_unix_nano + 1_000_000
        assert each.start_time_unix_nano <= each.end_time_unix_nano
        assert each.end_time_unix_nano <= span.end_time_unix_nano + 1_000_000


def test_storing_and_searching_are_stages_too(client, collector):
    item = {"type": "text", "text": "a secret sentence of its own"}
    item["metadata"] = {"note": "secret metadata"}
    ask(client, "/v1/items/secret-key", "r-put", method="PUT", json=item).raise_for_status()
    assert "store" in collector.below(collector.request("r-put"))
    asked = {"input": "another secret sentence", "k": 1}
    ask(client, "/v1/search", "r-search", json=asked).raise_for_status()
    assert "search" in collector.below(collector.request("r-search"))
    assert collector.request("r-put").name == "PUT /v1/items/{key}"


def test_a_trace_of_the_callers_goes_on_here_and_the_answer_names_it(client, collector):
    headers = {"traceparent": CALLER, "tracestate": "vendor=1"}
    answer = ask(client, "/v1/embeddings", "r-caller", json={"input": "x"}, headers=headers)
    span = collector.request("r-caller")
    assert span.trace_id.hex() == CALLER.split("-")[1]
    assert span.parent_span_id.hex() == CALLER.split("-")[2]
    assert span.trace_state == "vendor=1"
    told_back = f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"
    assert answer.headers["traceparent"] == told_back


@pytest.mark.parametrize("wrong", ["nonsense", "00-0-0-01", "ff-" + CALLER[3:], "0" * 300])
def test_a_trace_that_is_none_begins_a_new_one(client, collector, wrong):
    name = f"r-wrong-{len(wrong)}"
    answer = ask(
        client, "/v1/embeddings", name, json={"input": "x"}, headers={"traceparent": wrong}
    )
    assert answer.status_code == 200
    assert not collector.request(name).parent_span_id


def test_a_caller_that_does_not_trace_is_not_traced(client, collector):
    headers = {"traceparent": CALLER[:-2] + "00"}
    ask(client, "/v1/embeddings", "r-unsampled", json={"input": "x"}, headers=headers)
    ask(client, "/v1/embeddings", "r-after", json={"input": "x"})
    collector.request("r-after")
    sent = [told(span.attributes).get("unibind.request_id") for span in collector.spans]
    assert "r-unsampled" not in sent


def test_a_refusal_stands_in_its_span_by_its_code(client, collector):
    ask(client, "/v1/embeddings", "r-bad", json={"input": {"type": "image", "data": "bm8="}})
    said = told(collector.request("r-bad").attributes)
    assert (said["http.response.status_code"], said["error.type"]) == (400, "unreadable_item")


def test_who_watches_the_service_is_not_traced(client, collector):
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        answer = ask(client, path, "r-watch", method="GET")
        assert "traceparent" not in answer.headers
    ask(client, "/v1/models", "r-last", method="GET")
    collector.request("r-last")
    sent = [told(span.attributes).get("unibind.request_id") for span in collector.spans]
    assert "r-watch" not in sent


def test_no_span_holds_anything_that_was_sent(client, collector):
    classes = [{"name": "A", "descriptions": ["a secret description"]}, "B"]
    asked = {"input": "the secret sentence", "classes": classes}
    ask(client, "/v1/classify", "r-secret", json=asked).raise_for_status()
    collector.request("r-secret")
    everything = b"".join(collector.bodies)
    for secret in SECRETS:
        assert secret.encode() not in everything
    assert collector.resources[0]["service.name"] == "unibind"
    assert set(collector.paths) == {"/v1/traces"}


def test_what_was_not_sent_yet_is_sent_at_the_end(mini_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    with collecting() as mine:
        with serving(tmp_path / "ending", otlp_endpoint=mine.url) as running:
            with running.client() as client:
                ask(client, "/v1/models", "r-late", method="GET")
            assert mine.spans == []
            assert running.stop() == 0
        assert told(mine.spans[0].attributes)["unibind.request_id"] == "r-late"


def test_a_collector_that_is_not_there_holds_nothing_up(mini_weights, tmp_path):
    with serving(tmp_path / "alone", otlp_endpoint="http://127.0.0.1:9") as running:
        with running.client() as client:
            for n in range(20):
                assert client.post("/v1/embeddings", json={"input": f"x{n}"}).status_code == 200
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 20


def test_without_an_endpoint_nothing_is_imported_and_nothing_is_sent(monkeypatch):
    code = (
        "import sys; from unibind.settings import ServiceSettings;"
        "from unibind.service.tracing import open_traces; import unibind.service.app;"
        "assert open_traces(ServiceSettings()) is None;"
        "heavy = ('opentelemetry.sdk', 'opentelemetry.exporter', 'google.protobuf');"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    # The variables of OpenTelemetry's own do not switch it on either.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://x", "http://", "http://a/?q=1"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint):
    with pytest.raises(ValidationError, match="otlp_endpoint"):
        ServiceSettings(otlp_endpoint=endpoint)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(PluginError, match=r"pip install 'unibind\[otel\]'"):
        open_traces(ServiceSettings(otlp_endpoint="http://127.0.0.1:9"))


def test_stages_are_noted_where_somebody_collects_them():
    stage = Stage("queue", "text", 0.0, 1.0)
    note(stage)  # nobody does
    assert current() is None
    with collected() as outer:
        with collected() as inner:
            note(stage)
        note(stage)
    assert (inner, outer, current()) == ([stage], [stage], None)
