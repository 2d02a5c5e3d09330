"""``unibind embed``: the same vectors as the engine's, in every format, whole or not at all."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import unibind as package


@pytest.fixture
def bird(here, named_stamps) -> str:
    shutil.copy(named_stamps["bird"], here / "bird.png")
    return "bird.png"


@pytest.fixture
def expected(bird):
    with package.open("mini") as engine:
        vectors = [*engine.embed("image", [bird]), *engine.embed("text", ["a bird", "Öl"])]
        return engine.space.id, np.stack(vectors)


ARGUMENTS = ("embed", "bird.png", "--text", "a bird", "--text", "Öl")


def _npz(path):
    with np.load(path, allow_pickle=False) as file:
        return file["keys"].tolist(), file["modalities"].tolist(), file["embeddings"], file["space"]


def _parquet(path):
    table = pq.read_table(path)
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[384]"
    vectors = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    space = table.schema.metadata[b"unibind.space"].decode()
    return table["key"].to_pylist(), table["modality"].to_pylist(), vectors, space


def _jsonl(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
    (space,) = {row["space"] for row in rows}
    return [row["key"] for row in rows], [row["modality"] for row in rows], vectors, space


READERS = {"out.npz": _npz, "out.parquet": _parquet, "deep/out.JSONL": _jsonl}


@pytest.mark.parametrize("name", READERS)
def test_a_file_holds_keys_the_very_vectors_and_the_space(unibind, here, expected, name):
    space, vectors = expected
    finished = unibind(*ARGUMENTS, "-o", name)
    assert (finished.code, finished.err) == (0, "")
    assert finished.out == f"{name}: 3 vectors of 384 numbers, space mini ({space[:12]})\n"
    keys, modalities, found, found_space = READERS[name](here / name)
    assert (keys, modalities) == (["bird.png", "a bird", "Öl"], ["image", "text", "text"])
    assert found.dtype == np.float32
    assert np.array_equal(found, vectors)
    assert str(found_space) == space
    assert not list((here / name).parent.glob(".*"))


def test_without_a_file_it_is_json_on_stdout(unibind, expected):
    space, vectors = expected
    finished = unibind(*ARGUMENTS)
    assert (finished.code, finished.err) == (0, "")
    result = json.loads(finished.out)
    assert (result["space"], result["space_id"], result["dim"], result["n"]) == (
        "mini", space, 384, 3,
    )  # fmt: skip
    found = np.array([row["embedding"] for row in result["results"]], dtype=np.float32)
    assert np.array_equal(found, vectors)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1)
    assert found[0] @ found[1] > found[0] @ found[2]
    assert unibind(*ARGUMENTS, "--json").out == finished.out


def test_the_bad_are_listed_and_the_rest_is_written(unibind, here, bird):
    (here / "zero.png").write_bytes(b"")
    finished = unibind("embed", "zero.png", bird, "gone.png", "-o", "out.npz", "--json")
    assert finished.code == 1
    result = json.loads(finished.out)
    assert (result["path"], result["n"]) == ("out.npz", 1)
    assert [row["file"] for row in result["failures"]] == ["zero.png", "gone.png"]
    assert result["failures"][1]["error"] == "No such file or directory"
    assert "error: 2 of 3 cannot be used, listed above" in finished.err
    assert _npz(here / "out.npz")[0] == ["bird.png"]


def test_if_nothing_works_what_was_there_stays(unibind, here):
    (here / "out.npz").write_bytes(b"earlier")
    finished = unibind("embed", "gone.png", "-o", "out.npz")
    assert finished.code == 1
    assert finished.err == "error: gone.png: No such file or directory\n"
    assert (here / "out.npz").read_bytes() == b"earlier"


def test_a_place_that_cannot_be_written_is_one_line(unibind, here, bird):
    (here / "out.npz").mkdir()
    finished = unibind("embed", bird, "-o", "out.npz")
    assert (finished.code, finished.out) == (1, "")
    assert finished.err.startswith("error: cannot write out.npz")
    assert sorted(path.name for path in here.iterdir()) == ["bird.png", "out.npz"]


def test_an_empty_text_is_told(unibind):
    finished = unibind("embed", "--text", " ")
    assert finished.code == 1
    assert "the text is empty or only spaces" in finished.err


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        ((), "give files, or texts"),
        (("a.png", "-o", "out.txt"), ".npz, .parquet, .jsonl"),
        (("a.png", "-o", "out"), ".npz, .parquet, .jsonl"),
    ],
)
def test_wrong_use_is_exit_code_2(unibind, arguments, telling):
    finished = unibind("embed", *arguments)
    assert (finished.code, finished.out) == (2, "")
    assert telling in finished.err


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_full_disk_is_one_line_and_leaves_nothing(here):
    texts = [part for n in range(40) for part in ("--text", f"text {n}")]
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({2**15}, {2**15}))"
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{limited}; from unibind.cli import main; main()",
            *("embed", *texts, "-o", "out.npz"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.splitlines()[-1].startswith("error: cannot write out.npz")
    assert "Traceback" not in finished.stderr
    assert not list(here.iterdir())
