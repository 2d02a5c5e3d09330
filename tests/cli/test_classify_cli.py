"""``unibind classify``, on real pictures and on everything that a folder can hold."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

import unibind as package
from unibind.cli.classify import read_class_names
from unibind.knowledge.base import KnowledgeBase, Line, save_base

CLASSES = "a bird,a fruit,a car"


@pytest.fixture
def pictures(here, named_stamps):
    for name, path in named_stamps.items():
        shutil.copy(path, here / f"{name}.png")
    return [f"{name}.png" for name in named_stamps]


@pytest.fixture
def stdin(monkeypatch):
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def test_pictures_are_classified_right_after_the_weights_came_and_nothing_is_written(
    unibind, here, pictures
):
    finished = unibind("classify", *pictures, "--classes", CLASSES, "--json")
    assert (finished.code, finished.err) == (0, "")
    result = json.loads(finished.out)
    assert [row["file"] for row in result["results"]] == pictures
    best = [row["predictions"][0]["label"] for row in result["results"]]
    assert best == ["a bird", "a fruit", "a car"]
    for row in result["results"]:
        shares = [each["probability"] for each in row["predictions"]]
        assert sum(shares) == pytest.approx(1)
        assert shares == sorted(shares, reverse=True)
    assert result["failures"] == []
    assert sorted(path.name for path in here.iterdir()) == sorted(pictures)


def test_it_says_what_the_engine_says(unibind, pictures):
    result = json.loads(unibind("classify", *pictures, "--classes", CLASSES, "--json").out)
    with package.open("mini") as engine:
        expected = engine.classify("image", pictures, classes=CLASSES.split(","))
    for row, predictions in zip(result["results"], expected, strict=True):
        told = [(each["label"], each["probability"]) for each in row["predictions"]]
        assert told == [(each.label, pytest.approx(each.probability)) for each in predictions]


def test_people_see_each_file_and_its_classes_with_their_shares(unibind, pictures):
    shown = unibind("classify", *pictures, "--classes", CLASSES, "--top", 2).out
    lines = [line.split() for line in shown.splitlines()]
    assert [line[0] for line in lines[::3]] == pictures
    assert [line[-1] for line in lines[1::3]] == ["bird", "fruit", "car"]
    assert all(line[0].endswith("%") for n, line in enumerate(lines) if n % 3)
    assert len(lines) == 9


def test_a_knowledge_base_stands_for_its_classes(unibind, pictures, here):
    lines = {
        "bird": ["It has feathers, a beak and two wings.", "An owl, a gull or a hen."],
        "fruit": ["It is sweet, juicy and grows on plants.", "A berry, an apple or a pear."],
    }
    rows = [Line(name, "looks", text) for name, texts in lines.items() for text in texts]
    save_base(KnowledgeBase("small", tuple(lines), tuple(rows)), here / "knowledge_base" / "small")
    finished = unibind("classify", *pictures[:2], "--knowledge", "small", "--json")
    best = [row["predictions"][0]["label"] for row in json.loads(finished.out)["results"]]
    assert best == ["bird", "fruit"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("a cat,a dog", ["a cat", "a dog"]),
        (' a cat , "salt, coarse"', ["a cat", "salt, coarse"]),
        ('a 5" pipe,猫', ['a 5" pipe', "猫"]),
        ("a cat\na dog", ["a cat", "a dog"]),
        ("a,,b,", ["a", "", "b", ""]),
        ("", []),
    ],
)
def test_class_names_are_read_as_csv(given, names):
    assert read_class_names(given) == names


def test_class_names_come_from_a_file_and_from_several_options(unibind, here, draw):
    draw("a.png")
    (here / "names.txt").write_bytes("\ufeffa cat, grey\r\n\n ein Öltanker \n".encode())
    options = ["--classes", "@names.txt", "--classes", "a dog"]
    (row,) = json.loads(unibind("classify", "a.png", *options, "--json").out)["results"]
    labels = {each["label"] for each in row["predictions"]}
    assert labels == {"a cat, grey", "ein Öltanker", "a dog"}


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        ([], "--knowledge NAME"),
        (["--classes", ""], "is empty"),
        (["--classes", "   "], "has no name"),
        (["--classes", "a,,b"], "class 2 of 3 has no name"),
        (["--classes", "a,a"], "twice"),
        (["--classes", "a", "--classes", "a"], "twice"),
        (["--classes", '"a'], "comma-separated"),
        (["--classes", "@/dev/null"], "is empty"),
        (["--classes", "a", "--top", "0"], "--top"),
    ],
)
def test_wrong_use_of_classes_is_told_before_anything_is_done(unibind, options, telling):
    finished = unibind("classify", "a.png", *options)
    assert (finished.code, finished.out) == (2, "")
    assert telling in " ".join(finished.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        (["--classes", "a", "--space", "nope"], "no space at nope"),
        (["--classes", "a", "--modality", "smell"], "no modality 'smell'; it has audio, "),
        (["--knowledge", "nope"], "no knowledge base 'nope'; there are"),
        (["--classes", "@nope.txt"], "cannot read classes from nope.txt"),
    ],
)
def test_what_is_not_there_is_one_clear_line(unibind, draw, options, telling):
    draw("a.png")
    finished = unibind("classify", "a.png", *options)
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith("error: ")
    assert finished.err.count("\n") == 1
    assert telling in finished.err


def test_without_weights_it_names_the_command_that_brings_them(unibind, draw, monkeypatch, here):
    draw("a.png")
    monkeypatch.setenv("UNIBIND_CACHE", str(here / "empty"))
    monkeypatch.delenv("UNIBIND_MODEL_DIR", raising=False)
    finished = unibind("classify", "a.png", "--classes", "a,b")
    assert (finished.code, finished.out, finished.err.count("\n")) == (1, "", 1)
    assert "run `unibind models fetch minilm-l6`, or without a name for all" in finished.err


def _bomb() -> bytes:
    """A whole PNG file of 30,000 x 30,000 pixels, all black, of a few hundred kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(3751) * 30_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_of_a_thousand_files_the_seven_bad_ones_are_listed_and_the_rest_is_done(
    unibind, draw, here
):
    good = {f"folder/{n // 100}/{n}.png" for n in range(993)}
    for name in good:
        draw(name, seed=int(name.rpartition("/")[2][:-4]) % 10)
    whole = draw("whole.png", side=64).read_bytes()
    bad = {
        "folder/zero.png": b"",
        "folder/text.png": b"not a picture",
        "folder/3/cut.png": whole[: len(whole) // 2],
        "folder/noise.jpg": np.random.default_rng(0).bytes(5_000),
        "folder/bomb.png": _bomb(),
    }
    for name, content in bad.items():
        (here / name).write_bytes(content)
    (here / "folder/gone.png").symlink_to("nowhere")
    (here / "folder/loop.png").symlink_to("loop.png")
    (here / "folder/Thumbs.db").write_bytes(b"x")
    (here / "folder/.hidden.png").write_bytes(b"x")
    bad_names = sorted([*bad, "folder/gone.png", "folder/loop.png"])

    finished = unibind("classify", "folder", "--classes", "a,b", "--top", 1, "--json")
    assert finished.code == 1
    result = json.loads(finished.out)
    assert [row["file"] for row in result["results"]] == sorted(good)
    assert [row["file"] for row in result["failures"]] == bad_names
    assert result["left_out"] == {"suffix .db": 1, "hidden": 1}
    told = finished.err.splitlines()
    assert told[0] == "left out of folders: 1 (suffix .db)"
    assert [line.strip().partition(": ")[0] for line in told[1:-1]] == bad_names
    assert told[-1] == "error: 7 of 1,000 cannot be used, listed above"
    assert "  folder/gone.png: No such file or directory" in told


def test_a_single_bad_file_is_one_line(unibind, here):
    (here / "a.png").write_bytes(b"")
    finished = unibind("classify", "a.png", "--classes", "a,b")
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith("error: a.png: the picture file is empty")
    assert finished.err.count("\n") == 1


NAMES = ["-x.png", "a b.png", "two\nlines.png", "Überraschung 猫.png"]


def test_any_file_name_is_told_on_one_line_and_kept_in_json(unibind, draw):
    for name in NAMES:
        draw(name)
    told = unibind("classify", "--classes", "a,b", "--json", "--", *NAMES)
    assert [row["file"] for row in json.loads(told.out)["results"]] == NAMES
    shown = unibind("classify", "--classes", "a,b", "--", *NAMES).out.splitlines()
    assert shown[::3] == [name.replace("\n", "\\n") for name in NAMES]


@pytest.mark.skipif(sys.platform != "linux", reason="file names must be Unicode there")
def test_a_name_that_is_no_unicode_is_told_by_its_bytes(unibind, draw):
    draw(os.fsdecode(b"caf\xe9.png"))
    finished = unibind("classify", ".", "--classes", "a,b", "--json")
    assert finished.code == 0
    assert json.loads(finished.out)["results"][0]["file"] == "caf\\xe9.png"


def test_a_folder_without_files_says_so(unibind, here):
    (here / "empty").mkdir()
    (here / "others").mkdir()
    (here / "others" / "a.strange").write_bytes(b"x")
    finished = unibind("classify", "empty", "others", "--classes", "a,b", "--json")
    assert finished.code == 1
    empty, others = json.loads(finished.out)["failures"]
    assert "it is empty" in empty["error"]
    assert "suffix .strange: 1" in others["error"]


def test_what_could_keep_it_waiting_is_refused(unibind, here):
    os.mkfifo(here / "pipe")
    finished = unibind("classify", "pipe", "/dev/null", "", "--classes", "a,b")
    assert finished.code == 1
    assert "  pipe: no plain file" in finished.err
    assert "  '': the name of a file is empty" in finished.err


def test_standard_input_is_judged_by_its_content(unibind, stdin, named_stamps):
    stdin(named_stamps["bird"].read_bytes())
    picture = json.loads(unibind("classify", "-", "--classes", CLASSES, "--json").out)
    stdin(b"An owl sat in the tree.")
    text = json.loads(unibind("classify", "-", "--classes", CLASSES, "--json").out)
    for result, modality in ((picture, "image"), (text, "text")):
        (row,) = result["results"]
        assert (row["file"], row["modality"]) == ("-", modality)
        assert row["predictions"][0]["label"] == "a bird"
    stdin(b"")
    finished = unibind("classify", "-", "--classes", CLASSES)
    assert (finished.code, finished.err) == (1, "error: -: nothing came in on standard input\n")


def test_texts_and_pictures_may_be_mixed_and_keep_their_order(unibind, pictures, here):
    (here / "note.txt").write_text("My new car needs petrol.")
    files = [pictures[0], "note.txt", pictures[1]]
    result = json.loads(unibind("classify", *files, "--classes", CLASSES, "--json").out)
    told = [
        (row["file"], row["modality"], row["predictions"][0]["label"]) for row in result["results"]
    ]
    assert told == [
        ("bird.png", "image", "a bird"),
        ("note.txt", "text", "a car"),
        ("fruit.png", "image", "a fruit"),
    ]
    only = json.loads(
        unibind("classify", ".", "--modality", "image", "--classes", CLASSES, "--json").out
    )
    assert {row["modality"] for row in only["results"]} == {"image"}
    assert only["left_out"] == {"suffix .txt": 1}


def test_a_picture_under_a_strange_name_can_be_called_one(unibind, here):
    Image.new("RGB", (9, 9)).save(here / "scan.strange", format="png")
    said = unibind("classify", "scan.strange", "--modality", "image", "--classes", "a,b", "--json")
    guessed = unibind("classify", "scan.strange", "--classes", "a,b", "--json")
    assert json.loads(said.out)["results"] == json.loads(guessed.out)["results"]


def test_a_terminal_of_ascii_gets_whole_json_and_no_traceback(child, draw):
    draw("猫.png")
    arguments = ("classify", "猫.png", "--classes", "猫,犬")
    told = child(*arguments, "--json", PYTHONIOENCODING="ascii")
    assert told.returncode == 0, told.stderr
    (result,) = json.loads(told.stdout)["results"]
    assert result["file"] == "猫.png"
    shown = child(*arguments, PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_goes_away_is_no_traceback(draw, options):
    draw("a.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "unibind", "classify", "a.png", "--classes", "a,b", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, told = process.communicate()
    assert (process.returncode, told) == (1, b"")
