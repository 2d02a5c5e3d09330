"""What an answer of each operation looks like, and what stands in its place: for the document."""

from collections.abc import Mapping
from typing import Final

from unibind.types import Json

__all__ = ["ANSWERS", "FORMS", "PARAMETERS"]

_VECTOR: Final = [0.0421, -0.0175, 0.0633]
_HIT: Final = {
    "key": "kettle-1",
    "type": "image",
    "score": 0.4127,
    "metadata": {"licence": "CC0"},
}
_ITEM: Final = {
    "object": "item",
    "key": "kettle-1",
    "type": "image",
    "metadata": {"licence": "CC0"},
    "has_content": True,
    "embedding": None,
}
_READ: Final = {
    "type": "text",
    "units": "str with a visible character",
    "preview": None,
    "item": {"value": "a red kettle"},
}
_RUN: Final = {
    "id": "9f86d081884c7d65",
    "status": "running",
    "modality": "audio",
    "stage": "encoding audio",
    "n_done": 40,
    "n_total": 100,
    "seconds": 12.5,
    "error": None,
    "result": None,
}
_LINE: Final = {"class_name": "kettle", "view": "looks", "text": "A kettle has a spout and a lid."}

ANSWERS: Mapping[tuple[str, str], Json] = {
    ("post", "/v1/embeddings"): {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": _VECTOR}],
        "model": "mini",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    },
    ("post", "/v1/classify"): {
        "object": "list",
        "model": "mini",
        "results": [
            {
                "index": 0,
                "type": "text",
                "label": "a cat",
                "is_unknown": False,
                "predictions": [
                    {
                        "label": "a cat",
                        "score": 0.51,
                        "probability": 0.93,
                        "reasons": [{"text": "a cat", "share": 1.0, "source": "description"}],
                    }
                ],
            }
        ],
    },
    ("post", "/v1/search"): {
        "object": "list",
        "model": "mini",
        "results": [{"index": 0, "type": "text", "hits": [_HIT]}],
    },
    ("post", "/v1/inspect"): _READ,
    ("put", "/v1/items/{key}"): _ITEM,
    ("get", "/v1/items/{key}"): _ITEM | {"embedding": _VECTOR},
    ("delete", "/v1/items/{key}"): {"object": "item", "key": "kettle-1", "deleted": True},
    ("get", "/v1/items/{key}/inspect"): _READ,
    ("post", "/v1/items:batch"): '{"line":1,"key":"a","status":"stored"}\n',
    ("get", "/v1/modalities"): {
        "object": "list",
        "model": "mini",
        "dimensions": 384,
        "data": [
            {
                "type": "timeseries",
                "units": "channels over time, float32 (C, T), with sampling rate in Hz",
                "formats": [".csv", ".parquet"],
                "takes_text": False,
                "options": {"rate_hz": "samples per second, where there is no column of times"},
                "limits": {"values": 20_000_000.0},
                "encoder": "minirocket",
                "has_head": False,
                "draws": True,
                "available": False,
                "unavailable_because": "nothing leads from timeseries into this space yet",
                "stored": 0,
            }
        ],
    },
    ("get", "/v1/models"): {
        "object": "list",
        "data": [{"id": "mini", "object": "model", "created": 0, "owned_by": "unibind"}],
    },
    ("get", "/v1/map"): {
        "points": [{"key": "kettle-1", "type": "image", "x": 0.21, "y": -0.08, "label": "kettle"}],
        "stored": 84,
        "explained": [0.13, 0.09],
        "types": {"image": 1},
    },
    ("get", "/v1/knowledge"): {
        "object": "list",
        "data": [
            {
                "name": "everyday",
                "classes": 300,
                "lines": 4800,
                "reviewed": 0,
                "quarantine": 0,
                "views": ["looks", "sound"],
                "signed_off_by": "",
                "content_id": "sha256:5f2c",
            }
        ],
    },
    ("get", "/v1/knowledge/{name}/lines"): {
        "name": "everyday",
        "content_id": "sha256:5f2c",
        "total": 16,
        "offset": 0,
        "classes": ["kettle"],
        "views": ["looks"],
        "data": [
            {"row": 1, **_LINE, "status": "unreviewed", "reviewer": "", "generator": "a model"}
        ],
    },
    ("get", "/v1/knowledge/{name}/findings"): {
        "name": "everyday",
        "content_id": "sha256:5f2c",
        "data": [
            {
                "row": 7,
                "kind": "duplicate",
                "severity": "warning",
                "evidence": "says the same as row 3",
                "remedy": "reject one of them",
            }
        ],
    },
    ("get", "/v1/knowledge/{name}/diff"): {
        "name": "edited",
        "content_id": "sha256:91ab",
        "saved": False,
        "added": [_LINE],
        "removed": [],
        "moved": [],
        "classes_added": [],
        "classes_removed": [],
        "center_shifts": {"kettle": 0.0028},
    },
    ("post", "/v1/knowledge/{name}/changes"): {
        "name": "everyday",
        "content_id": "sha256:91ab",
        "saved": True,
        "added": [_LINE],
        "removed": [{**_LINE, "text": "A kettle is a pot."}],
        "moved": [],
        "classes_added": [],
        "classes_removed": [],
        "center_shifts": {"kettle": 0.0028},
    },
    ("get", "/v1/alignments"): {"object": "list", "data": [_RUN]},
    ("post", "/v1/alignments"): _RUN | {"status": "queued", "stage": "waiting", "n_done": 0},
    ("get", "/v1/alignments/{run_id}"): _RUN,
    ("delete", "/v1/alignments/{run_id}"): _RUN | {"status": "cancelled"},
    ("get", "/healthz"): {"status": "alive", "faults": {}},
    ("get", "/readyz"): {"status": "ready", "faults": {}},
    ("get", "/metrics"): "unibind_ready 1.0\n",
}
"""Body of a good answer by method and path; pictures and files have none."""

PARAMETERS: Mapping[str, Json] = {
    "key": "kettle-1",
    "name": "everyday",
    "run_id": "9f86d081884c7d65",
    "include": "embedding",
    "against": "edited",
    "class_name": "kettle",
    "view": "looks",
    "words": "spout",
    "offset": 0,
    "limit": 100,
    "max_values": 60_000,
}
"""Value of a parameter by its name."""

FORMS: Mapping[str, Json] = {
    "/v1/alignments": {"modality": "image", "set": "stamps", "learn_from": "class_names"},
}
"""Fields of a form by path; of the others, the fields of the JSON body."""
