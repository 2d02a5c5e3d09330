import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from unibind.errors import ArtifactError, InvalidInputError
from unibind.knowledge.base import (
    find_base,
    open_base,
    own_folder,
    save_base,
    seal_base,
    target_folder,
)
from unibind.knowledge.importing import import_base, read_descriptions
from unibind.knowledge.rows import json_line
from unibind.knowledge.values import AttributeRanges, KnowledgeBase, Line, Source

SOURCE = Source(writer="import", generator="a model", note="by hand")


def small_base() -> KnowledgeBase:
    lines = (
        Line("frog", "looks", "Green and wet.", source="s", group="animals"),
        Line("frog", "sound", 'It says "quak".\n', source="s", group="animals", index=3, seed=9),
        Line("tram", "looks", "Runs on rails \u202e.", source="s", status="accepted", reviewer="A"),
    )
    ranges = AttributeRanges(
        "frog", "scan", {"height_m": (0.03, 0.09)}, "s", 2, {"height_m": ((0.03, 0.09),)}
    )
    return KnowledgeBase(
        "small",
        ("frog", "tram", 'an empty, quoted "one"'),
        lines,
        {"frog": "animals"},
        {"s": SOURCE},
        (ranges,),
        (Line("tram", "looks", "Sure!", source="s", reason="chat-debris: Sure"),),
        {"prompts": {"looks": 2}},
    )


def test_a_base_comes_back_as_it_was_saved(tmp_path):
    saved = save_base(small_base(), tmp_path / "small")
    assert open_base(tmp_path / "small") == saved
    assert replace(saved, content_id="") == small_base()


def test_equal_bases_have_equal_content_ids_and_different_ones_do_not(tmp_path):
    first = save_base(small_base(), tmp_path / "a")
    second = save_base(small_base(), tmp_path / "b")
    changed = replace(small_base(), lines=small_base().lines[1:])
    assert first.content_id == second.content_id
    assert save_base(changed, tmp_path / "c").content_id != first.content_id


@pytest.mark.parametrize("name", ["descriptions.jsonl", "classes.csv", "sources.json"])
def test_one_flipped_byte_is_refused_and_the_message_names_seal(tmp_path, name):
    save_base(small_base(), tmp_path / "small")
    file = tmp_path / "small" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="knowledge seal"):
        open_base(tmp_path / "small")


def test_an_unknown_version_and_a_missing_file_are_refused(tmp_path):
    save_base(small_base(), tmp_path / "small")
    manifest = tmp_path / "small" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 9'))
    with pytest.raises(ArtifactError, match="format version 9"):
        open_base(tmp_path / "small")
    save_base(small_base(), tmp_path / "small")
    (tmp_path / "small" / "descriptions.jsonl").unlink()
    with pytest.raises(ArtifactError, match="lacks its file"):
        open_base(tmp_path / "small")


def test_a_hand_edit_is_taken_once_it_is_sealed(tmp_path):
    save_base(small_base(), tmp_path / "small")
    file = tmp_path / "small" / "descriptions.jsonl"
    with file.open("a", encoding="utf-8") as out:
        out.write('{"class_name": "newt", "view": "looks", "text": "Long tail, short legs."}\n')
    sealed = seal_base(tmp_path / "small")
    assert sealed.classes[-1] == "newt"
    assert open_base(tmp_path / "small").texts("newt") == ["Long tail, short legs."]
    assert sealed.lines[-1].source == "hand"


@pytest.mark.parametrize(
    ("row", "telling"),
    [
        ("{", "line 4"),
        ("[1]", "a JSON object was needed"),
        ('{"class_name": "frog", "view": "looks"}', "no 'text'"),
        ('{"class_name": "frog", "view": "looks", "text": 3}', "'text' is 3"),
        ('{"class_name": "frog", "view": "looks", "text": "x", "mood": "good"}', "'mood'"),
        (
            '{"class_name": "frog", "view": "looks", "text": "x", "status": "fine"}',
            "status is 'fine'",
        ),
        ('{"class_name": "frog", "view": "looks", "text": "x", "source": "who"}', "'who'"),
    ],
)
def test_a_broken_hand_edit_is_refused_with_its_place(tmp_path, row, telling):
    save_base(small_base(), tmp_path / "small")
    with (tmp_path / "small" / "descriptions.jsonl").open("a", encoding="utf-8") as out:
        out.write(row + "\n")
    with pytest.raises((ArtifactError, InvalidInputError), match=re.escape(telling)):
        seal_base(tmp_path / "small")


def test_nothing_invisible_stands_in_a_stored_line():
    text = "a\u202eb\u200bc\u2028d\x07e\ud800f ß 日本 🙂"
    written = json_line({"text": text})
    assert written == '{"text": "a\\u202eb\\u200bc\\u2028d\\u0007e\\ud800f ß 日本 🙂"}'
    assert json.loads(written)["text"] == text


