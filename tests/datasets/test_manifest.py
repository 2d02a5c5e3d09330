import csv
import json
import string
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unibind.datasets import Dataset, LabelledItem, read_manifest, write_manifest
from unibind.errors import ArtifactError, InvalidInputError

COLUMNS = ("path", "label", "caption", "group", "split")

# NUL cannot be in a path; surrogates are not text. All else may be in a name or a caption,
# line ends and commas and quotes included.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
file_names = st.text(characters.filter(lambda c: c != "/"), min_size=1, max_size=8).filter(
    lambda name: name.strip() and name not in {".", ".."}
)
texts = st.none() | st.text(characters, max_size=12).map(str.strip).filter(bool)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(characters)
extras = st.dictionaries(
    st.text(string.ascii_letters, min_size=1).filter(lambda name: name not in COLUMNS),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=3,
)
rows = st.lists(
    st.fixed_dictionaries({"path": file_names} | dict.fromkeys(COLUMNS[1:], texts)),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row["path"],
)


def seen(dataset: Dataset) -> list[dict[str, str | None]]:
    """Return what a reader found, as rows, so that it can be held against what was written."""
    return [
        {"path": item.key} | {name: getattr(item, name) for name in COLUMNS[1:]}
        for item in dataset.items
    ]


def in_order(written: list[dict[str, str | None]]) -> list[dict[str, str | None]]:
    return sorted(written, key=lambda row: row["path"])


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@given(rows)
def test_what_the_csv_module_writes_is_read_back(written):
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "set.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, quoting=csv.QUOTE_ALL)
            table.writeheader()
            table.writerows(written)
        assert seen(read_manifest(path)) == in_order(written)


@given(rows)
def test_what_pyarrow_writes_is_read_back(written):
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "set.parquet")
        schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(written, schema=schema), path)
        assert seen(read_manifest(path)) == in_order(written)


@given(rows, extras)
def test_items_written_as_a_manifest_are_the_same_items_when_read(written, extra):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        items = tuple(
            LabelledItem(folder / row["path"], key=row["path"], **texts, extra=extra)
            for row in written
            for texts in [{name: row[name] for name in COLUMNS[1:]}]
        )
        write_manifest(folder / "set.jsonl", items)
        assert read_manifest(folder / "set.jsonl").items == Dataset("set", items).items


def test_paths_are_relative_to_the_manifest_and_absolute_ones_stay(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    path = write(tmp_path, "set.csv", f"path\npictures/a.png\n{tmp_path}/b.png\n")
    dataset = read_manifest(path)
    assert [item.path for item in dataset.items] == [
        tmp_path / "b.png",
        tmp_path / "pictures" / "a.png",
    ]
    assert [item.key for item in dataset.missing()] == [f"{tmp_path}/b.png"]
    write_manifest(tmp_path / "other" / "again.jsonl", dataset.items)
    again = read_manifest(tmp_path / "other" / "again.jsonl")
    assert [item.path for item in again.items] == [item.path for item in dataset.items]


def test_unknown_columns_are_kept_as_extra(tmp_path):
    path = write(tmp_path, "set.csv", "path,label,photographer\na.png,cat,Ann\nb.png,,\n")
    first, second = read_manifest(path).items
    assert (first.label, first.extra) == ("cat", {"photographer": "Ann"})
    assert (second.label, second.extra) == (None, {"photographer": ""})


def test_an_extra_that_is_named_like_a_column_does_not_replace_it(tmp_path):
    item = LabelledItem(tmp_path / "a.png", extra={"label": "dog", "path": "b.png"})
    write_manifest(tmp_path / "set.jsonl", [item])
    (read,) = read_manifest(tmp_path / "set.jsonl").items
    assert (read.key, read.label, read.extra) == ("a.png", None, {})


def test_spaces_around_a_label_are_dropped_and_numbers_are_their_text(tmp_path):
    csv_items = read_manifest(write(tmp_path, "a.csv", "path , label\na.png, cat \n")).items
    jsonl = '{"path": "a.png", "label": 7, "caption": NaN}\n\n'
    jsonl_items = read_manifest(write(tmp_path, "a.jsonl", jsonl)).items
    assert csv_items[0].label == "cat"
    assert (jsonl_items[0].label, jsonl_items[0].caption) == ("7", None)


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path):
    path = write(tmp_path, "set.csv", b"\xef\xbb\xbfpath,label\r\na.png,cat\r\n\r\n")
    assert seen(read_manifest(path))[0]["label"] == "cat"


