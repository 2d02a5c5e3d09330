"""The spoken prompts of a telephone exchange: one studio voice, with what it says word for word."""

import gzip
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.sources import Package, extract

__all__ = ["PROMPTS_EN"]

_TEXT = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
_VOICE = "usr/share/asterisk/sounds/en_US_f_Allison"
_LINE = re.compile(r"([^;:\s][^:]*):\s*(\S.*?)\s*")
_NO_SPEECH = re.compile(r"[\[(<].*")  # "[ascending tones]": what is heard, not what is said


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    text, voice = archives
    said = _transcripts(text, scratch)

    def select(member: str) -> str | None:
        path = PurePosixPath(member.removeprefix("./"))
        if path.suffix != ".wav" or not path.is_relative_to(_VOICE):
            return None
        inside = path.relative_to(_VOICE)
        return inside.as_posix() if inside.with_suffix("").as_posix() in said else None

    for sound in extract(voice, folder, select=select):
        key = sound.relative_to(folder).with_suffix("").as_posix()
        group = key.rpartition("/")[0] or None
        yield LabelledItem(sound, caption=said[key], group=group)


def _transcripts(archive: Path, scratch: Path) -> dict[str, str]:
    (packed,) = extract(
        archive,
        scratch,
        select=lambda member: "said.gz" if member.removeprefix("./") == _TEXT else None,
    )
    lines = gzip.decompress(packed.read_bytes()).decode("utf-8", errors="replace").splitlines()
    found = [match for match in map(_LINE.fullmatch, lines) if match]
    return {match[1]: match[2] for match in found if not _NO_SPEECH.fullmatch(match[2])}


PROMPTS_EN = NamedSet(
    name="prompts-en",
    what="English telephone prompts spoken by one voice, each with its words",
    packages=(
        Package(
            "apt",
            "asterisk-core-sounds-en",
            "1.6.1-1",
            "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
            22_844,
        ),
        Package(
            "apt",
            "asterisk-core-sounds-en-wav",
            "1.6.1-1",
            "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
            18_272_864,
        ),
    ),
    n_items=551,
    licence="CC-BY-SA-3.0",
    attribution="Allison Smith (voice); Asterisk core sounds, Digium",
    unpack=_unpack,
)