def test_a_line_of_an_unknown_class_or_source_is_not_saved(tmp_path):
    base = small_base()
    with pytest.raises(InvalidInputError, match="'heron', which is not among"):
        save_base(replace(base, lines=(Line("heron", "looks", "x", "s"),)), tmp_path / "x")
    with pytest.raises(InvalidInputError, match="source 'z'"):
        save_base(replace(base, lines=(Line("frog", "looks", "x", "z"),)), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_texts_tells_an_unknown_class_from_an_unknown_view():
    base = small_base()
    assert base.texts("frog", views=["looks"]) == ["Green and wet."]
    with pytest.raises(InvalidInputError, match="no class 'heron'"):
        base.texts("heron")
    with pytest.raises(InvalidInputError, match="no view smell"):
        base.texts("frog", views=["smell"])


def test_a_missing_base_tells_which_there_are():
    with pytest.raises(ArtifactError, match=r"there are: .*everyday"):
        find_base("nowhere")


def test_changes_of_a_base_that_the_package_brought_go_into_a_copy_of_ones_own(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    brought = find_base("everyday")
    own = own_folder("everyday")
    assert own == Path("knowledge_base/everyday") != brought
    assert own_folder(brought) == brought, "who gives a path means that very folder"
    base = open_base("everyday")
    saved = save_base(replace(base, lines=base.lines[1:]), own)
    assert open_base("everyday").content_id == saved.content_id != base.content_id
    assert open_base(brought).content_id == base.content_id
    assert own_folder("everyday") == own


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "x;y"])
def test_a_name_that_cannot_be_a_folder_is_refused(name):
    with pytest.raises(InvalidInputError, match="cannot name a knowledge base"):
        target_folder(name)


def test_everyday_has_its_classes_views_and_attributes(everyday):
    assert len(everyday.classes) == 300
    assert len(everyday.lines) == 4800
    assert everyday.views == ("looks", "shape", "sound", "signal", "context")
    assert all(len(lines) == 16 for lines in everyday.lines_by_class.values())
    assert len(everyday.attributes) == 481
    assert everyday.groups["frog"] == "animals"
    assert everyday.sources[everyday.lines[0].source].generator.startswith("large language model")


def test_an_import_keeps_every_line_and_its_order(tmp_path):
    rows = [
        {"class_name": "b", "view": "looks", "text": "one \u202e\u0000"},
        {"class_name": "a", "text": "two"},
        {"class_name": "b", "view": "looks", "text": "one \u202e\u0000", "group": "g"},
        {"class_name": "a", "text": ""},
    ]
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = save_base(import_base("x", file, source_id="s", source=SOURCE), tmp_path / "x")
    stored = [
        json.loads(r) for r in (tmp_path / "x" / "descriptions.jsonl").read_text().splitlines()
    ]
    assert [row["text"] for row in stored] == [row["text"] for row in rows]
    assert base.classes == ("b", "a")
    assert base.groups == {"b": "g"}
    assert [line.view for line in base.lines] == ["looks", "general", "looks", "general"]


def test_csv_text_and_folders_are_imported(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "frog.txt").write_text("Green.\n\nWet and cold.\n")
    (tmp_path / "all" / "lines.csv").write_text('label,caption,view\ntram,"Rails, wires.",looks\n')
    rows = list(read_descriptions(tmp_path / "all", view="sound"))
    assert [(r["class_name"], r["view"], r["text"]) for r in rows] == [
        ("frog", "sound", "Green."),
        ("frog", "sound", "Wet and cold."),
        ("tram", "looks", "Rails, wires."),
    ]


@pytest.mark.parametrize(
    ("name", "content", "telling"),
    [
        ("a.jsonl", '{"class_name": "x", "text": "y"}\n{"class', "line 2: not valid JSON"),
        ("a.jsonl", '{"text": "y"}\n', "'class_name' is None"),
        ("a.jsonl", "", "has no line"),
        ("a.csv", "class_name\nx\n", "'text' is None"),
        ("a.md", "x", "ends in '.md'"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(tmp_path, name, content, telling):
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInputError, match=re.escape(telling)):
        import_base("x", tmp_path / name, source_id="s", source=SOURCE)


def test_a_missing_or_undecodable_file_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="there is no file"):
        import_base("x", tmp_path / "no.jsonl", source_id="s", source=SOURCE)
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        import_base("x", tmp_path / "bad.txt", source_id="s", source=SOURCE)


def test_classes_that_the_list_lacks_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"class_name": "x", "text": "y"}\n')
    (tmp_path / "classes.csv").write_text("group,class_name\n,z\n")
    with pytest.raises(InvalidInputError, match="'x' first"):
        import_base(
            "x",
            tmp_path / "a.jsonl",
            source_id="s",
            source=SOURCE,
            classes=tmp_path / "classes.csv",
        )
