"""``/v1/embeddings``: OpenAI's shapes, whose input may also be typed parts."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unibind.service.schemas.parts import Item, Strict

__all__ = ["Embedding", "EmbeddingsRequest", "EmbeddingsResponse", "Usage"]


class EmbeddingsRequest(Strict):
    """As OpenAI's, and each of `input` may also be a typed part."""

    # OpenAI's clients may send fields that mean nothing here.
    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {"model": "mini", "input": ["a red kettle", "rain on a roof"]},
                {
                    "model": "mini",
                    "input": [
                        "a red kettle",
                        {"type": "image", "data": "iVBORw0KGgo="},
                    ],
                    "encoding_format": "base64",
                },
            ]
        },
    )

    input: Item | Annotated[list[Item], Field(min_length=1)]
    model: str | None = Field(None, description="Name of the space, if given.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: little-endian float32."
    )
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Width of the embeddings; only the space's own."
    )
    user: str | None = Field(None, description="Taken as OpenAI's clients send it; not used.")

    @model_validator(mode="before")
    @classmethod
    def _is_no_tokens(cls, given: Any) -> Any:
        tokens = given.get("input") if isinstance(given, dict) else None
        while isinstance(tokens, list) and tokens:
            tokens = tokens[0]
        if isinstance(tokens, int):
            raise ValueError(
                "input holds token ids; this space has another tokenizer than OpenAI's models, "
                "send the texts themselves (langchain: check_embedding_ctx_length=False)"
            )
        return given


class Embedding(BaseModel):
    """One embedding, unit length."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="Numbers, or base64 of float32.")


class Usage(BaseModel):
    """Tokens of the texts; what is not text counts none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """As OpenAI's."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
