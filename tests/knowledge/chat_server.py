"""A chat server on the loopback whose answers depend on the question alone, and its bad days."""

import base64
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADJECTIVES = """
amber bright broad coarse curved dark deep dull faint fine flat glossy heavy hollow large light
long narrow pale plain quick rough round sharp short slender small smooth soft steady thick thin
wide worn
"""
NOUNS = """
back base bell border branch bristle corner cover crest edge end frame grain handle hinge joint
knob layer ledge line panel patch plate point rim ring root seam shell side spine stem strap
surface tip top tube wall
"""
VERBS = """
bends catches crosses fades hangs leans lifts meets narrows opens rests rises runs shines slopes
stands swings tapers turns widens
"""


def sentence(class_name: str, rng: random.Random) -> str:
    """Return a harmless sentence; hardly ever the same one twice."""
    one, two = rng.sample(ADJECTIVES.split(), 2)
    a, b, c = rng.sample(NOUNS.split(), 3)
    verb = rng.choice(VERBS.split())
    return f"The {one} {a} of the {class_name} {verb} where its {two} {b} has a {c}."


def good_lines(body: dict) -> list[str]:
    """Return the lines that a question deserves: the same ones for the same question and seed."""
    facts = facts_of(body)
    rng = random.Random(f"{body['seed']} {json.dumps(facts, sort_keys=True)}")
    name = facts.get("class_name", "thing")
    return [sentence(name, rng) for _ in range(facts["number_of_lines"])]


def facts_of(body: dict) -> dict:
    content = body["messages"][-1]["content"]
    return json.loads(content if isinstance(content, str) else content[0]["text"])


def completion(content: str) -> dict:
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def good(body: dict) -> dict:
    return completion(json.dumps({"lines": good_lines(body)}))


@dataclass
class ChatServer:
    """Where it listens, what it was asked, and how it answers."""

    address: str = ""
    answer: Callable[[dict], dict] = good
    bodies: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    faults: Iterator[str] | None = None
    seen: Counter = field(default_factory=Counter)
    delay_s: float = 0.0
    takes_schema: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seeds(self) -> Counter:
        return Counter(body["seed"] for body in self.bodies)

    def next_fault(self) -> str:
        with self.lock:
            fault = next(self.faults, "none") if self.faults is not None else "none"
            self.seen[fault] += 1
        return fault


@contextmanager
def chat_server(**settings) -> Iterator[ChatServer]:
    site = ChatServer(**settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": "stub", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with site.lock:
                site.bodies.append(body)
                site.headers.append({k.title(): v for k, v in self.headers.items()})
            time.sleep(site.delay_s)
            if "response_format" in body and not site.takes_schema:
                self._send(400, {"error": {"message": "response_format is not supported"}})
                return
            getattr(self, f"do_{site.next_fault().replace('-', '_')}")(body)

        def do_none(self, body: dict) -> None:
            self._send(200, site.answer(body))

        def do_429(self, body: dict) -> None:
            self._send(429, {"error": {"message": "slow down"}})

        def do_429_retry_after(self, body: dict) -> None:
            self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.2"})

        def do_500(self, body: dict) -> None:
            self._send(500, {"error": {"message": "oops"}})

        def do_reset(self, body: dict) -> None:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()

        def do_hang(self, body: dict) -> None:
            time.sleep(1.2)
            self._send(200, site.answer(body))

        def do_cut_body(self, body: dict) -> None:
            raw = json.dumps(site.answer(body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw[: len(raw) // 2])
            self.close_connection = True

        def do_not_json(self, body: dict) -> None:
            self._raw(200, b"<html>busy</html>", {})

        def do_cut_answer(self, body: dict) -> None:
            content = json.dumps({"lines": good_lines(body)})
            self._send(200, completion(content[: int(0.7 * len(content))]))

        def do_no_choices(self, body: dict) -> None:
            self._send(200, completion("") | {"choices": []})

        def do_repeated(self, body: dict) -> None:
            lines = good_lines(body)
            self._send(200, completion(json.dumps({"lines": [lines[0]] * len(lines)})))

        def do_too_few(self, body: dict) -> None:
            self._send(200, completion(json.dumps({"lines": good_lines(body)[:-1]})))

        def do_too_many(self, body: dict) -> None:
            rng = random.Random(body["seed"])
            more = [sentence("spare", rng), sentence("other", rng)]
            self._send(200, completion(json.dumps({"lines": good_lines(body) + more})))

        def do_refusal(self, body: dict) -> None:
            self._send(200, completion("I'm sorry, but I can't help with that request."))

        def _send(self, status: int, value: dict, headers: dict | None = None) -> None:
            headers = {"Content-Type": "application/json", **(headers or {})}
            self._raw(status, json.dumps(value).encode(), headers)

        def _raw(self, status: int, raw: bytes, headers: dict) -> None:
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
            except OSError:
                pass  # the asker was killed, or has waited long enough

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request, client_address) -> None:
            pass  # resets are what this server is for

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def media_of(body: dict) -> bytes:
    """Return the picture that came with a question."""
    url = body["messages"][-1]["content"][1]["image_url"]["url"]
    return base64.b64decode(url.partition("base64,")[2])
