"""``/v1/items``: what is stored, replaced and removed."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unibind.service.schemas.parts import Metadata, Part

__all__ = ["DeleteResponse", "ItemRequest", "ItemResponse", "LineResult"]


class ItemRequest(Part):
    """An item to store, as a typed part with metadata."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "text", "text": "a red kettle", "metadata": {"licence": "CC0"}},
            ]
        }
    )

    metadata: Metadata


class ItemResponse(BaseModel):
    """One stored item."""

    object: Literal["item"] = "item"
    key: str
    type: str
    metadata: dict[str, Any]
    has_content: bool = Field(description="Whether what was uploaded can be shown again.")
    embedding: list[float] | None = Field(None, description="Only with `?include=embedding`.")


class DeleteResponse(BaseModel):
    """What was removed."""

    object: Literal["item"] = "item"
    key: str
    deleted: bool


class LineResult(BaseModel):
    """What came of one line of a batch: `stored`, or an error."""

    line: int = Field(description="From 1.")
    key: str | None
    status: Literal["stored", "failed"]
    error: dict[str, Any] | None = None
