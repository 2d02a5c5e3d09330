"""The stamps of Tux Paint: cut-out photographs and drawings of single things, with captions."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.sources import Package, extract
from unibind.types import Json

__all__ = ["STAMPS"]

_ROOT = "usr/share/tuxpaint/stamps"
_STYLES = {"cartoon", "plastic", "toys"}
"""Folders that say how a thing is drawn, not what it is."""
_SOUND = re.compile(r"(?P<stem>.+?)(?P<caption>_desc(_(?P<language>\w+))?)?\.ogg")
_Sounds = dict[str, Json]
"""Members of the package: "effect", and "speech" by language."""


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> list[LabelledItem]:
    (archive,) = archives
    sounds: defaultdict[str, _Sounds] = defaultdict(lambda: {"speech": {}})

    def select(member: str) -> str | None:
        path = PurePosixPath(member.removeprefix("./"))
        if not path.is_relative_to(_ROOT):
            return None
        inside = path.relative_to(_ROOT)
        if inside.parts[:1] == ("symbols",) or inside.stem.endswith(("_mirror", "_flip")):
            return None  # letters and numbers; second pictures of the same thing
        if found := _SOUND.fullmatch(inside.as_posix()):
            if found["caption"]:
                sounds[found["stem"]]["speech"][found["language"] or "en"] = found[0]
            else:
                sounds[found["stem"]]["effect"] = found[0]
        return inside.as_posix() if inside.suffix in {".png", ".txt"} else None

    items = []
    for picture in extract(archive, scratch, select=select):
        text = picture.with_suffix(".txt")
        if picture.suffix == ".png" and text.is_file():
            target = folder / picture.relative_to(scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.rename(target)
            stem = target.relative_to(folder).with_suffix("").as_posix()
            items.append(_item(target, stem, text, sounds[stem]))
    return items


def _item(picture: Path, stem: str, text: Path, sounds: Json) -> LabelledItem:
    english, *others = text.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    captions = {}
    for line in others:  # fr.utf8=Un lion.
        if found := re.fullmatch(r"([\w@]+)\.utf8=\s*(\S.*?)\s*", line):
            captions[found[1]] = found[2]
    folders = stem.split("/")[:-1]
    classes = [name for name in folders if name not in _STYLES]
    return LabelledItem(
        picture,
        label=classes[-1] if classes else None,
        caption=english.strip() or None,
        group=classes[0] if classes else None,
        extra={"folder": "/".join(folders), "captions": captions, "sounds": sounds},
    )


STAMPS = NamedSet(
    name="stamps",
    what="pictures of single things, many of them photographs, each with an English caption",
    packages=(
        Package(
            "apt",
            "tuxpaint-stamps-default",
            "2022.06.04-1",
            "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
            160_880_444,
        ),
    ),
    n_items=538,
    licence="GPL-2.0",
    attribution="Tux Paint stamps, Bill Kendrick and contributors",
    unpack=_unpack,
)
