"""``unibind align``: heads from captions, names and knowledge bases, bad files and Ctrl-C."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import unibind as package
from unibind import artifact
from unibind.alignment.heads import FORMAT_VERSION, Head
from unibind.knowledge.base import KnowledgeBase, Line, save_base

FOLDERS = ("birds", "fruit", "roadsigns", "houses", "insects", "vegetables")


@pytest.fixture(scope="session")
def some_stamps(stamps):
    """Five stamps of each of six folders."""
    chosen = []
    for folder in FOLDERS:
        chosen += [item for item in stamps.items if item.label == folder][:5]
    return chosen


@pytest.fixture
def manifest(here, some_stamps) -> Path:
    """They as a manifest, with a caption that says what the folder is, and another column."""
    path = here / "set.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "caption", "split", "kind"])
        for n, item in enumerate(some_stamps):
            split = "test" if n % 5 == 4 else "train"
            rows.writerow([item.path, item.label, item.caption, split, item.label[:-1]])
    return path


@pytest.fixture
def folder(here, some_stamps) -> Path:
    """They as a folder of classes."""
    for item in some_stamps:
        path = here / "set" / item.label / item.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(item.path, path)
    return here / "set"


@pytest.fixture
def one_thread():
    """Threads of torch that wait for each other crawl where other processes want the cores."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def told(finished, code: int = 0):
    assert finished.code == code, finished.err
    return json.loads(finished.out)


def test_captions_train_a_head_that_is_used_from_then_on(unibind, manifest, some_stamps, here):
    result = told(unibind("align", "--data", manifest, "--json"))
    captions = {item.caption for item in some_stamps}
    assert (result["learned_from"], result["items"]) == ("captions", 30)
    assert result["names"] == len(captions)
    assert (result["failures"], result["left_out"]) == ([], {})
    assert result["head"] == "indexes/mini/heads/image"
    head = Head.open(here / result["head"])
    for name in ("temperature", "prior_weight", "seen_penalty"):
        assert result[name] == getattr(head, name)
    assert result["strength"] == head.params["strength"]
    assert result["space_id"] == head.space
    assert result["held_out"]["reciprocal_rank"] == head.metrics["held_out_reciprocal_rank"]
    with package.open("mini") as engine:
        assert engine.head("image") is not None
    # The features are known now, and the choices are seeded: the same head comes out.
    before = artifact.verify(here / result["head"], kind="head", format_version=FORMAT_VERSION)
    told(unibind("align", "--data", manifest, "--captions", "--json"))
    after = artifact.verify(here / result["head"], kind="head", format_version=FORMAT_VERSION)
    assert before.content_id == after.content_id


