"""``/v1/classify``: items and classes in; probabilities and reasons out."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from unibind.service.schemas.parts import Item, Strict, Words

__all__ = [
    "ClassPrediction",
    "Classified",
    "ClassifyRequest",
    "ClassifyResponse",
    "NamedClass",
    "Reason",
]

MAX_CLASSES = 2000


class NamedClass(Strict):
    """A class with sentences that describe it."""

    name: Words
    descriptions: Annotated[list[Words], Field(max_length=200)] = Field(
        default_factory=list, description="Sentences that stand for the class beside its name."
    )


class ClassifyRequest(Strict):
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
