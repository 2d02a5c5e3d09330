import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unibind import artifact
from unibind.errors import ArtifactError
from unibind.types import SpaceId


def write(path: Path, content: str = "one", **about) -> None:
    about = {"kind": "thing", "format_version": 1} | about
    with artifact.writing(path, **about) as folder:
        (folder / "a.txt").write_text(content)
        (folder / "deep").mkdir()
        (folder / "deep" / "b.txt").write_text(content * 2)


def read(path: Path) -> str:
    artifact.verify(path, kind="thing", format_version=1)
    content = (path / "a.txt").read_text()
    assert (path / "deep" / "b.txt").read_text() == content * 2
    return content


def rewrite_manifest(path: Path, **changes) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


def beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if each != path)


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    write(tmp_path / "thing")
    return tmp_path / "thing"


def refusal(path: Path, **about) -> str:
    about = {"kind": "thing", "format_version": 1} | about
    with pytest.raises(ArtifactError) as caught:
        artifact.verify(path, **about)
    return str(caught.value)


# What is written is what is read.


def test_the_manifest_says_what_was_made_of_what(tmp_path):
    path = tmp_path / "made" / "on" / "the" / "way"
    write(
        path,
        space=SpaceId("s"),
        parents={"base": "cafe"},
        params={"k": [1, 2.5, None, "ü", True]},
        metrics={"accuracy": 0.5},
    )
    manifest = artifact.verify(path, kind="thing", format_version=1)
    assert (manifest.kind, manifest.format_version, manifest.space) == ("thing", 1, "s")
    assert manifest.parents == {"base": "cafe"}
    assert manifest.params == {"k": [1, 2.5, None, "ü", True]}
    assert manifest.metrics == {"accuracy": 0.5}
    assert {name: entry.n_bytes for name, entry in manifest.files.items()} == {
        "a.txt": 3,
        "deep/b.txt": 6,
    }
    assert beside(path) == []


def test_the_content_id_depends_on_content_only(tmp_path):
    def id_of(name: str, **about) -> str:
        about = {"kind": "thing", "format_version": 1} | about
        write(tmp_path / name, **about)
        kind = about["kind"]
        return artifact.verify(tmp_path / name, kind=kind, format_version=1).content_id

    plain = id_of("plain")
    assert id_of("other-place") == plain
    assert id_of("measured", metrics={"seconds": 3}) == plain
    others = {
        id_of("kind", kind="another"),
        id_of("space", space=SpaceId("s")),
        id_of("parents", parents={"a": "b"}),
        id_of("params", params={"a": "b"}),
        id_of("content", content="two"),
        plain,
    }
    assert len(others) == 6


