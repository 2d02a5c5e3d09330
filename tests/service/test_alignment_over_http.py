"""Alignment over HTTP alone: sent, watched, used at once; stopped; and what is refused."""

import io
import json
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageDraw
from serving import serving

import unibind
from unibind.errors import InvalidInputError, UnibindError
from unibind.service.access import KeyRing

SHAPES = ("a red circle", "a green square", "a blue triangle")
PATIENCE_S = 180


def drawing(label: str, seed: int) -> bytes:
    """Return a drawing of a shape, nowhere twice the same."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (96, 96), tuple(random.integers(200, 256, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    x, y = random.integers(8, 40, 2).tolist()
    side = int(random.integers(30, 48))
    colour = label.split()[1]
    if "circle" in label:
        pen.ellipse((x, y, x + side, y + side), fill=colour)
    elif "square" in label:
        pen.rectangle((x, y, x + side, y + side), fill=colour)
    else:
        pen.polygon([(x, y + side), (x + side, y + side), (x + side // 2, y)], fill=colour)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def labelled(n_each: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for label in SHAPES:
            for n in range(n_each):
                archive.writestr(f"{label}/{n}.png", drawing(label, n))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def keyed(mini_weights, tmp_path_factory):
    """A server with keys, whose space is trained here."""
    folder = tmp_path_factory.mktemp("aligned")
    ring = KeyRing(folder / "indexes" / "mini" / "keys.json")
    keys = {role: ring.add(role, role) for role in ("read", "write", "admin")}
    with serving(folder) as running:
        running.keys = keys
        yield running


@pytest.fixture
def admin(keyed):
    with keyed.client(keyed.keys["admin"]) as opened:
        yield opened


def start(client, content: bytes, **form: str):
    told = {"modality": "image", "learn_from": "class_names", **form}
    return client.post("/v1/alignments", files={"file": ("set.zip", content)}, data=told)


def ended(client, run_id: str) -> tuple[dict, list[str]]:
    """Poll a run until it ends; return it, and the stages that were seen."""
    stages: list[str] = []
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        run = client.get(f"/v1/alignments/{run_id}").raise_for_status().json()
        stages += [run["stage"]] if run["stage"] not in stages else []
        if run["status"] not in ("queued", "running"):
            return run, stages
        time.sleep(0.05)
    raise AssertionError(f"the run never ended: {run}")


def answers(client) -> tuple[list[float], list[str]]:
    """Return the probabilities of a drawing's classes, and what is found nearest to it."""
    told = {"type": "image", "file": "a"}
    files = {"a": ("a.png", drawing(SHAPES[1], 999))}
    form = {"input": json.dumps(told), "classes": json.dumps(SHAPES), "unknown": "false"}
    classified = client.post("/v1/classify", files=files, data=form).raise_for_status().json()
    form = {"input": json.dumps(told), "k": "2", "into": '["text"]'}
    found = client.post("/v1/search", files=files, data=form).raise_for_status().json()
    by_label = {
        each["label"]: each["probability"] for each in classified["results"][0]["predictions"]
    }
    return [by_label[label] for label in SHAPES], [
        hit["key"] for hit in found["results"][0]["hits"]
    ]


def test_a_head_is_trained_and_answers_classify_and_search_at_once(keyed, admin):
    for label in SHAPES:
        admin.put(f"/v1/items/{label}", json={"type": "text", "text": label}).raise_for_status()
    before, _ = answers(admin)
    started = start(admin, labelled(12))
    assert started.status_code == 202, started.text
    run, stages = ended(admin, started.json()["id"])
    assert (run["status"], run["n_done"], run["error"]) == ("done", 100, None), run
    assert stages[-1] == "done"
    assert run["result"]["items"] == 36
    assert not {"head", "space", "data"} & set(run["result"])  # where it lies is nobody's business
    after, nearest = answers(admin)
    assert after != before  # without a restart
    assert max(after) == after[1]
    assert nearest[0] == SHAPES[1]
    listed = admin.get("/v1/alignments").json()["data"]
    assert listed[0]["id"] == run["id"]
    image = next(
        each for each in admin.get("/v1/modalities").json()["data"] if each["type"] == "image"
    )
    assert image["has_head"]
    assert not list(keyed.root.glob("uploaded-*"))
    audit = [json.loads(line) for line in (keyed.root / "audit.jsonl").read_text().splitlines()]
    assert any(line["message"] == "align" and line["run"] == run["id"] for line in audit)


