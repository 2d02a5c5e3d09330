"""What people serve embeddings with otherwise: a sentence-transformers loop, a loop over pictures.

Started by service_load.py, in an environment that has what it needs:

    python benchmarks/service_baselines.py sentence-transformers PORT
"""

import base64
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from unibind import weights


class Request(BaseModel):
    """OpenAI's fields that the load test sends."""

    input: str | list[str] | dict


def sentence_transformers_app() -> FastAPI:
    """Return the loop of sentence-transformers' own documentation behind FastAPI."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    torch.set_num_threads(2)
    tower = Transformer(str(weights.path("minilm-l6")), max_seq_length=256)
    pooling = Pooling(tower.get_word_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[tower, pooling, Normalize()], device="cpu")
    app = FastAPI()

    @app.post("/v1/embeddings")
    def embed(request: Request) -> dict:
        texts = [request.input] if isinstance(request.input, str) else request.input
        rows = model.encode(texts, batch_size=32, show_progress_bar=False)
        return answer([base64.b64encode(row.tobytes()).decode() for row in rows])

    return app


def picture_app() -> FastAPI:
    """Return one-at-a-time reading and encoding of pictures behind FastAPI."""
    import unibind

    engine = unibind.open("mini")
    app = FastAPI()

    @app.post("/v1/embeddings")
    def embed(request: Request) -> dict:
        (row,) = engine.embed("image", [base64.b64decode(request.input["data"])])
        return answer([base64.b64encode(row.tobytes()).decode()])

    return app


def answer(vectors: list[str]) -> dict:
    rows = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(vectors)]
    return {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 0}}


APPS = {"sentence-transformers": sentence_transformers_app, "picture-loop": picture_app}

if __name__ == "__main__":
    uvicorn.run(APPS[sys.argv[1]](), port=int(sys.argv[2]), log_level="warning")
