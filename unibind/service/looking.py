"""What a page needs to show items: pictures, thinned arrays, and a map of the store."""

import base64
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import numpy.typing as npt

from unibind.errors import StoreError
from unibind.protocols import TracingStore
from unibind.service.refusals import Refusal
from unibind.service.runtime import Runtime
from unibind.service.sources import Source
from unibind.sources import cache_dir
from unibind.types import FloatArray, Json

__all__ = ["Chart", "content_of", "inspected", "shown", "summed_up"]

_CHART_AGE_S = 30.0
_MOST_SCANNED = 200_000
_LABELS = ("label", "caption", "title", "name")


async def inspected(
    runtime: Runtime, source: Source, *, max_values: int, deadline: float
) -> dict[str, Json]:
    """Return what was read of a source, as JSON.

    Raises:
        Refusal: It is not what it should be.
    """
    modality = runtime.modality(source.modality)
    item = await runtime.read(source, deadline=deadline)
    preview = None
    if modality.draw is not None:
        png = await runtime.draw(source, deadline=deadline)
        preview = "data:image/png;base64," + base64.b64encode(png).decode()
    return {
        "type": source.modality,
        "units": modality.units,
        "preview": preview,
        "item": shown(item, max_values=max_values),
    }


def shown(item: Any, *, max_values: int) -> dict[str, Json]:
    """Return an item as JSON, its arrays thinned along their first long axis."""
    if isinstance(item, np.ndarray):
        return {"array": _array(item, max_values)}
    if isinstance(item, tuple):
        return {"tuple": [shown(part, max_values=max_values) for part in item]}
    if is_dataclass(item) and not isinstance(item, type):
        parts = {each.name: getattr(item, each.name) for each in fields(item)}
        return {
            "of": type(item).__name__,
            "fields": {name: shown(part, max_values=max_values) for name, part in parts.items()},
        }
    return {"value": item if isinstance(item, str | int | float | bool) else None}


def _array(values: npt.NDArray[Any], max_values: int) -> Json:
    axis = int(np.argmax(values.shape)) if values.ndim else 0
    step = max(1, -(-values.size // max_values))
    thin = values[(slice(None),) * axis + (slice(None, None, step),)] if values.ndim else values
    if thin.dtype == np.float64:
        thin = thin.astype(np.float32)
    thin = np.ascontiguousarray(thin, dtype=thin.dtype.newbyteorder("<"))
    return {
        "dtype": thin.dtype.name,
        "shape": list(thin.shape),
        "axis": axis,
        "step": step,
        "data": base64.b64encode(thin.tobytes()).decode(),
    }


@dataclass(frozen=True, slots=True)
class _Sampled:
    key: str
    modality: str
    vector: FloatArray
    label: str


class Chart:
    """The map of the store, made anew when the store has changed."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[float, int, Json]] = {}

    def points(self, runtime: Runtime, *, limit: int, seed: int = 0) -> Json:
        """Return a sample of the store on its first two principal components.

        Of a very large store the sample is drawn from its first `_MOST_SCANNED` keys.
        """
        n_stored = runtime.engine.count()
        known = self._made.get(limit)
        if known and known[1] == n_stored and time.monotonic() - known[0] < _CHART_AGE_S:
            return known[2]
        sample = _sample(runtime, limit, np.random.default_rng(seed)) if n_stored else []
        made = summed_up(sample) | {"stored": n_stored}
        self._made = {limit: (time.monotonic(), n_stored, made)}
        return made


def _sample(runtime: Runtime, limit: int, random: np.random.Generator) -> list[_Sampled]:
    """Return at most limit stored items, each as likely as any other (reservoir sampling)."""
    scan = getattr(runtime.engine.store, "scan", None)
    if scan is None:
        raise StoreError("this kind of store cannot be read through, so there is no map of it")
    kept: list[_Sampled] = []
    for number, item in enumerate(scan()):
        if number >= _MOST_SCANNED:
            break
        place = number if number < limit else int(random.integers(number + 1))
        if place >= limit:
            continue
        one = _Sampled(item.key, item.modality, item.vector, _label(item.key, item.metadata))
        if number < limit:
            kept.append(one)
        else:
            kept[place] = one
    return kept


def _label(key: str, metadata: Mapping[str, Json]) -> str:
    for name in _LABELS:
        if isinstance(metadata.get(name), str):
            return str(metadata[name])[:120]
    return key[:120]


def summed_up(sample: list[_Sampled]) -> dict[str, Json]:
    """Return the sample on the plane on which it differs most.

    Each modality's own mean is taken off first: else the map would only show that modalities
    differ (the modality gap).
    """
    if not sample:
        return {"points": [], "explained": [0.0, 0.0], "types": {}}
    rows = np.stack([each.vector for each in sample]).astype(np.float64)
    kinds = np.array([each.modality for each in sample])
    for kind in np.unique(kinds):
        rows[kinds == kind] -= rows[kinds == kind].mean(axis=0)
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    places = np.zeros((len(rows), 2))
    n_axes = min(2, len(axes))
    places[:, :n_axes] = rows @ axes[:n_axes].T
    shares = np.zeros(2)
    total = float((sizes**2).sum())
    if total > 0:
        shares[:n_axes] = sizes[:n_axes] ** 2 / total
    return {
        "points": [
            {"key": each.key, "type": each.modality, "x": x, "y": y, "label": each.label}
            for each, (x, y) in zip(sample, places.round(5).tolist(), strict=True)
        ],
        "explained": shares.round(4).tolist(),
        "types": dict(Counter(kinds.tolist())),
    }


def content_of(runtime: Runtime, key: str) -> Source:
    """Return what was uploaded as an item, or the file that it was stored from on this machine.

    Raises:
        Refusal: Nothing was kept of it.
        StoreError: It cannot be read.
    """
    content = runtime.contents.get(key)
    if content is not None:
        return Source(content.modality, content.content, content.options)
    found = _file_of(runtime, key)
    if found is None:
        raise Refusal(404, "no_content", f"nothing was kept of the item {key!r:.80}", "key")
    return found


def _file_of(runtime: Runtime, key: str) -> Source | None:
    """Return the file that an item was stored from, None if it may not be shown or is gone.

    A store may have been restored from elsewhere, with addresses that somebody else wrote: what
    lies outside the folders that the settings name is never opened.
    """
    store = runtime.engine.store
    address = store.source(key) if isinstance(store, TracingStore) else None
    item = store.get(key)
    if item is None or address is None or not address.startswith("file:"):
        return None
    told = runtime.settings.show_files_under
    folders = (str(Path.cwd()), str(cache_dir() / "datasets")) if told is None else told
    try:
        path = Path(url2pathname(urlsplit(address).path)).resolve(strict=True)
        is_shown = any(path.is_relative_to(Path(folder).resolve()) for folder in folders)
        if not is_shown or path.stat().st_size > runtime.settings.max_body_bytes:
            return None
        return Source(item.modality, path.read_bytes(), {}) if path.is_file() else None
    except (OSError, ValueError):
        return None
