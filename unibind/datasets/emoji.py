"""Emoji as two houses draw them: the same concepts in two styles, with names and tags."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.sources import Package, extract
from unibind.types import Json

__all__ = ["EMOJI", "NAMES", "bare_hexcode", "read_concepts"]

_STYLES = {"google": "Apache-2.0", "twitter": "CC-BY-4.0"}
"""Who drew them, in the order of their packages, and under which licence."""
_NOT_THINGS = {"component", "flags", "symbols"}


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    names, *drawings = archives
    concepts = read_concepts(names, scratch)

    def picture(member: str) -> str | None:
        path = PurePosixPath(member)
        hexcode = bare_hexcode(path.stem)
        return f"{hexcode}.png" if path.parent.name == "64" and hexcode in concepts else None

    google, twitter = (
        {path.stem: path for path in extract(archive, folder / style, select=picture)}
        for style, archive in zip(_STYLES, drawings, strict=True)
    )
    for pictures, others in ((google, twitter), (twitter, google)):
        for hexcode in pictures.keys() - others.keys():
            pictures.pop(hexcode).unlink()
    for style, pictures in zip(_STYLES, (google, twitter), strict=True):
        for hexcode, path in pictures.items():
            concept = concepts[hexcode]
            yield LabelledItem(
                path,
                label=concept["label"],
                caption=concept["label"],
                group=concept["subgroup"],
                extra={
                    "category": concept["group"],
                    "style": style,
                    "licence": _STYLES[style],
                    "tags": concept.get("tags", []),
                    "emoji": concept["emoji"],
                },
            )


def read_concepts(archive: Path, scratch: Path) -> Mapping[str, Json]:
    """Return the rows of emojibase by bare hexcode, with names of groups in place of numbers.

    Flags, symbols and components, which are no things, are left out.

    Args:
        archive: The archive of emojibase-data.
        scratch: A folder to unpack to.
    """
    tables = {f"package/en/{name}.json": f"{name}.json" for name in ("data", "messages")}
    extract(archive, scratch, select=tables.get)
    rows = json.loads((scratch / "data.json").read_text(encoding="utf-8"))
    messages = json.loads((scratch / "messages.json").read_text(encoding="utf-8"))
    groups = {group["order"]: group["key"] for group in messages["groups"]}
    subgroups = {group["order"]: group["key"] for group in messages["subgroups"]}
    return {
        bare_hexcode(row["hexcode"].lower()): {
            **row,
            "group": groups[row["group"]],
            "subgroup": subgroups[row["subgroup"]],
        }
        for row in rows
        if "group" in row and groups[row["group"]] not in _NOT_THINGS
    }


def bare_hexcode(hexcode: str) -> str:
    """Return a hexcode without the mark "draw me as a picture".

    Whether a code point is followed by it differs between packages; the concept is the same.
    """
    return hexcode.replace("-fe0f", "")


NAMES = Package(
    "npm",
    "emojibase-data",
    "17.0.0",
    "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    6_711_091,
)
"""Where the concepts' names, tags and groups are from."""

EMOJI = NamedSet(
    name="emoji",
    what="pictograms of things, people and food, each drawn by two houses, with names and tags",
    packages=(
        NAMES,
        Package(
            "npm",
            "emoji-datasource-google",
            "16.0.0",
            "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
            74_344_091,
        ),
        Package(
            "npm",
            "emoji-datasource-twitter",
            "16.0.0",
            "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
            61_683_754,
        ),
    ),
    n_items=2824,
    licence="MIT (names and tags), Apache-2.0 (google), CC-BY-4.0 (twitter)",
    attribution="emojibase, Miles Johnson; Noto Emoji, Google; Twemoji, Twitter",
    unpack=_unpack,
)
