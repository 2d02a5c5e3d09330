import json
import sys
from pathlib import Path

import pytest

from unibind.cli import main

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "knowledge"))
from chat_server import chat_server, completion  # noqa: E402  # the tests of knowledge own it


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def unibind(monkeypatch, capsys):
    """Run a command in this process; return (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unibind", "knowledge", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def built(unibind):
    """A small base called mine, and how it was built."""
    with chat_server() as site:
        options = ["--writer", "openai", "--base-url", site.address, "--model", "stub"]
        command = ["build", "mine", "--classes", "heron,kettle", "--per-class", "4"]
        code, out, err = unibind(*command, "--views", "looks,sound", *options, "--json")
        assert code == 0, err
        yield json.loads(out), options, site


def test_build_writes_a_base_tells_the_cost_before_and_asks_nothing_twice(
    unibind, built, elsewhere
):
    report, options, site = built
    assert (report["n_lines"], report["n_new"], report["n_missing"]) == (8, 8, 0)
    assert len((elsewhere / "knowledge_base/mine/descriptions.jsonl").read_text().splitlines()) == 8
    n_calls = len(site.bodies)
    code, out, err = unibind("build", "mine", *options, "--price-in", "2", "--price-out", "8")
    assert code == 0
    assert "0 calls for 0 lines" in err
    assert "8 lines, 0 new; 0 calls" in out
    assert len(site.bodies) == n_calls


def test_a_dry_run_needs_no_key_and_asks_nothing(unibind):
    code, out, _ = unibind(
        *("build", "mine", "--classes", "heron,kettle", "--per-class", "8", "--writer", "openai"),
        *("--model", "m", "--price-in", "1", "--price-out", "2", "--dry-run", "--json"),
    )
    told = json.loads(out)["dry_run"]
    assert code == 0
    assert (told["n_calls"], told["n_lines"]) == (10, 16)
    assert told["cost"] == pytest.approx(
        (told["n_prompt_tokens"] + 2 * told["n_answer_tokens"]) / 1e6
    )
    assert not Path("knowledge_base").exists()


def test_a_build_that_lacks_lines_lists_them_and_exits_with_1(unibind):
    with chat_server(answer=lambda body: completion("I'm sorry, I can't help with that.")) as site:
        code, out, _ = unibind(
            *("build", "mine", "--classes", "heron", "--per-class", "1", "--views", "looks"),
            *("--writer", "openai", "--base-url", site.address, "--model", "m"),
        )
        again = f"unibind knowledge build mine --writer openai --model m --base-url {site.address}"
    assert code == 1
    assert "missing 'heron' looks 0: refusal" in out
    assert "refused 4 x refusal" in out
    assert f"unfinished, 1 lines missing; to ask for them again: {again}" in out
    assert "cost" not in out


def test_an_unfinished_base_says_what_is_missing_and_how_to_go_on(unibind, built, elsewhere):
    _, options, _ = built
    code, out, err = unibind("show", "mine")
    assert (code, err) == (0, "")
    file = elsewhere / "knowledge_base/mine/descriptions.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    assert unibind("seal", "mine")[0] == 0
    _, _, err = unibind("show", "mine")
    assert "mine is unfinished, 1 lines missing ('heron' looks 1)" in err
    assert "unibind knowledge build mine --writer openai" in err
    _, out, _ = unibind("show", "mine", "--json")
    assert json.loads(out)["missing"] == [
        {"class_name": "heron", "prompt": "looks", "n_missing": 1}
    ]
    assert unibind("build", "mine", *options)[0] == 0
    assert "unfinished" not in unibind("lint", "mine", "--tower", "none")[2]


def test_a_build_that_was_stopped_is_told_of_by_who_looks_for_the_base(unibind, elsewhere):
    (elsewhere / "knowledge_base").mkdir()
    (elsewhere / "knowledge_base/.mine.lines.sqlite").touch()
    code, _, err = unibind("show", "mine")
    assert code == 1
    assert "is not finished" in err
    assert "run the same `unibind knowledge build` again" in err


def test_without_a_terminal_a_line_now_and_then_says_how_far_a_build_is(monkeypatch, capsys):
    from unibind.cli import knowledge_writing
    from unibind.knowledge.calls import Prices, Status

    monkeypatch.setattr(knowledge_writing, "_SECONDS_BETWEEN_LINES", 0.0)
    for prices, cost in ((Prices(), ""), (Prices(1.0, 2.0), ", cost 0.5000")):
        with knowledge_writing.showing_calls("mine", prices) as update:
            update(Status(3, 12, 100, 20, 0.5))
        told = capsys.readouterr().err
        assert told.startswith(f"mine: 3 of 12 calls, 120 tokens{cost}, about 0 s left")


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        (["build", "mine", "--classes", "a1,A1"], "are the same name"),
        (["build", "mine", "--classes", "frog", "--views", "smell"], "unknown view 'smell'"),
        (["build", "mine", "--classes", "frog", "--writer", "pigeon"], "no writer is called"),
        (["build", "mine", "--classes", "frog", "--per-class", "1"], "at least one line a view"),
        (["build", "mine", "--classes", "frog", "--language", "xx"], "'xx' is not known"),
        (["build", "mine"], "no knowledge base"),
        (["build", "a b", "--classes", "frog"], "cannot name a knowledge base"),
        (["show", "nowhere"], "no knowledge base 'nowhere'; there are"),
        (["show", "everyday", "unicorn"], "no class 'unicorn'"),
        (["import", "x", "nowhere.jsonl"], "there is no file nowhere.jsonl"),
        (["describe", "x", "nowhere.png"], "there is no file nowhere.png"),
        (["accept", "everyday", "--rows", "9999", "--reviewer", "A"], "no line 9999"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_1(unibind, arguments, telling):
    code, _, err = unibind(*arguments)
    assert code == 1
    assert telling in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["lint", "everyday", "--severity", "fatal"],
        ["accept", "everyday", "--rows", "x", "--reviewer", "A"],
        ["sign-off", "everyday"],
        ["build", "mine", "--per-class", "0"],
    ],
)
def test_options_that_cannot_be_are_exit_code_2(unibind, arguments):
    code, _, err = unibind(*arguments)
    assert code == 2
    assert "Error" in err


def test_show_prints_tables_classes_csv_and_json(unibind):
    code, out, _ = unibind("show", "everyday", "--json")
    assert code == 0
    shown = json.loads(out)
    assert len(shown["lines"]) == 4800
    assert len(shown["classes"]) == 300
    assert len(shown["attributes"]) == 481
    _, out, _ = unibind("show", "everyday", "frog", "--view", "sound")
    assert "croak" in out
    assert "event_s" in out
    _, out, _ = unibind("show", "everyday", "frog", "--csv")
    assert out.splitlines()[0] == "row,class_name,group,view,text,source,status,reviewer"
    assert len(out.splitlines()) == 17


def test_an_imported_file_is_linted_under_its_own_line_numbers(unibind):
    texts = [
        "A tall grey bird stands still in the shallow water.",
        "Sure! Here are some sentences:",
        "A tall grey bird stands still in the shallow water.",
        "The bird\u202e has a long yellow beak and thin legs.",
    ]
    rows = [{"class_name": "heron", "view": "looks", "text": text} for text in texts]
    Path("f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert unibind("import", "mine", "f.jsonl", "--generator", "somebody")[0] == 0
    code, _, err = unibind("import", "mine", "f.jsonl")
    assert code == 1
    assert "--replace" in err
    code, out, _ = unibind("lint", "mine", "--tower", "none", "--json")
    assert code == 0
    found = json.loads(out)["findings"]
    assert [(f["row"], f["kind"], f["severity"]) for f in found] == [
        (1, "duplicate", "warning"),
        (2, "chat-debris", "error"),
        (3, "duplicate", "error"),
        (4, "control-character", "error"),
    ]
    assert all(f["evidence"] and f["remedy"] for f in found)
    assert unibind("lint", "mine", "--tower", "none", "--strict")[0] == 1
    code, out, _ = unibind("lint", "mine", "--tower", "none", "--fix", "--json")
    assert json.loads(out)["quarantined"] == 3
    assert len(Path("knowledge_base/mine/quarantine.jsonl").read_text().splitlines()) == 3
    assert unibind("lint", "mine", "--tower", "none", "--strict")[0] == 0


def test_a_reviewer_accepts_edits_rejects_signs_off_and_sees_the_difference(unibind, built):
    _, options, _ = built
    import shutil

    shutil.copytree("knowledge_base/mine", "knowledge_base/before")
    assert unibind("accept", "mine", "--rows", "all", "--reviewer", "Ann")[0] == 0
    edited = "A tall bird with a grey back stands in the reeds."
    assert unibind("edit", "mine", "1", edited, "--reviewer", "Bo")[0] == 0
    code, out, _ = unibind("reject", "mine", "--rows", "8", "--reviewer", "Bo", "--json")
    assert json.loads(out)["quarantine"] == 1
    code, out, _ = unibind("sign-off", "mine", "--reviewer", "Ann")
    assert code == 0
    assert "7 of 7 lines reviewed, 1 in quarantine, signed off by Ann" in out
    code, _, err = unibind("build", "mine", *options)
    assert code == 1
    assert "signed off" in err
    code, out, _ = unibind("diff", "before", "mine", "--tower", "none", "--json")
    changes = json.loads(out)
    assert [line["text"] for line in changes["added"]] == [edited]
    assert len(changes["removed"]) == 2
    assert unibind("sign-off", "mine", "--withdraw")[0] == 0
    code, out, _ = unibind("build", "mine", *options, "--json")
    assert json.loads(out)["n_new"] == 1


def test_a_hand_edit_is_refused_until_it_is_sealed(unibind, built):
    file = Path("knowledge_base/mine/descriptions.jsonl")
    file.write_text(file.read_text().replace("heron", "stork"))
    code, _, err = unibind("show", "mine")
    assert code == 1
    assert "unibind knowledge seal" in err
    assert unibind("seal", "mine")[0] == 0
    assert unibind("show", "mine", "stork")[0] == 0


def test_contrast_asks_for_both_classes_of_a_pair(unibind, built):
    _, options, site = built
    n_calls = len(site.bodies)
    code, out, _ = unibind(
        "build", "mine", "--contrast", "2", "--pairs", "heron|kettle", *options, "--json"
    )
    assert code == 0
    assert json.loads(out)["n_new"] == 4
    assert len(site.bodies) == n_calls + 2


def test_measure_describe_and_export_from_the_command_line(unibind, built):
    from PIL import Image

    _, _, _ = built
    ranges = {"height_m": [0.1, 0.2], "length_m": None, "width_m": None, "fill": [0.2, 0.4]}
    with chat_server(answer=lambda body: completion(json.dumps(ranges))) as site:
        options = ["--base-url", site.address, "--model", "stub", "--json"]
        code, out, _ = unibind("measure", "mine", "--sensors", "scan", "--samples", "2", *options)
    assert code == 0
    assert json.loads(out)["n_written"] == 2
    Path("pics").mkdir()
    Image.new("RGB", (8, 8), (200, 0, 0)).save("pics/red.png")
    told = completion(json.dumps({"lines": ["A small plain square is filled with red."]}))
    with chat_server(answer=lambda body: told) as site:
        options = ["--base-url", site.address, "--model", "stub"]
        assert unibind("describe", "captions", "pics", *options)[0] == 0
    assert unibind("export", "captions", "train.jsonl")[0] == 0
    assert json.loads(Path("train.jsonl").read_text()) == {
        "path": "pics/red.png",
        "caption": "A small plain square is filled with red.",
        "label": "pics",
    }
