"""``/v1/alignments``: how far a run is."""

from typing import Any, Literal

from pydantic import BaseModel, Field

__all__ = ["Alignment", "AlignmentList"]


class Alignment(BaseModel):
    """One alignment run."""

    id: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    modality: str
    stage: str
    n_done: int
    n_total: int
    seconds: float
    error: str | None
    result: dict[str, Any] | None = Field(description="As `unibind align --json` prints it.")


class AlignmentList(BaseModel):
    """The alignment runs since the server began, the last one first."""

    object: Literal["list"] = "list"
    data: list[Alignment]
