"""The sound effects of Tux Paint's stamps: what single things sound like, one short clip each.

Which clip is whose was read one by one. Left out are clips that the thing shown does not make
(spoken letters on dreidels, horns on road signs), four of pure silence (giraffe, iguana, rhea,
wombat), and second names of a clip that stands already (beaver is badger's, mountain goat ram's).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from unibind.datasets.items import LabelledItem
from unibind.datasets.named import NamedSet
from unibind.datasets.stamps import STAMPS
from unibind.sources import extract

__all__ = ["STAMP_SOUNDS"]

_ROOT = "usr/share/tuxpaint/stamps"

_SOURCES = """
animals/amphibians/frog: frog
animals/birds/blackbird: blackbird
animals/birds/crow: crow
animals/birds/cuckoo: cuckoo
animals/birds/drake: duck
animals/birds/duck: duck
animals/birds/gander: goose
animals/birds/hen: chicken
animals/birds/heron_greatblue_flying: heron
animals/birds/lark: lark
animals/birds/owl: owl
animals/birds/penguin: penguin
animals/birds/quetzal: quetzal
animals/birds/rooster: rooster
animals/birds/seagull: seagull
animals/birds/tucan: toucan
animals/birds/turkey: turkey
animals/birds/vulture: vulture
animals/insects/bee: bee
animals/insects/grasshopper: grasshopper
animals/insects/hornet: hornet
animals/insects/mosquito: mosquito
animals/insects/xanthia: moth
animals/mammals/apes/chimp: chimpanzee
animals/mammals/apes/gorilla: gorilla
animals/mammals/aquatic/dolphin: dolphin
animals/mammals/aquatic/orca: orca
animals/mammals/aquatic/sea_lion: sea lion
animals/mammals/aquatic/whale: whale
animals/mammals/badger: badger
animals/mammals/bears/bear: bear
animals/mammals/bovines/bison: bison
animals/mammals/bovines/bull: cow
animals/mammals/bovines/cow: cow
animals/mammals/bovines/cow_white: cow
animals/mammals/bovines/goat: goat
animals/mammals/bovines/ram: sheep
animals/mammals/bovines/sheep: sheep
animals/mammals/bovines/sheep_lamb: sheep
animals/mammals/camel/camel: camel
animals/mammals/camel/dromedary: camel
animals/mammals/cats/lion: lion
animals/mammals/cats/tiger: tiger
animals/mammals/deer/caribou: caribou
animals/mammals/deer/deer: deer
animals/mammals/deer/doe: deer
animals/mammals/dogs/dog: dog
animals/mammals/dogs/fox: fox
animals/mammals/elephant: elephant
animals/mammals/equines/donkey: donkey
animals/mammals/equines/horse: horse
animals/mammals/equines/zebra: zebra
animals/mammals/ferret: ferret
animals/mammals/hippopotamus: hippopotamus
animals/mammals/pig: pig
animals/mammals/pig_golden: pig
animals/mammals/pig_golden2: pig
animals/mammals/rodents/mouse: mouse
animals/mammals/rodents/rabbit: rabbit
animals/mammals/rodents/squirrel: squirrel
animals/marsupials/koala: koala
food/fruit/apple_red: apple
hobbies/camera_35mm: camera
hobbies/music/percussion/cymbal_crash: cymbal
hobbies/music/percussion/drum_tomtom_floor: drum
hobbies/music/percussion/drumkit: drum
hobbies/music/string/cello: cello
hobbies/music/string/violin: violin
hobbies/music/wind/bassoon: bassoon
household/Washing-machine: washing machine
household/arttools/scissors_small_closed: scissors
household/arttools/scissors_small_open: scissors
household/dishes/bottle: bottle
household/dishes/glass: drinking glass
household/kettle: kettle
household/rubberduck: rubber duck
household/toilet: toilet
household/tools/hammer: hammer
household/tools/mallet_metal: hammer
household/tools/saw: saw
household/vacuum_cleaner: vacuum cleaner
military/final-roll-call: trumpet
naturalforces/lightningbolt: lightning
seasonal/halloween/bat_left: bat
seasonal/halloween/blackcat: cat
seasonal/newyears/fireworks: fireworks
vehicles/emergency/firetruck: fire truck
vehicles/ship/cartoon/bathyscape: submarine
"""


def _unpack(archives: Sequence[Path], folder: Path, scratch: Path) -> Iterator[LabelledItem]:
    (archive,) = archives
    label_of = dict(line.split(": ") for line in _SOURCES.strip().splitlines())

    def select(member: str) -> str | None:
        path = PurePosixPath(member.removeprefix("./"))
        if path.suffix != ".ogg" or not path.is_relative_to(_ROOT):
            return None
        inside = path.relative_to(_ROOT)
        return inside.as_posix() if inside.with_suffix("").as_posix() in label_of else None

    for sound in extract(archive, folder, select=select):
        stem = sound.relative_to(folder).with_suffix("").as_posix()
        label = label_of[stem]
        yield LabelledItem(
            sound,
            label=label,
            caption=f"the sound of {_with_article(label)}",
            group=stem.split("/")[0],
            extra={"folder": stem.rpartition("/")[0], "stamp": f"{stem}.png"},
        )


def _with_article(name: str) -> str:
    if name in {"scissors", "fireworks", "lightning"}:
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


STAMP_SOUNDS = NamedSet(
    name="stamps-sounds",
    what="sound effects of animals, tools, instruments and appliances, one short clip each",
    packages=STAMPS.packages,
    n_items=len(_SOURCES.strip().splitlines()),
    licence=STAMPS.licence,
    attribution=STAMPS.attribution,
    unpack=_unpack,
)