def test_a_run_can_be_stopped_and_leaves_the_head_that_was_there(keyed, admin):
    before, _ = answers(admin)
    run_id = start(admin, labelled(40)).json()["id"]
    waiting = start(admin, labelled(3)).json()["id"]
    busy = start(admin, labelled(3))
    assert (busy.status_code, busy.json()["error"]["code"]) == (429, "busy")
    assert busy.headers["retry-after"]
    for each in (waiting, run_id):
        assert admin.delete(f"/v1/alignments/{each}").json()["status"] == "cancelled"
    for each in (waiting, run_id):
        assert ended(admin, each)[0]["status"] == "cancelled"
    ends = time.monotonic() + 30
    while time.monotonic() < ends and list(keyed.root.glob("uploaded-*")):
        time.sleep(0.05)
    assert not list(keyed.root.glob("uploaded-*"))
    assert answers(admin)[0] == before


def test_a_set_that_nothing_can_be_learned_from_is_told(keyed, admin):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for label in ("a", "b"):
            archive.writestr(f"{label}/broken.png", b"no picture at all")
    run, _ = ended(admin, start(admin, buffer.getvalue()).json()["id"])
    assert run["status"] == "failed"
    assert run["error"]
    assert str(keyed.folder) not in run["error"]
    assert admin.post("/v1/embeddings", json={"input": "still there"}).status_code == 200


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"modality": "smell"}, "modality"),
        ({"learn_from": "guesses"}, "learn_from"),
        ({"set": "stamps"}, "file"),
        ({"options": "[1]"}, "options"),
        ({"options": '{"dpi": 3}'}, "options"),
        ({"options": "[" * 5000}, "options"),
        ({"head": "--space=x"}, "head"),
    ],
)
def test_what_cannot_be_ordered_is_refused_at_once(admin, form, param):
    response = start(admin, labelled(1), **form)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)


@pytest.mark.parametrize("role", ["read", "write"])
def test_training_needs_a_key_that_may(keyed, role):
    with keyed.client(keyed.keys[role]) as client:
        response = start(client, labelled(1))
        assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")
        assert client.get("/v1/alignments").status_code == 200  # to watch, reading is enough
    with keyed.client() as nobody:
        assert start(nobody, labelled(1)).status_code == 401
    with keyed.client("wrong") as guessing:
        assert start(guessing, labelled(1)).status_code == 401


def test_an_unknown_run_is_not_found(admin):
    for path in ("/v1/alignments/0123456789abcdef", "/v1/alignments/..%2f..%2fx"):
        response = admin.get(path)
        assert response.status_code in (400, 404)


def test_the_client_trains_a_head_and_tells_how_far_it_is(keyed):
    labels = [label for label in SHAPES for _ in range(6)]
    items = [drawing(label, n) for n, label in enumerate(labels)]
    told = []
    with unibind.Client(keyed.url, key=keyed.keys["admin"]) as client:
        result = client.align(
            "image", items, labels, progress=lambda n, total: told.append((n, total))
        )
        assert result["items"] == 18
        assert told[-1] == (100, 100)
        with pytest.raises(InvalidInputError, match="18 items with 1 labels"):
            client.align("image", items, ["one"])
        with pytest.raises(InvalidInputError, match="cannot name a folder"):
            client.align("image", items[:1], ["a/b"])
        with pytest.raises(UnibindError, match="the alignment failed"):
            client.align("image", [b"no picture"], ["one"])


def test_runs_do_not_keep_a_server_from_ending(mini_weights, tmp_path):
    with serving(tmp_path / "ending") as served, served.client() as client:
        assert start(client, labelled(40)).status_code == 202
        ending = threading.Thread(target=served.stop)
        ending.start()
        ending.join(30)
        assert not ending.is_alive()
