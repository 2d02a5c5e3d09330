"""What goes in and out, as it stands in the OpenAPI document."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Alignment",
    "AlignmentList",
    "Change",
    "ChangeResult",
    "ClassifyRequest",
    "ClassifyResponse",
    "DeleteResponse",
    "EmbeddingsRequest",
    "EmbeddingsResponse",
    "ErrorResponse",
    "Finding",
    "FindingList",
    "InspectRequest",
    "InspectResponse",
    "ItemRequest",
    "ItemResponse",
    "KnowledgeLines",
    "KnowledgeList",
    "LineResult",
    "MapResponse",
    "ModalityList",
    "ModelList",
    "NamedClass",
    "Part",
    "ReadyResponse",
    "SearchRequest",
    "SearchResponse",
]

MAX_CLASSES = 2000
MAX_K = 1000
_MAX_TEXT = 100_000

ModalityName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="A modality, or `auto` for whatever a file turns out to be.",
    ),
]
Options = Annotated[
    dict[str, str | int | float | bool | None],
    Field(
        default_factory=dict,
        description="What the item does not say of itself; see `GET /v1/modalities`.",
        examples=[{"rate_hz": 50}],
    ),
]
Metadata = Annotated[
    dict[str, Any],
    Field(
        default_factory=dict,
        description="JSON kept beside the item, by which searches can filter.",
        examples=[{"licence": "CC0"}],
    ),
]
Words = Annotated[str, Field(min_length=1, max_length=_MAX_TEXT)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """One item: words, or a file's content as base64, as an upload's name, or by URL."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "text", "text": "a red kettle"},
                {"type": "image", "data": "iVBORw0KGgo="},
            ]
        }
    )

    type: ModalityName
    text: Words | None = Field(None, description="The words, where the modality is of words.")
    data: str | None = Field(
        None, description="A whole file, base64, or a `data:` URL of one.", min_length=1
    )
    url: Annotated[str, Field(max_length=4096)] | None = Field(
        None, description="Where the file is; only if the server fetches URLs.", min_length=1
    )
    file: Annotated[str, Field(max_length=256)] | None = Field(
        None, description="Name of the form field that holds the file, in a multipart request."
    )
    options: Options

    @model_validator(mode="after")
    def _has_one_content(self) -> "Part":
        given = [
            name for name in ("text", "data", "url", "file") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"give one of text, data, url and file; found {found}")
        return self


Item = Annotated[Words | Part, Field(description="A text, or a typed part of any modality.")]


class EmbeddingsRequest(_Strict):
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


class NamedClass(_Strict):
    """A class with sentences that describe it."""

    name: Words
    descriptions: Annotated[list[Words], Field(max_length=200)] = Field(
        default_factory=list, description="Sentences that stand for the class beside its name."
    )


