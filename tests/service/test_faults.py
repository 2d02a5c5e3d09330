"""What breaks in the middle of the night: killed processes, a full disk, a damaged file."""

import base64
import json
import os
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from conftest import png
from serving import serving, start

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="watches processes as on Linux")


@pytest.fixture
def folder(mini_weights, tmp_path):
    return tmp_path / "night"


def picture(seed: int) -> dict:
    return {"type": "image", "data": base64.b64encode(png(seed)).decode()}


def put(client: httpx.Client, key: str) -> None:
    client.put(f"/v1/items/{key}", json={"type": "text", "text": key}).raise_for_status()


def keep_putting(url: str, acknowledged: list[str], stopped: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=30) as client:
        number = 0
        while not stopped.is_set():
            number += 1
            try:
                put(client, f"k{number}-{threading.get_ident()}")
            except httpx.HTTPError:
                return
            acknowledged.append(f"k{number}-{threading.get_ident()}")


def written_until(served, signal_number: int) -> list[str]:
    """Put items from two threads, stop the server amid them, return what was acknowledged."""
    acknowledged: list[str] = []
    stopped = threading.Event()
    writers = [
        threading.Thread(target=keep_putting, args=(served.url, acknowledged, stopped))
        for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    ends = time.monotonic() + 30
    while len(acknowledged) < 30 and time.monotonic() < ends:
        time.sleep(0.02)
    served.stop(signal_number)
    stopped.set()
    for writer in writers:
        writer.join()
    assert len(acknowledged) >= 30
    return acknowledged


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_or_drained(folder):
    first = start(folder)
    acknowledged = written_until(first, signal.SIGKILL)
    second = start(folder)
    acknowledged += written_until(second, signal.SIGTERM)
    assert second.process.returncode == 0
    with serving(folder) as third, third.client() as client:
        missing = [k for k in acknowledged if client.get(f"/v1/items/{k}").status_code != 200]
    assert missing == []


def test_what_was_begun_before_sigterm_is_answered(folder):
    with serving(folder) as served, served.client() as client:
        texts = [f"a sentence to embed while the server drains {n}" for n in range(300)]
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(client.post("/v1/embeddings", json={"input": texts}))
        )
        asking.start()
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        asking.join()
        assert answers[0].status_code == 200
        assert len(answers[0].json()["data"]) == 300
        assert served.process.wait(60) == 0
        orphans = [pid for pid in served.decoder_pids() if Path(f"/proc/{pid}").exists()]
        assert orphans == []


def test_a_killed_decoder_turns_readiness_red_and_comes_back(folder):
    with serving(folder, decoders=1) as served, served.client() as client:
        assert client.post("/v1/embeddings", json={"input": picture(1)}).status_code == 200
        (pid,) = served.decoder_pids()
        os.kill(pid, signal.SIGKILL)
        assert client.post("/v1/embeddings", json={"input": picture(2)}).status_code == 200
        (new,) = served.decoder_pids()
        assert new != pid
        os.kill(new, signal.SIGSTOP)  # hangs, and will be killed for it
        os.kill(new, signal.SIGKILL)
        ends = time.monotonic() + 30
        noticed = "unibind_decoder_deaths_total 2.0"
        while time.monotonic() < ends and not (
            noticed in client.get("/metrics").text and client.get("/readyz").status_code == 200
        ):
            time.sleep(0.05)
        assert client.get("/readyz").status_code == 200
        assert noticed in client.get("/metrics").text


def test_decoders_end_with_a_server_that_was_killed(folder):
    with serving(folder, decoders=2) as served:
        pids = served.decoder_pids()
        assert len(pids) == 2
        served.stop(signal.SIGKILL)
        ends = time.monotonic() + 15
        while time.monotonic() < ends and any(_runs(pid) for pid in pids):
            time.sleep(0.05)
        assert not any(_runs(pid) for pid in pids)


def test_a_full_disk_is_told_and_reading_goes_on(folder):
    with serving(folder, keep_content="false") as served, served.client() as client:
        put(client, "before")
        # A limit on the size of files is as good as a full disk: every longer write fails.
        largest = max(path.stat().st_size for path in served.root.rglob("*") if path.is_file())
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (largest, -1))
        statuses = []
        for n in range(60):
            item = {"type": "text", "text": f"no room {n}", "metadata": {"long": "x" * 40_000}}
            response = client.put(f"/v1/items/full{n}", json=item)
            statuses.append(response.status_code)
            if response.status_code != 200:
                assert response.status_code == 503
                assert response.json()["error"]["code"] == "store_unavailable"
                assert str(served.folder) not in response.text
                break
        assert statuses[-1] == 503
        assert client.get("/v1/items/before").status_code == 200
        assert client.post("/v1/search", json={"input": "before", "k": 1}).status_code == 200
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        put(client, "after")
        stored = [n for n, status in enumerate(statuses) if status == 200]
        for n in stored:
            assert client.get(f"/v1/items/full{n}").status_code == 200


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with little room, as only root can make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full_loses_nothing_that_was_acknowledged(small_disk):
    folder = small_disk / "night"
    acknowledged = []
    with serving(folder, keep_content="false") as served, served.client() as client:
        filler = small_disk / "filler"
        with filler.open("wb") as out:  # all but two megabytes
            left = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            out.write(b"x" * max(0, left - 2 * 2**20))
        for n in range(200):
            item = {"type": "text", "text": f"item {n}", "metadata": {"long": "x" * 30_000}}
            response = client.put(f"/v1/items/k{n}", json=item)
            if response.status_code != 200:
                assert response.json()["error"]["code"] == "store_unavailable"
                break
            acknowledged.append(f"k{n}")
        assert response.status_code == 503
        assert client.post("/v1/search", json={"input": "item", "k": 1}).status_code == 200
        filler.unlink()
        put(client, "after")
        served.stop(signal.SIGKILL)
    with serving(folder, keep_content="false") as served, served.client() as client:
        for key in [*acknowledged, "after"]:
            assert client.get(f"/v1/items/{key}").status_code == 200, key


def test_a_damaged_index_file_is_said_or_mended(folder):
    with serving(folder) as served, served.client() as client:
        for n in range(5):
            put(client, f"item{n}")
    damaged = [path for path in (folder / "indexes/mini/store").rglob("*") if path.is_file()]
    vectors = [path for path in damaged if path.suffix not in (".sqlite", ".db")]
    for path in vectors:
        content = bytearray(path.read_bytes())
        if len(content) > 64 and b"SQLite" not in content[:16]:
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(content)
    with serving(folder) as served, served.client() as client:
        response = client.post("/v1/search", json={"input": "item3", "k": 5})
        assert response.status_code in (200, 503)
        if response.status_code == 503:
            assert response.json()["error"]["code"] == "store_unavailable"
        assert client.post("/v1/embeddings", json={"input": "still there"}).status_code == 200


def test_a_client_that_goes_away_leaves_no_work_behind(folder):
    with serving(folder) as served, served.client() as client:
        texts = [f"nobody will read this {n} " * 20 for n in range(1500)]
        body = json.dumps({"input": texts}).encode()
        head = (
            "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        with served.connect() as connection:
            connection.sendall(head + body)
            time.sleep(0.5)
        ends = time.monotonic() + 10
        waiting = "unknown"
        while time.monotonic() < ends and waiting != "0.0":
            told = client.get("/metrics").text
            (line,) = [
                each for each in told.splitlines() if 'waiting_items{modality="text"}' in each
            ]
            waiting = line.split()[-1]
            time.sleep(0.05)
        assert waiting == "0.0"


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