@pytest.mark.parametrize(
    ("options", "gallery", "chance"),
    [
        (["--class-names"], 2, (1 + 1 / 2) / 2),
        (["--captions"], 6, (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 6),
    ],
)
def test_chance_is_that_of_a_random_rank_among_the_names_held_out(
    unibind, manifest, options, gallery, chance
):
    held_out = told(unibind("align", "--data", manifest, *options, "--json"))["held_out"]
    assert held_out["gallery"] == [gallery, gallery]
    assert held_out["n"] == 30
    assert held_out["chance"] == pytest.approx(chance, abs=1e-4)
    assert held_out["reciprocal_rank"] > chance


def test_a_folder_of_classes_trains_a_linear_head_for_people(
    unibind, folder, here, one_thread, monkeypatch
):
    monkeypatch.setattr("unibind.cli.output._SECONDS_BETWEEN_LINES", 0)
    finished = unibind("align", "--data", "set", "--head", "linear", "--space", "mine")
    assert finished.code == 0, finished.err
    looked = r"^training linear, held out \d\.\d{3} \(best \d\.\d{3}\): \d{1,3}%$"
    assert len(re.findall(looked, finished.err, re.MULTILINE)) >= 2
    assert not (here / "indexes/mine/heads/image-checkpoint").exists()
    lines = {line[:9].strip(): line[10:] for line in finished.out.splitlines()}
    assert lines["learned"] == "set: 30 items, 6 different class names"
    # Which of the two it is, held-out classes say; that it stayed a ridge is told.
    assert re.match(
        r"(linear|ridge \(linear was no better on held-out classes\)), strength ", lines["head"]
    )
    assert lines["written"].startswith("indexes/mine/heads/image, in ")
    assert lines["next"].endswith("--space mine")
    pictures = sorted(folder.glob("*/*.png"))
    with package.open("mine") as engine:
        head = Head.open(here / "indexes/mine/heads/image")
        assert lines["head"].startswith(head.params["method"])
        best = [row[0].label for row in engine.classify("image", pictures, classes=FOLDERS)]
    assert sum(a == b.parent.name for a, b in zip(best, pictures, strict=True)) >= 28


def test_a_knowledge_base_teaches_its_classes_and_the_rest_is_left_out(unibind, manifest, here):
    texts = {"bird": "It has feathers and a beak.", "house": "People live in it, under its roof."}
    lines = [Line(name, "looks", text) for name, text in texts.items()]
    save_base(KnowledgeBase("two", tuple(texts), tuple(lines)), here / "knowledge_base" / "two")
    result = told(unibind("align", "--data", manifest, "--knowledge", "two", "--json"))
    assert (result["learned_from"], result["items"], result["names"]) == ("classes of two", 10, 2)
    assert result["left_out"] == {"label is no class of two": 20}
    assert result["unknown_labels"] == dict.fromkeys(
        ["fruit", "insects", "roadsigns", "vegetables"], 5
    )
    assert set(Head.open(here / result["head"]).seen) == {"bird", "house"}
    shown = unibind("align", "--data", manifest, "--knowledge", "two").out
    assert "left out  20 (label is no class of two)" in shown
    assert "no class  5 (" in shown


def test_another_column_can_be_the_label_and_one_split_can_train(unibind, manifest, here):
    options = ("--class-names", "--label-column", "kind", "--split", "train")
    result = told(unibind("align", "--data", manifest, *options, "--json"))
    assert (result["items"], result["names"]) == (24, 6)
    assert "bird" in Head.open(here / result["head"]).seen


def test_stored_items_of_an_earlier_head_are_told(unibind, manifest, some_stamps):
    with package.open("mini") as engine:
        engine.add("image", [some_stamps[0].path], keys=["one"])
    finished = unibind("align", "--data", manifest, "--json")
    assert finished.code == 0
    assert "1 stored items of image were embedded before this head" in finished.err


def test_a_few_bad_files_are_listed_and_the_head_is_made_of_the_rest(unibind, folder):
    (folder / "fruit" / "zero.png").write_bytes(b"")
    (folder / "fruit" / "gone.png").symlink_to("nowhere")
    (folder / "fruit" / "notes.txt").write_text("not an item")
    finished = unibind("align", "--data", "set", "--json")
    result = told(finished, code=1)
    assert result["items"] == 30
    assert [row["file"] for row in result["failures"]] == [
        "set/fruit/gone.png",
        "set/fruit/zero.png",
    ]
    assert "  set/fruit/gone.png: No such file or directory\n" in finished.err
    assert finished.err.endswith(
        "error: 2 of 32 cannot be used, listed above; the head was made of the other 30\n"
    )
    with package.open("mini") as engine:
        assert engine.head("image") is not None


def test_a_damaged_head_is_one_line_that_says_what_to_do(unibind, manifest, here, some_stamps):
    head = here / told(unibind("align", "--data", manifest, "--json"))["head"]
    file = head / "head.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    finished = unibind("classify", some_stamps[0].path, "--classes", "a,b")
    assert (finished.code, finished.out, finished.err.count("\n")) == (1, "", 1)
    assert "head.safetensors" in finished.err
    told(unibind("align", "--data", manifest, "--json"))
    assert unibind("classify", some_stamps[0].path, "--classes", "a,b").code == 0


def test_with_more_than_a_tenth_bad_no_head_is_made(unibind, folder, here):
    for n in range(4):
        (folder / "fruit" / f"zero{n}.png").write_bytes(b"")
    finished = unibind("align", "--data", "set")
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.endswith("; more than a tenth, so no head was made\n")
    assert not (here / "indexes").exists()


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        (["--data", "nope"], "no file or folder nope"),
        (["--data", "set.csv", "--knowledge", "nope"], "no knowledge base 'nope'"),
        (["--data", "set.csv", "--modality", "smell"], "'smell' has no head to train"),
        (["--data", "set.csv", "--modality", "text"], "'text' has no head to train"),
        (["--data", "set.csv", "--encoder", "nope"], "no encoder is called 'nope'"),
        (["--data", "set.csv", "--encoder", "minilm-l6"], "reads text, not image"),
        (["--data", "set.csv", "--split", "dev"], "it has test, train"),
        (["--data", "set.csv", "--label-column", "colour"], "caption, group, split, kind"),
        (["--data", "set.csv", "--class-names", "--label-column", "group"], "is empty"),
        (["--data", "flat", "--class-names"], "2 (no label); a head needs at least two names"),
        (["--data", "flat", "--captions"], "2 (no caption)"),
        (["--data", "one"], "of 1 names"),
    ],
)
def test_what_cannot_be_learned_is_one_clear_line(unibind, manifest, draw, here, options, telling):
    for n, name in enumerate(("flat/a.png", "flat/b.png", "one/class/a.png", "one/class/b.png")):
        draw(name, seed=n)
    finished = unibind("align", *options)
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith("error: ")
    assert finished.err.count("\n") == 1
    assert telling in finished.err
    assert not (here / "indexes").exists()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--data", "set", "--captions", "--class-names"],
        ["--data", "set", "--captions", "--knowledge", "everyday"],
        ["--data", "set", "--head", "forest"],
    ],
)
def test_wrong_use_is_exit_code_2(unibind, options):
    finished = unibind("align", *options)
    assert (finished.code, finished.out) == (2, "")
    assert finished.err


