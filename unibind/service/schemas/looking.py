"""``/v1/inspect`` and ``/v1/map``: what a page draws."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from unibind.service.schemas.parts import Part, Strict

__all__ = ["InspectRequest", "InspectResponse", "MapPoint", "MapResponse"]


class InspectRequest(Strict):
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
