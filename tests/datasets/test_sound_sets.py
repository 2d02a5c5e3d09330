"""The public sets of sounds, fetched for real, and the Qt resource files that one hides in."""

import struct
import zlib
from collections import Counter

import pytest

from unibind.datasets import SETS, fetch
from unibind.datasets.qt_resources import resources
from unibind.errors import FetchError
from unibind.knowledge.base import open_base
from unibind.modalities.audio import read


@pytest.fixture(scope="module")
def stamp_sounds():
    return fetch("stamps-sounds")


@pytest.fixture(scope="module")
def learning_sounds():
    return fetch("learning-sounds")


def test_every_sound_of_both_sets_can_be_read_and_is_not_silent(stamp_sounds, learning_sounds):
    for item in (*stamp_sounds.items, *learning_sounds.items):
        sound = read(item.path.read_bytes())
        assert sound.samples.std() > 1e-4, item.key
        assert sound.duration_s < 60, item.key


def test_stamp_sounds_are_named_as_in_the_knowledge_base(stamp_sounds):
    assert len(stamp_sounds) == SETS["stamps-sounds"].n_items == 88
    labels = {item.label for item in stamp_sounds.items}
    assert len(labels) == 76
    assert len(labels & set(open_base("everyday").classes)) == 70
    frog = next(item for item in stamp_sounds.items if item.label == "frog")
    assert (frog.key, frog.group) == ("animals/amphibians/frog.ogg", "animals")
    assert frog.caption == "the sound of a frog"
    assert frog.extra == {"folder": "animals/amphibians", "stamp": "animals/amphibians/frog.png"}


def test_no_stamp_sound_stands_under_two_names(stamp_sounds):
    contents = Counter(
        read(item.path.read_bytes()).samples.tobytes() for item in stamp_sounds.items
    )
    assert max(contents.values()) == 1


def test_captions_have_an_article_where_one_belongs(stamp_sounds):
    captions = {item.caption for item in stamp_sounds.items}
    assert {"the sound of an owl", "the sound of scissors", "the sound of a hornet"} <= captions


def test_learning_sounds_come_from_three_sources(learning_sounds, stamp_sounds):
    assert len(learning_sounds) == SETS["learning-sounds"].n_items == 96
    counts = Counter(item.group for item in learning_sounds.items)
    assert counts == {"scratch": 41, "gcompris": 45, "assistant": 10}
    shared = {item.label for item in stamp_sounds.items}
    assert sum(item.label in shared for item in learning_sounds.items) == 50


def qt_resources(files, *, version=3):
    """Return a Qt resource file with a folder "a" that holds files."""
    names, contents, nodes = b"", b"", []

    def name_at(name):
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        return at

    later = b"" if version == 1 else bytes(8)
    nodes.append(struct.pack(">IHII", 0, 2, 1, 1) + later)
    nodes.append(struct.pack(">IHII", name_at("a"), 2, len(files), 2) + later)
    for name, (content, flags) in files.items():
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if flags & 1 else content
        nodes.append(struct.pack(">IHII", name_at(name), flags, 0, len(contents)) + later)
        contents += struct.pack(">I", len(stored)) + stored
    header = 24 if version == 3 else 20
    tree = b"".join(nodes)
    start = struct.pack(
        ">4s4I", b"qres", version, header, header + len(tree), header + len(tree) + len(contents)
    )
    return start.ljust(header, b"\0") + tree + contents + names


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_files_of_a_qt_resource_file_come_out(version):
    files = {"b.ogg": (b"sound", 0), "c.txt": (b"text " * 99, 1), "z": (b"packed", 4)}
    found = dict(resources(qt_resources(files, version=version)))
    assert found == {"/a/b.ogg": b"sound", "/a/c.txt": b"text " * 99}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no Qt resource file"),
        (b"RIFF1234", "starts with b'RIFF'"),
        (b"qres" + bytes(3), "damaged"),
        (qt_resources({"b": (b"x", 1)})[:-40], "damaged"),
        (qt_resources({"b": (b"x" * 99, 1)}).replace(b"\x78\x9c", b"\0\0"), "damaged"),
    ],
)
def test_a_damaged_qt_resource_file_is_refused(content, words):
    with pytest.raises(FetchError, match=words):
        dict(resources(content))


def test_a_folder_that_holds_itself_is_refused():
    content = bytearray(qt_resources({"b": (b"x", 0)}))
    at = 24 + 22 + 6  # the second node: its number of children and the first of them
    content[at : at + 8] = struct.pack(">II", 1, 1)
    with pytest.raises(FetchError, match="ring"):
        dict(resources(bytes(content)))


def test_prompts_are_speech_with_its_words():
    prompts = fetch("prompts-en")
    assert len(prompts) == SETS["prompts-en"].n_items == 551
    said = {item.key: item.caption for item in prompts.items}
    assert said["agent-loginok.wav"] == "Agent logged in."
    assert said["letters/a.wav"] == "a"
    assert "beep.wav" not in said  # "[this is a simple beep tone]"
    assert not [words for words in said.values() if not words or words[0] in "[(<"]
    first = prompts.items[0]
    sound = read(first.path.read_bytes())
    assert (sound.rate_hz, first.label, first.caption) == (8000, None, "Activated.")
