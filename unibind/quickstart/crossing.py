"""Searches from one sense into others, as tables and contact sheets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unibind.datasets import LabelledItem
from unibind.encoders.pipeline import read_source
from unibind.engine import Engine
from unibind.errors import InvalidInputError
from unibind.modalities.registry import open_modality
from unibind.quickstart.drawing import Tile, contact_sheet
from unibind.quickstart.senses import Added
from unibind.types import Hit, Json

__all__ = ["CROSSINGS", "Crossed", "Crossing", "cross"]

_N_HITS = 5


@dataclass(frozen=True, slots=True)
class Crossing:
    """One search that is shown.

    Attributes:
        modality: What is searched with.
        query: Words, or the label of a stored item of the modality.
        into: What is searched for.
    """

    modality: str
    query: str
    into: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the search shows, in a line."""
        return f"{self.modality} {self.query!r} finds {' and '.join(self.into)}"


CROSSINGS = (
    Crossing("audio", "washing machine", ("image", "pointcloud")),
    Crossing("audio", "owl", ("image",)),
    Crossing("text", "something to sit on", ("pointcloud",)),
    Crossing("text", "the call of a bird", ("audio",)),
    Crossing("text", "a person running", ("timeseries",)),
    Crossing("text", "the electricity that a fridge draws", ("timeseries",)),
    Crossing("video", "rooster", ("image", "audio")),
)


@dataclass(frozen=True, slots=True)
class Crossed:
    """What one search found.

    Attributes:
        crossing: The search.
        hits: The k best of each modality that was searched, one after the other.
        sheet: PNG of query and hits.
    """

    crossing: Crossing
    hits: tuple[Hit, ...]
    sheet: bytes

    def to_json(self) -> dict[str, Json]:
        """Return the search and its hits as JSON."""
        return {
            "title": self.crossing.title,
            "hits": [
                {
                    "key": hit.key,
                    "modality": hit.modality,
                    "caption": hit.metadata.get("caption"),
                    "score": round(hit.score, 3),
                }
                for hit in self.hits
            ],
        }


def cross(
    engine: Engine,
    added: Sequence[Added],
    *,
    pictures: Mapping[str, LabelledItem],
    crossings: Sequence[Crossing] = CROSSINGS,
) -> list[Crossed]:
    """Return what each search finds; those whose sense or item is not there are left out.

    Args:
        engine: Its store holds the items under their keys.
        added: What was added of each sense.
        pictures: The stored pictures by key.
        crossings: The searches.
    """
    items = {each.modality: each.items for each in added} | {"image": pictures}
    crossed = []
    for crossing in crossings:
        query = _query(crossing, items)
        into = [modality for modality in crossing.into if items.get(modality)]
        if query is None or not into:
            continue
        asked = query.path if isinstance(query, LabelledItem) else query
        # One search for each, so that each is shown, however near the others are.
        hits = [
            hit
            for modality in into
            for hit in engine.search(crossing.modality, [asked], into=[modality], k=_N_HITS)[0]
        ]
        tiles = [_tile(hit.modality, items[hit.modality].get(hit.key), hit) for hit in hits]
        sheet = contact_sheet(crossing.title, _tile(crossing.modality, query), tiles)
        crossed.append(Crossed(crossing, tuple(hits), sheet))
    return crossed


def _query(
    crossing: Crossing, items: Mapping[str, Mapping[str, LabelledItem]]
) -> LabelledItem | str | None:
    if open_modality(crossing.modality).str_is_item:
        return crossing.query
    stored = items.get(crossing.modality, {}).values()
    return next((item for item in stored if item.label == crossing.query), None)


def _tile(modality: str, item: LabelledItem | str | None, hit: Hit | None = None) -> Tile:
    note = "the query" if hit is None else f"{modality}, score {hit.score:.2f}"
    if isinstance(item, str) or item is None:
        return Tile(item or str(hit.metadata.get("caption", hit.key) if hit else ""), None, note)
    kind = open_modality(modality)
    caption = item.caption or item.label or item.key
    if kind.draw is None:
        return Tile(caption, None, note)
    try:
        return Tile(caption, kind.draw(read_source(kind, item.path)), note)
    except InvalidInputError:  # it needs an option; its words will do
        return Tile(caption, None, note)