def test_parquet_values_that_json_lacks_become_text_or_nothing(tmp_path):
    columns = {
        "path": ["a.png"],
        "taken": [date(2026, 11, 21)],
        "weight": [float("nan")],
        "boxes": [[{"x": 1}]],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "set.parquet")
    (item,) = read_manifest(tmp_path / "set.parquet").items
    assert item.extra == {"taken": "2026-11-21", "weight": None, "boxes": [{"x": 1}]}
    json.dumps(item.extra, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "content", "telling"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "path,label\n\n", "has no rows"),
        (
            "a.csv",
            "file,label\na.png,cat\n",
            r"line 1: no column 'path', found \['file', 'label'\]",
        ),
        ("a.csv", "path;label\na.png;cat\n", "line 1: no column 'path'.*commas"),
        ("a.csv", "path,label,label\n", "line 1: a column's name is there twice"),
        ("a.csv", "path,label\na.png,a, b\n", "line 2: 3 cells, the header has 2.*quotes"),
        ("a.csv", "path,label\na.png\n", "line 2: 1 cells, the header has 2"),
        ("a.csv", 'path,label\na.png,"cat\n', r"line 2: not CSV \(unexpected end of data\)"),
        ("a.csv", 'path,label\na.png,"cat"s\n', "line 2: not CSV"),
        ("a.csv", "path,label\na.png,cat\nb.png,  \n", "line 3: 'label' is only spaces"),
        ("a.csv", "path,label\n  ,cat\n", "line 2: 'path' must name a file"),
        ("a.csv", "path,label\na\0.png,cat\n", "line 2: 'path' must name a file"),
        ("a.csv", "path\na.png\n./b/../a.png\n", "line 3: path 'a.png' is there twice.*line 2"),
        ("a.csv", b"path,label\na.png,caf\xe9\n", "line 2: not UTF-8 text"),
        ("a.csv", "path,label\na.png,cat\n".encode("utf-16"), "line 1: not UTF-8 text"),
        ("a.jsonl", "", "has no rows"),
        ("a.jsonl", '{"path": "a.png"}\n{"path": ', "line 2: not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("a.jsonl", '["a.png"]', "line 1: an object with a 'path' was needed, got list"),
        ("a.jsonl", '{"file": "a.png"}', r"line 1: no column 'path', found \['file'\]"),
        ("a.jsonl", '{"path": 3}', "line 1: 'path' must name a file, got 3"),
        ("a.jsonl", '{"path": "a", "label": ["cat"]}', r"line 1: 'label' must be text, got \['cat"),
        ("a.jsonl", '{"path": "a", "label": true}', "line 1: 'label' must be text, got True"),
        ("a.jsonl", '{"path": "a", "label": "\\ud800"}', "line 1: 'label' is no Unicode text"),
        ("a.jsonl", '{"path": "a"}\n\n{"path": "a"}', "line 3: path 'a' is there twice.*line 1"),
        ("a.parquet", b"", "not a readable Parquet file"),
        ("a.parquet", b"PAR1 and more", "not a readable Parquet file"),
        ("a.txt", "path\na.png\n", r"no manifest: its name must end in one of \.csv, \.jsonl"),
    ],
)
def test_a_malformed_manifest_is_an_error_with_file_and_line(tmp_path, name, content, telling):
    path = write(tmp_path, name, content)
    with pytest.raises(InvalidInputError, match=telling) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "telling"),
    [
        ({"file": ["a.png"]}, "row 1: no column 'path'"),
        ({"path": ["a.png", "a.png"]}, "row 2: path 'a.png' is there twice"),
        ({"path": ["a.png", None]}, "row 2: 'path' must name a file, got None"),
        ({"path": ["a.png"], "picture": [b"\x89PNG"]}, "row 1: 'picture' holds bytes"),
        ({"path": pyarrow.array([], pyarrow.string())}, "has no rows"),
    ],
)
def test_a_malformed_parquet_table_is_an_error_with_file_and_row(tmp_path, columns, telling):
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match=telling):
        read_manifest(tmp_path / "a.parquet")


def test_a_parquet_file_that_was_cut_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a", "b"]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInputError, match="not a readable Parquet file"):
        read_manifest(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_manifest_that_is_not_there_is_an_error_with_its_path(tmp_path, suffix):
    with pytest.raises(InvalidInputError, match=r"cannot read .*No such file"):
        read_manifest(tmp_path / f"absent{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(InvalidInputError, match="cannot read"):
        read_manifest(tmp_path / f"folder{suffix}")


def test_a_manifest_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    blocked = tmp_path / "set.jsonl"
    blocked.mkdir()
    with pytest.raises(ArtifactError, match="cannot write"):
        write_manifest(blocked, [LabelledItem(Path("a.png"))])
    assert list(tmp_path.rglob("*")) == [blocked]


def test_an_item_has_its_path_as_key_unless_it_is_given_one():
    item = LabelledItem(Path("a/b.png"))
    assert item.key == "a/b.png"
    assert replace(item, key="b").key == "b"
