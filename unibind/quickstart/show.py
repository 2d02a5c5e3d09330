"""Three searches and a map, drawn."""

from collections.abc import Mapping, Sequence

import numpy as np

from unibind.datasets import Dataset, LabelledItem
from unibind.engine import Engine
from unibind.quickstart.drawing import Tile, contact_sheet, draw_map
from unibind.types import Hit

__all__ = ["draw_all"]

_WORDS = "an animal that lives in the sea"
_PICTURE = "fruit"
_N_HITS = 10
_N_GROUPS = 10


def draw_all(engine: Engine, dataset: Dataset) -> Mapping[str, tuple[str, bytes]]:
    """Return file name to what it shows and its PNG: three contact sheets and the map.

    Args:
        engine: Its store holds the set's pictures under their keys, and their captions as text.
        dataset: The set.
    """
    items = {item.key: item for item in dataset.items}
    asked = next((i for i in dataset.items if i.label == _PICTURE), dataset.items[0])
    tile = Tile(asked.caption or asked.key, asked.path, "the query")
    of_words = engine.search("text", [_WORDS], into=["image"], k=_N_HITS)[0]
    # The asked picture is in the store too, and nearest to itself.
    of_picture = engine.search("image", [asked.path], into=["image"], k=_N_HITS + 1)[0]
    others = [hit for hit in of_picture if hit.key != asked.key][:_N_HITS]
    to_words = engine.search("image", [asked.path], into=["text"], k=_N_HITS)[0]
    words = Tile(f"\u201c{_WORDS}\u201d", None, "the query")
    return {
        "search-words-to-pictures.png": (
            f"Words find pictures: {_WORDS}",
            contact_sheet("Words find pictures", words, _tiles(of_words, items)),
        ),
        "search-picture-to-pictures.png": (
            f"A picture finds pictures: {asked.caption}",
            contact_sheet("A picture finds pictures", tile, _tiles(others, items)),
        ),
        "search-picture-to-words.png": (
            f"A picture finds words: {asked.caption}",
            contact_sheet(
                "A picture finds words",
                tile,
                [Tile(str(hit.metadata["caption"]), None, _score(hit)) for hit in to_words],
            ),
        ),
        "map.png": ("The space in two dimensions", _map(engine, dataset)),
    }


def _map(engine: Engine, dataset: Dataset) -> bytes:
    groups: dict[str, list[LabelledItem]] = {}
    for item in dataset.items:
        groups.setdefault(item.group or "others", []).append(item)
    largest = sorted(groups, key=lambda name: -len(groups[name]))[:_N_GROUPS]
    embeddings = {
        name: engine.embed("image", [item.path for item in groups[name]]) for name in largest
    }
    texts = engine.embed("text", largest)
    return draw_map(
        embeddings,
        title=f"{sum(map(len, embeddings.values()))} pictures of {dataset.name}, by folder; "
        "words where the text tower puts them, stretched to fit",
        names=dict(zip(largest, np.asarray(texts), strict=True)),
    )


def _tiles(hits: Sequence[Hit], items: Mapping[str, LabelledItem]) -> list[Tile]:
    return [
        Tile(str(hit.metadata["caption"]), items[hit.key].path, _score(hit))
        for hit in hits
        if hit.key in items
    ]


def _score(hit: Hit) -> str:
    return f"score {hit.score:.2f}"