@settings(max_examples=25, deadline=None)
@given(
    params=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_any_json_comes_back_as_it_was(params, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "thing"
    write(path, params=params)
    assert artifact.verify(path, kind="thing", format_version=1).params == params


def test_a_new_one_takes_the_place_of_the_old_one_and_of_all_its_files(thing):
    with artifact.writing(thing, kind="thing", format_version=1) as folder:
        (folder / "c.txt").write_text("new")
    assert sorted(each.name for each in thing.iterdir()) == ["c.txt", "manifest.json"]
    assert beside(thing) == []


def test_a_link_is_followed_and_stays_a_link(thing, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(thing)
    write(link, "two")
    assert link.is_symlink()
    assert read(thing) == read(link) == "two"


def test_the_working_directory_can_be_an_artefact(thing, monkeypatch):
    monkeypatch.chdir(thing)
    assert artifact.exists(Path())
    assert read(Path()) == "one"


@pytest.mark.parametrize("name", ["[a]", "*", "a b", "ü", "manifest.json"])
def test_a_name_means_nothing_but_itself(tmp_path, name):
    write(tmp_path / name)
    write(tmp_path / name, "two")
    assert read(tmp_path / name) == "two"
    assert [each.name for each in tmp_path.iterdir()] == [name]


# What was not written whole is refused.


@pytest.mark.parametrize("name", ["a.txt", "deep/b.txt"])
def test_one_flipped_bit_in_a_file_is_found(thing, name):
    content = bytearray((thing / name).read_bytes())
    content[1] ^= 1
    (thing / name).write_bytes(content)
    said = refusal(thing)
    assert name in said
    assert "hash differs" in said
    assert "make it again" in said


def test_a_flipped_bit_in_the_manifest_never_changes_what_is_read(tmp_path):
    path = tmp_path / "thing"
    write(path, space=SpaceId("s"), params={"k": 5})
    whole = (path / "manifest.json").read_bytes()
    before = json.loads(whole)
    generator = random.Random(0)
    for _ in range(100):
        place = generator.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << generator.randrange(8)
        (path / "manifest.json").write_bytes(flipped)
        try:
            manifest = artifact.verify(path, kind="thing", format_version=1)
        except ArtifactError:
            continue
        assert (manifest.space, manifest.params) == (before["space"], before["params"])
        assert {name: entry.sha256 for name, entry in manifest.files.items()} == {
            name: entry["sha256"] for name, entry in before["files"].items()
        }


def test_a_file_that_is_missing_is_found(thing):
    (thing / "a.txt").unlink()
    assert "lacks its file 'a.txt'" in refusal(thing)


def test_a_folder_where_a_file_was_is_found(thing):
    (thing / "a.txt").unlink()
    (thing / "a.txt").mkdir()
    assert "lacks its file 'a.txt'" in refusal(thing)


@pytest.mark.parametrize(
    "changes",
    [
        {"params": {"k": 5}},
        {"parents": {"base": "x"}},
        {"space": "another"},
        {"content_id": "0"},
        {"files": {}},
    ],
)
def test_an_edited_manifest_is_found(thing, changes):
    rewrite_manifest(thing, **changes)
    assert "was edited" in refusal(thing)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[1]",
        '"thing"',
        "null",
        "5",
        "{}",
        '{"kind": "thing"}',
        '{"kind": "thing", "format_version": 1}',
        '{"kind": "thing", "format_version": 1, "files": []}',
        '{"kind": "thing", "format_version": 1, "files": {"a.txt": 1}}',
        '{"kind": "thing", "format_version": 1, "files": {"a.txt": {}}}',
        '{"kind": "thing", "format_version": 1, "files": {}, "content_id": "", "params": 5}',
        '{"kind": "thing", "format_version": 1, "files": {}, "content_id": "", "odd": 5}',
        '{"kind": "thing", "format_version": 1, "files": {}, "content_id": "", "space": "\\ud800"}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_a_manifest_that_is_none_is_called_so(thing, text):
    (thing / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    said = refusal(thing)
    assert "is not a readable manifest" in said
    assert "make it again" in said


def test_a_manifest_that_is_a_folder_is_called_unreadable(thing):
    (thing / "manifest.json").unlink()
    (thing / "manifest.json").mkdir()
    assert "is not a readable manifest" in refusal(thing)
    assert not artifact.exists(thing)


def test_another_kind_is_refused_by_name(thing):
    said = refusal(thing, kind="head")
    assert "holds a 'thing'" in said
    assert "a 'head' was needed" in said


def test_a_later_version_is_named_even_if_its_manifest_has_other_fields(thing):
    rewrite_manifest(thing, format_version=2, colour="red", files="elsewhere")
    said = refusal(thing)
    assert "format version 2, this unibind reads 1" in said
    assert "install what made it (unibind " in said


def test_a_missing_one_is_called_missing(tmp_path):
    assert "no thing at" in refusal(tmp_path / "nowhere")
    assert "make it first" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ("a\0b", "correct the path"),
        ("n" * 300, "File name too long"),
        ("file/inside", "Not a directory"),
        ("file", "Not a directory"),
        ("nowhere/at/all", "make it first"),
    ],
)
def test_odd_paths_hold_nothing(tmp_path, odd, expected):
    (tmp_path / "file").write_text("a plain file")
    assert not artifact.exists(tmp_path / odd)
    assert expected in refusal(tmp_path / odd)


# What cannot be written leaves what was there.


@pytest.mark.parametrize("odd", ["a\0b", "n" * 300, "file/inside", "file"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, odd):
    (tmp_path / "file").write_text("a plain file")
    with pytest.raises(ArtifactError, match=r"cannot write .*choose a place"):
        write(tmp_path / odd)
    if odd != "file":
        with pytest.raises(ArtifactError, match=r"cannot write .*choose a place"):
            artifact.write_file(tmp_path / odd, b"content")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "a plain file"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    if os.geteuid() == 0:  # no permission stops root
        closed = Path("/proc")
    else:
        closed.chmod(0o500)
    with pytest.raises(ArtifactError, match="cannot write"):
        write(closed / "thing")
    with pytest.raises(ArtifactError, match="cannot write"):
        artifact.write_file(closed / "file", b"content")
    assert not artifact.exists(closed / "thing")


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(ArtifactError, match="holds other files, which would be lost"):
        write(tmp_path / "photos")
    assert (tmp_path / "photos" / "1.jpg").read_bytes() == b"irreplaceable"


def test_an_empty_folder_is_filled(tmp_path):
    write(tmp_path)
    assert read(tmp_path) == "one"


def fail_within(path: Path, failure: BaseException) -> None:
    with artifact.writing(path, kind="thing", format_version=1) as folder:
        (folder / "a.txt").write_text("half")
        raise failure


@pytest.mark.parametrize("failure", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_a_block_that_fails_leaves_the_old_one(thing, failure):
    with pytest.raises(type(failure)):
        fail_within(thing, failure)
    assert read(thing) == "one"
    assert beside(thing) == []


def test_a_block_that_fails_leaves_nothing_where_nothing_was(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fail_within(tmp_path / "new", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_grows_too_large_is_reported_and_the_old_one_stays(thing):
    # The limit is one of a whole process, so a child takes it.
    code = """
import resource, sys
from pathlib import Path
from unibind import artifact
from unibind.errors import ArtifactError
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    artifact.write_file(path.with_name("file"), bytes(2000))
except ArtifactError as error:
    print(error)
try:
    with artifact.writing(path, kind="thing", format_version=1) as folder:
        (folder / "a.txt").write_bytes(bytes(2000))
except ArtifactError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, thing], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("File too large") == 2
    assert read(thing) == "one"
    assert beside(thing) == []


def test_a_full_disk_is_called_full_and_the_old_one_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if os.name == "nt" or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        write(disk / "thing")
        with pytest.raises(ArtifactError, match=r"no space left on the disk of .*thing"):
            write(disk / "thing", "x" * 50_000)
        with pytest.raises(ArtifactError, match="no space left"):
            artifact.write_file(disk / "file", bytes(100_000))
        assert read(disk / "thing") == "one"
        assert beside(disk / "thing") == []
        write(disk / "thing", "two")
        assert read(disk / "thing") == "two"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file"
    artifact.write_file(path, b"one")
    artifact.write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert beside(path) == []


# Processes that die, and processes that meet.

_WRITER = """
import signal, sys
from pathlib import Path
from unibind import artifact
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for number in range(first, last):
    with artifact.writing(path, kind="thing", format_version=1) as folder:
        (folder / "a.txt").write_text(f"{number} ")
        (folder / "deep").mkdir()
        (folder / "deep" / "b.txt").write_text(f"{number} " * 2)
    print(number, flush=True)
assert "torch" not in sys.modules
"""


def start_writer(path: Path, first: int, last: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, path, str(first), str(last)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_writer_killed_at_any_moment_leaves_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "thing"
    generator = random.Random(1)
    number = 0
    write(path, "0 ")
    for attempt in range(20):
        with start_writer(path, number + 1, 10**6) as writer:
            done = [writer.stdout.readline()]
            time.sleep(generator.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL if attempt % 4 else signal.SIGINT)
            done += writer.stdout.readlines()
        acknowledged = [int(line) for line in done if line.endswith("\n")]
        assert acknowledged
        number = int(read(path))
        assert number in (acknowledged[-1], acknowledged[-1] + 1)
    write(path, "last")
    assert beside(path) == []  # what the dead left is swept away


def test_a_writer_that_died_between_the_two_renames_lost_nothing(thing, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    thing.rename(tmp_path / f".thing.replaced-{dead.pid}-00000000")
    assert artifact.exists(thing)
    assert read(thing) == "one"
    assert beside(thing) == []


def test_the_latest_of_several_that_stepped_aside_comes_back(tmp_path):
    for content in ("one", "two", "three"):
        write(tmp_path / content, content)
        (tmp_path / content).rename(tmp_path / f".thing.replaced-1-{content}")
        time.sleep(0.01)
    assert read(tmp_path / "thing") == "three"


def test_writers_and_readers_at_once_see_only_whole_ones(tmp_path):
    path = tmp_path / "thing"
    write(path, "0 ")
    writers = [start_writer(path, 100 * n, 100 * n + 25) for n in range(3)]
    n_read = 0
    while any(writer.poll() is None for writer in writers):
        assert artifact.exists(path)
        artifact.verify(path, kind="thing", format_version=1)
        n_read += 1
    for writer in writers:
        done = writer.communicate()[0].split()
        assert writer.returncode == 0
        assert len(done) == 25
    assert n_read > 10
    assert int(read(path)) % 100 == 24
    assert beside(path) == []
