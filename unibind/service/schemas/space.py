"""``/v1/modalities``, ``/v1/models`` and ``/readyz``: what the space is, and whether it works."""

from typing import Literal

from pydantic import BaseModel, Field

__all__ = ["ModalityEntry", "ModalityList", "ModelEntry", "ModelList", "ReadyResponse"]


class ModalityEntry(BaseModel):
    """What the space reads."""

    type: str
    units: str
    formats: list[str] = Field(description="Endings of files that are read.")
    takes_text: bool = Field(description="Whether `text` may be given.")
    options: dict[str, str]
    limits: dict[str, float]
    encoder: str
    has_head: bool
    draws: bool = Field(description="Whether items have previews.")
    available: bool
    unavailable_because: str | None
    stored: int


class ModalityList(BaseModel):
    """What the space reads."""

    object: Literal["list"] = "list"
    model: str
    dimensions: int
    data: list[ModalityEntry]


class ModelEntry(BaseModel):
    """As OpenAI's."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """As OpenAI's."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class ReadyResponse(BaseModel):
    """Whether the service works, by a real forward pass."""

    status: Literal["ready", "not ready", "alive"]
    faults: dict[str, str] = Field(default_factory=dict)
