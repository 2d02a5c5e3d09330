"""What each verb asks of the server, as steps that both clients take."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from unibind.client.answers import (
    hit_of,
    json_of,
    lines_of,
    predictions_of,
    vector_of,
)
from unibind.client.parts import batches, content_of
from unibind.client.steps import Call, Steps, Wait
from unibind.errors import InvalidInputError, StoreError, UnibindError
from unibind.types import FloatArray, Hit, Json, Prediction, ProgressCallback

__all__ = ["add", "align", "classify", "count", "delete", "embed", "get", "modalities", "search"]

_POLL_S = 0.5


def modalities() -> Steps[list[dict[str, Json]]]:
    """Ask what the space reads."""
    answer = yield Call("GET", "/v1/modalities")
    return list(json_of(answer)["data"])


def embed(
    modality: str,
    items: Sequence[Any],
    options: Mapping[str, Json] | None,
    progress: ProgressCallback | None,
) -> Steps[FloatArray]:
    """Ask for the embeddings of items, shape (N, D)."""
    rows: list[FloatArray] = []
    for parts in batches(modality, items, options):
        answer = yield Call("POST", "/v1/embeddings", {"input": parts, "encoding_format": "base64"})
        rows += map(vector_of, json_of(answer)["data"])
        _report(progress, len(rows), len(items))
    if not rows:
        answer = yield Call("GET", "/v1/modalities")
        return np.empty((0, json_of(answer)["dimensions"]), dtype=np.float32)
    return np.stack(rows)


def classify(
    modality: str,
    items: Sequence[Any],
    options: Mapping[str, Json] | None,
    asked: Mapping[str, Json],
    progress: ProgressCallback | None,
) -> Steps[list[list[Prediction]]]:
    """Ask for the classes of items."""
    found: list[list[Prediction]] = []
    for parts in batches(modality, items, options):
        answer = yield Call("POST", "/v1/classify", {"input": parts, **_given(asked)})
        found += map(predictions_of, json_of(answer)["results"])
        _report(progress, len(found), len(items))
    return found


def search(
    modality: str,
    items: Sequence[Any],
    options: Mapping[str, Json] | None,
    asked: Mapping[str, Json],
) -> Steps[list[list[Hit]]]:
    """Ask for the stored items nearest to items."""
    found: list[list[Hit]] = []
    for parts in batches(modality, items, options):
        answer = yield Call("POST", "/v1/search", {"input": parts, **_given(asked)})
        found += [list(map(hit_of, result["hits"])) for result in json_of(answer)["results"]]
    return found


def add(
    modality: str,
    items: Sequence[Any],
    keys: Sequence[str],
    metadata: Sequence[Mapping[str, Json]] | None,
    options: Mapping[str, Json] | None,
    progress: ProgressCallback | None,
) -> Steps[None]:
    """Store items, a list of lines after another."""
    described = metadata if metadata is not None else [{}] * len(items)
    if not len(keys) == len(items) == len(described):
        raise InvalidInputError(
            f"{len(items)} items with {len(keys)} keys and {len(described)} metadata; one each is "
            "needed"
        )
    n_done = 0
    failed: list[str] = []
    for parts in batches(modality, items, options, typed=True):
        lines = [
            part | {"key": keys[n_done + n], "metadata": dict(described[n_done + n])}
            for n, part in enumerate(parts)
        ]
        results = lines_of((yield Call("POST", "/v1/items:batch", lines=lines)))
        if len(results) != len(lines):
            raise StoreError(
                f"the server broke off after {n_done + len(results):,} of {len(items):,} items; "
                "those are stored, add the others again"
            )
        failed += [
            f"{each.get('key')}: {each['error']['message']}"
            for each in results
            if each["status"] != "stored"
        ]
        n_done += len(lines)
        _report(progress, n_done, len(items))
    if failed:
        told = "; ".join(failed[:3]) + (f"; and {len(failed) - 3:,} more" if failed[3:] else "")
        raise InvalidInputError(f"{len(failed):,} of {len(items):,} items were not stored: {told}")


def get(key: str) -> Steps[Hit | None]:
    """Ask for the item of a key."""
    answer = yield Call("GET", _path_of(key))
    return None if answer.status == 404 else hit_of(json_of(answer))


def delete(key: str) -> Steps[bool]:
    """Remove the item of a key."""
    answer = yield Call("DELETE", _path_of(key))
    return answer.status != 404 and bool(json_of(answer)["deleted"])


def count(modality: str | None) -> Steps[int]:
    """Ask how many items are stored."""
    listed = yield from modalities()
    return sum(each["stored"] for each in listed if modality in (None, each["type"]))


def align(
    modality: str,
    items: Sequence[Any],
    labels: Sequence[str],
    asked: Mapping[str, Json],
    progress: ProgressCallback | None,
) -> Steps[dict[str, Json]]:
    """Send labelled items, and look after the run until it has ended."""
    form = {"modality": modality} | _fields(asked)
    if "knowledge" not in form:
        form["learn_from"] = "class_names"
    listed = yield from modalities()
    endings = [ending for each in listed if each["type"] == modality for ending in each["formats"]]
    upload = ("labelled.zip", _zipped(items, labels, (endings or [""])[0]))
    run = json_of((yield Call("POST", "/v1/alignments", form=form, upload=upload)))
    while run["status"] in ("queued", "running"):
        _report(progress, run["n_done"], run["n_total"])
        yield Wait(_POLL_S)
        run = json_of((yield Call("GET", f"/v1/alignments/{run['id']}")))
    if run["status"] != "done":
        why = run["error"] or "somebody stopped it"
        raise UnibindError(f"the alignment {run['status']}: {why}")
    _report(progress, run["n_total"], run["n_total"])
    return dict(run["result"] or {})


def _zipped(items: Sequence[Any], labels: Sequence[str], ending: str) -> bytes:
    """Return items as a zip of one folder per label.

    Contents have no names, so all files get the same ending: readers go by the content.
    """
    if len(items) != len(labels):
        raise InvalidInputError(f"{len(items)} items with {len(labels)} labels; one each is needed")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n, (item, label) in enumerate(zip(items, labels, strict=True)):
            if not label.strip(" .") or "/" in label or "\\" in label:
                raise InvalidInputError(f"{label!r:.80} cannot name a folder; call the class else")
            archive.writestr(f"{label}/{n}{ending}", content_of(item))
    return buffer.getvalue()


def _fields(asked: Mapping[str, Json]) -> dict[str, str]:
    """Return what is asked as fields of a form."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in asked.items()
        if value
    }


def _path_of(key: str) -> str:
    return f"/v1/items/{quote(key, safe='')}"


def _given(asked: Mapping[str, Json]) -> dict[str, Json]:
    return {
        name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in asked.items()
        if value is not None
    }


def _report(progress: ProgressCallback | None, n_done: int, n_total: int) -> None:
    if progress is not None:
        progress(n_done, n_total)