class ClassifyRequest(_Strict):
    """Items, and the classes among which each is placed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": "it purrs and hunts mice", "classes": ["a cat", "a dog"]},
                {
                    "input": {"type": "image", "data": "iVBORw0KGgo="},
                    "classes": [
                        {"name": "ripe", "descriptions": ["a deep red fruit"]},
                        {"name": "unripe", "descriptions": ["a hard green fruit"]},
                    ],
                    "top": 2,
                },
                {"input": "it boils water for tea", "knowledge": "everyday", "top": 3},
            ]
        }
    )

    input: Item | Annotated[list[Item], Field(min_length=1)]
    classes: (
        Annotated[list[Words | NamedClass], Field(min_length=1, max_length=MAX_CLASSES)] | None
    ) = Field(
        None, description="Names, or names with descriptions; with knowledge, those that count."
    )
    knowledge: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] | None = Field(
        None, description="Or a knowledge base by name."
    )
    top: Annotated[int, Field(ge=1)] = Field(5, description="How many classes are listed of each.")
    explain: bool = Field(True, description="Whether to say which description lines decided.")
    unknown: bool = Field(True, description="Whether an item may be of none of the classes.")


class Reason(BaseModel):
    """One thing that spoke for a class."""

    text: str = Field(description="A sentence about the class, or a measurement.")
    share: float = Field(description="Its part of all that was weighed; negative if against.")
    source: str = Field(description="`description`, `measurement` or `example`.")


class ClassPrediction(BaseModel):
    """One class that an item may belong to."""

    label: str
    score: float = Field(description="Nearness to the class, comparable within one answer.")
    probability: float = Field(description="Share of belief; over all classes they sum to 1.")
    reasons: list[Reason]


class Classified(BaseModel):
    """What one item is."""

    index: int
    type: str
    label: str | None = Field(description="The likeliest class; null if none of them, probably.")
    is_unknown: bool = Field(description="Whether it is probably of none of the classes.")
    predictions: list[ClassPrediction]


class ClassifyResponse(BaseModel):
    """For each item the classes, the likeliest first."""

    object: Literal["list"] = "list"
    model: str
    results: list[Classified]


class SearchRequest(_Strict):
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


class InspectRequest(_Strict):
    """One item to look at."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": {"type": "text", "text": "a red kettle"}}]}
    )

    input: Part
    max_values: Annotated[int, Field(ge=16, le=1_000_000)] = Field(
        60_000, description="Arrays are thinned along their first axis to about this many numbers."
    )


class InspectResponse(BaseModel):
    """What was read of an item, so that a page can draw or play it."""

    type: str
    units: str
    preview: str | None = Field(description="A PNG as a `data:` URL, if the modality draws.")
    item: dict[str, Any] = Field(
        description="`{value}`, `{array: {dtype, shape, data, step}}` (base64, little-endian), "
        "`{tuple: [...]}` or `{of, fields}`."
    )


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


class MapPoint(BaseModel):
    """One stored item on the map."""

    key: str
    type: str
    x: float
    y: float
    label: str


class MapResponse(BaseModel):
    """A sample of the store on its first two principal components."""

    points: list[MapPoint]
    stored: int = Field(description="Items in the store, of which the points are a sample.")
    explained: list[float] = Field(description="Share of the variance along x and y.")
    types: dict[str, int] = Field(description="Points by modality.")


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


class Change(_Strict):
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


class ReadyResponse(BaseModel):
    """Whether the service works, by a real forward pass."""

    status: Literal["ready", "not ready", "alive"]
    faults: dict[str, str] = Field(default_factory=dict)


class _ErrorDetail(BaseModel):
    param: str
    message: str


class Error(BaseModel):
    """Why a request was not answered as asked."""

    message: str = Field(description="What was found, what was needed, what to do.")
    type: str
    param: str | None
    code: str | None
    request_id: str | None = None
    details: list[_ErrorDetail] | None = None


class ErrorResponse(BaseModel):
    """The shape of every error."""

    error: Error


def first_fault(errors: Sequence[Any]) -> tuple[str | None, str]:
    """Return where and what is wrong, of pydantic's list of errors: the most telling one.

    Of a union each arm complains. One that only says that it is another type was not meant; of the
    others, the deepest complaint is about what was.
    """
    telling = [each for each in errors if not str(each["type"]).endswith("_type")] or errors
    chosen = max(telling, key=lambda each: len(each["loc"]))
    place = [part for part in chosen["loc"] if isinstance(part, int) or _is_field(part)]
    return _joined(place), str(chosen["msg"]).removeprefix("Value error, ")


_ARMS = frozenset({"str", "int", "float", "bool", "list", "dict", "none"})


def _is_field(part: str) -> bool:
    """Return whether part of a location is a field, and not the name of a union's arm."""
    return part.isidentifier() and part[0].islower() and part not in _ARMS


def _joined(place: list[Any]) -> str | None:
    joined = ""
    for part in place:
        joined += f"[{part}]" if isinstance(part, int) else f".{part}" if joined else str(part)
    return joined or None
