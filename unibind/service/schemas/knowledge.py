"""``/v1/knowledge``: bases, their lines and findings, and what a reviewer changes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from unibind.service.schemas.parts import Strict

__all__ = [
    "BareLine",
    "Change",
    "ChangeResult",
    "Finding",
    "FindingList",
    "KnowledgeEntry",
    "KnowledgeLine",
    "KnowledgeLines",
    "KnowledgeList",
    "Moved",
]


class KnowledgeEntry(BaseModel):
    """One knowledge base."""

    name: str
    classes: int
    lines: int
    reviewed: int
    quarantine: int
    views: list[str]
    signed_off_by: str
    content_id: str


class KnowledgeList(BaseModel):
    """The knowledge bases that the server has."""

    object: Literal["list"] = "list"
    data: list[KnowledgeEntry]


class KnowledgeLine(BaseModel):
    """One sentence about a class."""

    row: int = Field(description="Line of descriptions.jsonl, from 1.")
    class_name: str
    view: str
    text: str
    status: str
    reviewer: str
    generator: str


class KnowledgeLines(BaseModel):
    """A page of lines."""

    name: str
    content_id: str
    total: int
    offset: int
    classes: list[str]
    views: list[str]
    data: list[KnowledgeLine]


class Finding(BaseModel):
    """One fault of one line."""

    row: int
    kind: str
    severity: str
    evidence: str
    remedy: str


class FindingList(BaseModel):
    """What lint found."""

    name: str
    content_id: str
    data: list[Finding]


class Change(Strict):
    """What a reviewer does with lines."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"action": "accept", "rows": [1, 2], "reviewer": "Ada"},
                {"action": "edit", "rows": [3], "text": "It purrs.", "reviewer": "Ada"},
            ]
        }
    )

    action: Literal["accept", "edit", "reject"]
    rows: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=10_000)]
    reviewer: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="The new sentence, for `edit`."
    )
    reason: Annotated[str, Field(max_length=500)] = ""
    content_id: str | None = Field(
        None, description="Refuse if the base is another by now than the one that was read."
    )
    dry_run: bool = Field(False, description="Only say what would change.")


class BareLine(BaseModel):
    """A line without where it comes from."""

    class_name: str
    view: str
    text: str


class Moved(BaseModel):
    """A line that stands elsewhere."""

    before: BareLine
    after: BareLine


class ChangeResult(BaseModel):
    """What changed, or what is different between two bases."""

    name: str
    content_id: str
    saved: bool
    added: list[BareLine]
    removed: list[BareLine]
    moved: list[Moved]
    classes_added: list[str]
    classes_removed: list[str]
    center_shifts: dict[str, float] = Field(
        description="Class to how far its center moved, 1 - cosine."
    )
