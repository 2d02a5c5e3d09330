"""Mixed requests, good and bad, on a real server; every answer is compared with the engine's.

Run for seconds by test_service_soak.py and, at length, by ``scripts/prove soak-service``:

    python tests/service/soak.py --seconds 600
"""

import argparse
import base64
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from conftest import png
from serving import Served, serving

import unibind

_CLASSES = ["a cat", "a bus", "a kettle", "rain"]
_N_TRUTHS = 24
_N_THREADS = 4


@dataclass
class Truth:
    """What the engine says in this process of the items that are asked for."""

    texts: list[str]
    pictures: list[bytes]
    text_rows: np.ndarray
    picture_rows: np.ndarray
    labels: list[str]

    @classmethod
    def told(cls, root: Path) -> "Truth":
        with unibind.open(root) as engine:
            texts = [f"a sentence about thing number {n}" for n in range(_N_TRUTHS)]
            pictures = [png(1000 + n) for n in range(_N_TRUTHS)]
            ranked = engine.classify("text", texts, classes=_CLASSES)
            return cls(
                texts,
                pictures,
                engine.embed("text", texts),
                engine.embed("image", pictures),
                [each[0].label for each in ranked],
            )


@dataclass
class Outcome:
    """What happened.

    Attributes:
        n_asked: By kind of request.
        wrong: Answers that are not what they should be.
        megabytes: Resident memory of the server, (seconds, MB).
        slowest_s: The longest that anybody waited.
    """

    n_asked: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    megabytes: list[tuple[float, float]] = field(default_factory=list)
    slowest_s: float = 0.0

    def slope_mb_per_minute(self, *, after_s: float) -> float:
        """Return by how much memory grew, from the time on when caches are warm."""
        late = [(t, mb) for t, mb in self.megabytes if t >= after_s]
        if len(late) < 3:
            return 0.0
        seconds, sizes = np.array(late).T
        return float(60 * np.polyfit(seconds, sizes, 1)[0])


