"""Emoji that move: animated pictograms, named as the set `emoji` names its pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from unibind.datasets.emoji import NAMES, bare_hexcode, read_concepts
from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.sources import Package, extract

__all__ = ["EMOJI_MOTION"]


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    from PIL import Image  # only to unpack

    names, drawings = archives
    concepts = read_concepts(names, scratch)

    def animation(member: str) -> str | None:
        path = PurePosixPath(member)
        is_thing = path.suffix == ".webp" and bare_hexcode(path.stem) in concepts
        return path.name if is_thing else None

    seen: set[str] = set()
    for path in extract(drawings, folder, select=animation):
        hexcode = bare_hexcode(path.stem)
        with Image.open(path) as picture:
            n_frames = getattr(picture, "n_frames", 1)
        if n_frames < 2 or hexcode in seen:  # half of them are stills, a few are there twice
            path.unlink()
            continue
        seen.add(hexcode)
        concept = concepts[hexcode]
        yield LabelledItem(
            path,
            label=concept["label"],
            caption=concept["label"],
            group=concept["subgroup"],
            extra={
                "category": concept["group"],
                "n_frames": n_frames,
                "tags": concept.get("tags", []),
                "emoji": concept["emoji"],
                "hexcode": hexcode,
            },
        )


EMOJI_MOTION = NamedSet(
    name="emoji-motion",
    what="animated pictograms of things, people and food, a few seconds each, with names and tags",
    packages=(
        NAMES,
        Package(
            "npm",
            "@lobehub/fluent-emoji-anim-1",
            "1.0.0",
            "4c03ac178c1eabf2e2a16dd498f3cc2b92dc30ec3466ae38fdc497d4774c99ea",
            164_966_217,
        ),
    ),
    n_items=182,
    licence="MIT (names and tags; the animations by the packager's claim)",
    attribution="emojibase, Miles Johnson; Fluent Emoji, Microsoft, packaged by LobeHub",
    unpack=_unpack,
)