PHASES = {
    "reading the set": "datasets/catalogue.py:open_dataset",
    "opening the space": "engine.py:from_recipe",
    "encoding": "encoders/pipeline.py:_report",
    "making targets": "alignment/targets.py:from_captions",
    "training": "alignment/aligner.py:by_ridge",
    "writing the space": "alignment/space.py:save",
    "hashing what was written": "artifact.py:sha256_of",
    "writing the head": "alignment/heads.py:save",
    "putting it in place": "atomic.py:_swap_in",
}


def test_ctrl_c_in_any_phase_leaves_nothing_half_written(here, manifest, unibind):
    script = Path(__file__).with_name("interrupted.py")
    arguments = ["align", "--data", str(manifest), "--json"]
    finished = subprocess.run(
        [sys.executable, str(script), json.dumps(list(PHASES.values())), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    outcomes = json.loads(finished.stdout)
    assert [place for place, *_ in outcomes] == list(PHASES.values())
    for place, was_reached, code, files in outcomes:
        assert (place, was_reached, code) == (place, True, 130)
        assert not [file for file in files if "heads" in file or "/." in file], place
    assert finished.stderr.count("interrupted; what was finished is kept") == len(PHASES)
    assert "Traceback" not in finished.stderr
    result = told(unibind("align", "--data", manifest, "--json"))
    assert Head.open(here / result["head"]).params["n_items"] == 30


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_training_by_contrast_that_was_killed_makes_the_same_head_the_next_time(
    here, manifest, unibind, one_thread
):
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:13]))
    command = ["align", "--data", str(manifest), "--class-names", "--head", "linear", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "unibind", *command], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    kept = here / "indexes" / "mini" / "heads" / "image-checkpoint"
    manifests: set[bytes] = set()
    deadline = time.monotonic() + 120
    while len(manifests) < 2 and process.poll() is None and time.monotonic() < deadline:
        manifests |= {path.read_bytes() for path in kept.glob("held out linear/manifest.json")}
        time.sleep(0.01)
    process.kill()
    process.wait(timeout=60)
    assert manifests, "it was over before it was stopped"
    assert not (kept.parent / "image").exists()
    resumed = told(unibind(*command))
    assert not kept.exists()
    shutil.rmtree(here / "indexes")
    straight = told(unibind(*command))
    assert {**resumed, "seconds": 0} == {**straight, "seconds": 0}


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a child there")
def test_a_process_that_is_interrupted_says_so_and_ends_as_shells_expect(here, manifest):
    process = subprocess.Popen(
        [sys.executable, "-m", "unibind", "align", "--data", str(manifest), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if not maps.exists() or "onnxruntime" in maps.read_text():
            break  # its towers are being opened
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "interrupted; what was finished is kept, nothing is half written\n"
    assert not (here / "indexes").exists()
