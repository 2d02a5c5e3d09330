"""``/v1/search``: what to search by and where; hits out."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unibind.service.schemas.parts import Item, ModalityName, Strict, Words

__all__ = ["Found", "SearchHit", "SearchRequest", "SearchResponse"]

MAX_K = 1000


class SearchRequest(Strict):
    """What to search by, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": "something with wheels", "into": ["image"], "k": 5},
                {
                    "input": {"type": "image", "data": "iVBORw0KGgo="},
                    "where": {"licence": {"$in": ["CC0", "CC-BY"]}},
                },
                {"input": "a red kettle", "hybrid": True},
            ]
        }
    )

    input: Item | Annotated[list[Item], Field(min_length=1, max_length=64)]
    into: Annotated[list[ModalityName], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Modalities to search in; all if null."
    )
    k: Annotated[int, Field(ge=1, le=MAX_K)] = Field(10, description="How many hits at most.")
    where: dict[str, Any] | None = Field(
        None, description="A condition on the metadata; see docs/index.md."
    )
    hybrid: bool = Field(
        False, description="Rank by the words of the metadata as well, for inputs that are texts."
    )
    words: Words | None = Field(
        None, description="Rank by these words as well, whatever the input is."
    )
    min_score: float | None = Field(None, description="Leave out hits below this score.")
    group_by: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="`modality` or a metadata field: only the best hit of each value."
    )


class SearchHit(BaseModel):
    """One stored item."""

    key: str
    type: str
    score: float
    metadata: dict[str, Any]


class Found(BaseModel):
    """The hits of one item."""

    index: int
    type: str
    hits: list[SearchHit]


class SearchResponse(BaseModel):
    """For each item the nearest stored ones, best first."""

    object: Literal["list"] = "list"
    model: str
    results: list[Found]
