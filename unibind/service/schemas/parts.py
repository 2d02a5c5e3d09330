"""One item of a request: words, or a file in one of several ways, and what both are made of."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Item", "Metadata", "ModalityName", "Options", "Part", "Strict", "Words"]

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


class Strict(BaseModel):
    """What comes in: a field that nobody knows is a mistake, not to be passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(Strict):
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
