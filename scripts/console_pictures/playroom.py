"""A working folder with a served space that is full of self-made things."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from things import PICTURES, SCANS, SOUNDS, TRACES, picture, scan, sound, trace

import unibind
from unibind.knowledge.base import KnowledgeBase, open_base, save_base

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "service"))

from serving import Served, serving

KNOWN = (*PICTURES, *SOUNDS, *SCANS, *TRACES)
ENDINGS = {"image": ".png", "audio": ".wav", "pointcloud": ".ply", "timeseries": ".csv"}
_TEXTS = (
    "water is boiling for tea",
    "rain is coming, take something to stay dry",
    "out on the sea with the wind behind us",
    "something to sit on at the table",
    "a place to keep all those novels",
    "music by the fire",
)


@dataclass(frozen=True)
class Thing:
    """One self-made file.

    Attributes:
        modality: What it is.
        label: Its class.
        name: Of the file.
        content: Its bytes.
    """

    modality: str
    label: str
    name: str
    content: bytes


def things(n_each: int, seed: int) -> list[Thing]:
    """Return so many of each kind."""
    random = np.random.default_rng(seed)
    made = []
    for n in range(n_each):
        for label, (draw, colours) in PICTURES.items():
            turn = float(random.uniform(-8, 8)) if n else 0.0
            made.append(("image", label, picture(draw, colours[n % len(colours)], turn=turn)))
        made += [("audio", label, sound(make, random)) for label, make in SOUNDS.items()]
        made += [("pointcloud", label, scan(make, random)) for label, make in SCANS.items()]
        made += [("timeseries", label, trace(kind, random)) for label, kind in TRACES.items()]
    counts: dict[str, int] = {}
    return [
        Thing(modality, label, f"{label} {_number(counts, label)}{ENDINGS[modality]}", content)
        for modality, label, content in made
    ]


def _number(counts: dict[str, int], label: str) -> int:
    counts[label] = counts.get(label, 0) + 1
    return counts[label]


def trained(folder: Path, *, n_each: int = 6) -> None:
    """Train a head of each sense that needs one, as a person would, and teach it what is here."""
    for modality, ending in ENDINGS.items():
        if modality == "image":
            continue  # its tower can already name things
        data = folder / "labelled" / modality
        for n, each in enumerate(things(n_each, seed=1)):
            if each.modality == modality:
                place = data / each.label / f"{n}{ending}"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(each.content)
        subprocess.run(
            [sys.executable, "-m", "unibind", "align", "--modality", modality, "--knowledge",
             "everyday", "--data", str(data), "--space", "mini", "--json"],
            cwd=folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    with unibind.open(folder / "indexes" / "mini") as engine:
        for modality in ENDINGS:
            own = [each for each in things(n_each, seed=1) if each.modality == modality]
            labels = [each.label for each in own]
            engine.teach(modality, [each.content for each in own], labels)


def known(folder: Path) -> None:
    """Save a knowledge base of what there is here, which may be edited."""
    whole = open_base("everyday")
    small = KnowledgeBase(
        "playroom",
        tuple(name for name in whole.classes if name in KNOWN),
        tuple(line for line in whole.lines if line.class_name in KNOWN),
        sources=whole.sources,
        attributes=tuple(each for each in whole.attributes if each.class_name in KNOWN),
    )
    save_base(small, folder / "knowledge_base" / "playroom")


@contextlib.contextmanager
def playroom(folder: Path, **settings: object) -> Iterator[Served]:
    """Serve a space in which a few of everything are stored."""
    if not (folder / "indexes" / "mini" / "heads").exists():
        folder.mkdir(parents=True, exist_ok=True)
        trained(folder)
    shutil.rmtree(folder / "knowledge_base", ignore_errors=True)
    known(folder)
    with serving(folder, warm_up="true", decoders=2, **settings) as served:
        with unibind.Client(served.url) as client:
            for each in things(3, seed=2):
                client.add(
                    each.modality, [each.content], keys=[each.name],
                    metadata=[{"caption": each.name.rpartition(".")[0], "label": each.label}],
                )  # fmt: skip
            keys = [f"note {n + 1}" for n in range(len(_TEXTS))]
            notes = [{"caption": text} for text in _TEXTS]
            client.add("text", list(_TEXTS), keys=keys, metadata=notes)
        yield served
