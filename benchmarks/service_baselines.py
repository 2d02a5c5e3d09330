"""What people serve embeddings with otherwise: loops behind FastAPI.

Started by service_load.py, in an environment that has what it needs:

    python benchmarks/service_baselines.py sentence-transformers PORT MODEL_FOLDER
"""

import base64
import sys


def sentence_transformers_app(folder: str):
    """Return the loop of sentence-transformers' own documentation behind FastAPI."""
    import torch
    from fastapi import FastAPI
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    torch.set_num_threads(2)
    tower = Transformer(folder, max_seq_length=256)
    pooling = Pooling(tower.get_word_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[tower, pooling, Normalize()], device="cpu")
    app = FastAPI()

    @app.post("/v1/embeddings")
    def embed(request: request_model()) -> dict:
        texts = [request.input] if isinstance(request.input, str) else request.input
        return answer(model.encode(texts, batch_size=32, show_progress_bar=False))

    return app


def one_at_a_time_app(space: str):
    """Return a server that reads and encodes one file after another."""
    from fastapi import FastAPI

    embed_file = file_embedder(space)
    app = FastAPI()

    @app.post("/v1/embeddings")
    async def embed(request: request_model()) -> dict:
        return answer(embed_file(request.input))

    return app


def thread_pool_app(space: str):
    """Return a server that reads and encodes files in FastAPI's threads, as they come."""
    from fastapi import FastAPI

    embed_file = file_embedder(space)
    app = FastAPI()

    @app.post("/v1/embeddings")
    def embed(request: request_model()) -> dict:
        return answer(embed_file(request.input))

    return app


def file_embedder(space: str):
    """Return what reads and encodes one file, as a program would without a service."""
    import unibind
    from unibind.encoders.pipeline import read_source

    engine = unibind.open(space)

    def embed_file(part: dict):
        encoder = engine.encoder(part["type"])
        item = read_source(encoder.modality, base64.b64decode(part["data"]))
        return engine.senses.place(part["type"], encoder.encode([item]))

    return embed_file


def request_model():
    """Return OpenAI's fields that the load test sends."""
    from pydantic import create_model

    return create_model("Request", input=(str | list[str] | dict, ...))


def answer(rows) -> dict:
    vectors = [base64.b64encode(row.tobytes()).decode() for row in rows]
    listed = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(vectors)]
    return {"object": "list", "data": listed, "model": "m", "usage": {"prompt_tokens": 0}}


def export(folder: str, file: str) -> None:
    """Write the text tower as ONNX, for infinity-emb's engine of that name."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids, mask, kinds):
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=kinds)[0]

    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = torch.ones(2, 7, dtype=torch.long)
    torch.onnx.export(
        Tower(),
        (example, example, example),
        file,
        dynamo=False,
        opset_version=17,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "B", 1: "T"} for name in [*names, "last_hidden_state"]},
    )


APPS = {
    "sentence-transformers": sentence_transformers_app,
    "one-at-a-time": one_at_a_time_app,
    "thread-pool": thread_pool_app,
}

if __name__ == "__main__":
    wanted, *told = sys.argv[1:]
    if wanted == "export":
        export(*told)
    else:
        import uvicorn

        port, folder = told
        uvicorn.run(APPS[wanted](folder), port=int(port), log_level="warning")