class Asker:
    """One thread that asks, at random, and compares."""

    def __init__(self, served: Served, truth: Truth, seed: int, outcome: Outcome) -> None:
        self._client = served.client()
        self._truth = truth
        self._random = random.Random(seed)
        self._seed = seed
        self._outcome = outcome
        self._n = 0

    def close(self) -> None:
        self._client.close()

    def ask(self) -> None:
        kind = self._random.choice(
            ["texts", "texts", "pictures", "classify", "items", "bad file", "bad json", "fresh"]
        )
        self._outcome.n_asked[kind] += 1
        began = time.monotonic()
        try:
            fault = getattr(self, f"_{kind.replace(' ', '_')}")()
        except httpx.HTTPError as error:
            fault = repr(error)
        if fault:
            self._outcome.wrong.append(f"{kind}: {fault}")
        self._outcome.slowest_s = max(self._outcome.slowest_s, time.monotonic() - began)

    def _texts(self) -> str:
        rows = self._random.sample(range(_N_TRUTHS), self._random.randint(1, 12))
        return self._compared([self._truth.texts[n] for n in rows], self._truth.text_rows[rows])

    def _pictures(self) -> str:
        rows = self._random.sample(range(_N_TRUTHS), self._random.randint(1, 4))
        parts = [
            {"type": "image", "data": base64.b64encode(self._truth.pictures[n]).decode()}
            for n in rows
        ]
        return self._compared(parts, self._truth.picture_rows[rows])

    def _fresh(self) -> str:
        self._n += 1
        text = f"never asked before {self._seed} {self._n}"
        response = self._post("/v1/embeddings", {"input": [text, text]})
        if response.status_code == 429:
            return ""
        first, second = (each["embedding"] for each in response.json()["data"])
        return "" if first == second else "two embeddings of one text differ"

    def _classify(self) -> str:
        n = self._random.randrange(_N_TRUTHS)
        response = self._post("/v1/classify", {"input": self._truth.texts[n], "classes": _CLASSES})
        if response.status_code == 429:
            return ""
        label = response.json()["results"][0]["predictions"][0]["label"]
        return "" if label == self._truth.labels[n] else f"{label} for {self._truth.labels[n]}"

    def _items(self) -> str:
        key = f"soak-{self._seed}-{self._random.randrange(5)}"
        n = self._random.randrange(_N_TRUTHS)
        item = {"type": "text", "text": self._truth.texts[n], "metadata": {"n": n}}
        response = self._client.put(f"/v1/items/{key}", json=item)
        if response.status_code == 429:
            return ""
        found = self._client.get(f"/v1/items/{key}")
        if found.status_code != 200 or found.json()["metadata"] != {"n": n}:
            return f"an acknowledged item is {found.status_code} {found.text[:80]}"
        response = self._post("/v1/search", {"input": self._truth.texts[n], "k": 200})
        if response.status_code == 429:
            return ""
        hits = {hit["key"] for hit in response.json()["results"][0]["hits"]}
        if key not in hits:
            return "an acknowledged item is not found"
        if self._random.random() < 0.5:
            self._client.delete(f"/v1/items/{key}")
            if self._client.get(f"/v1/items/{key}").status_code != 404:
                return "a deleted item is there"
        return ""

    def _bad_file(self) -> str:
        content = bytearray(self._random.choice(self._truth.pictures))
        kind = self._random.choice(["image", "audio", "video", "pointcloud", "timeseries"])
        for _ in range(30):
            content[self._random.randrange(len(content))] = self._random.randrange(256)
        content = content[: self._random.randint(1, len(content))]
        part = {"type": kind, "data": base64.b64encode(content).decode()}
        status = self._post("/v1/inspect", {"input": part}).status_code
        return "" if status in (200, 400, 429, 501, 503) else f"status {status}"

    def _bad_json(self) -> str:
        body = self._random.choice([b"[" * 5000, b'{"input": 5}', b"", b'{"input": ["", 1]}'])
        headers = {"Content-Type": "application/json"}
        response = self._client.post("/v1/embeddings", content=body, headers=headers)
        return "" if response.status_code in (400, 429) else f"status {response.status_code}"

    def _compared(self, parts: list, rows: np.ndarray) -> str:
        response = self._post("/v1/embeddings", {"input": parts, "encoding_format": "base64"})
        if response.status_code == 429:
            return ""
        if response.status_code != 200:
            return f"status {response.status_code}: {response.text[:200]}"
        got = [
            np.frombuffer(base64.b64decode(each["embedding"]), "<f4")
            for each in response.json()["data"]
        ]
        far = float(np.abs(np.array(got) - rows).max())
        return "" if far < 1e-4 else f"off by {far:.2g}"

    def _post(self, path: str, body: dict) -> httpx.Response:
        return self._client.post(path, json=body)


def soak(served: Served, truth: Truth, *, seconds: float, seed: int = 0) -> Outcome:
    """Ask from several threads for so long, and return what happened."""
    outcome = Outcome()
    ends = time.monotonic() + seconds
    began = time.monotonic()

    def work(number: int) -> None:
        asker = Asker(served, truth, seed + number, outcome)
        while time.monotonic() < ends:
            asker.ask()
        asker.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(_N_THREADS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        outcome.megabytes.append((time.monotonic() - began, resident_mb(served.process.pid)))
        time.sleep(min(1.0, seconds / 20))
    return outcome


def resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    (line,) = [each for each in status.splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        truth = Truth.told(Path(folder) / "mini")
        with serving(Path(folder) / "served", decoders=2) as served:
            outcome = soak(served, truth, seconds=told.seconds, seed=told.seed)
            is_alive = served.is_alive()
    slope = outcome.slope_mb_per_minute(after_s=told.seconds / 3)
    sizes = [mb for _, mb in outcome.megabytes]
    print(  # noqa: T201
        json.dumps(
            {
                "seconds": told.seconds,
                "asked": dict(outcome.n_asked),
                "wrong": outcome.wrong[:20],
                "n_wrong": len(outcome.wrong),
                "slowest_s": round(outcome.slowest_s, 2),
                "megabytes_first_last_most": [round(x) for x in (sizes[0], sizes[-1], max(sizes))],
                "slope_mb_per_minute": round(slope, 2),
                "alive": is_alive,
            },
            indent=2,
        )
    )
    raise SystemExit(bool(outcome.wrong) or not is_alive or slope > 5)


if __name__ == "__main__":
    main()
