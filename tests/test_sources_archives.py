"""Archives of each kind: what is right comes out, what is wrong is refused and leaves nothing."""

import bz2
import gzip
import io
import lzma
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unibind.errors import FetchError, InvalidInputError
from unibind.sources import extract

FILES = {
    "package/a.txt": b"first",
    "package/deep/b.bin": bytes(range(256)) * 300,
    "package/empty": b"",
}


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("package")
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("./package")
        folder.type = tarfile.DIRTYPE
        for entry in (folder, *extra):
            archive.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _ar(members: dict[str, bytes]) -> bytes:
    content = b"!<arch>\n"
    for name, body in members.items():
        content += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode()
        content += body + b"\n" * (len(body) % 2)
    return content


def _zstd(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with pyarrow.CompressedOutputStream(buffer, "zstd") as stream:
        stream.write(content)
        stream.flush()
        return buffer.getvalue()


def _deb(suffix: str, compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    # The control part has an odd size, so that the padding of ar is in play.
    head = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd"}
    return lambda tar: _ar(head | {f"data.tar{suffix}": compress(tar)})


TAR_KINDS: dict[str, Callable[[bytes], bytes]] = {
    "tgz": gzip.compress,
    "deb": _deb("", bytes),
    "deb.gz": _deb(".gz", gzip.compress),
    "deb.bz2": _deb(".bz2", bz2.compress),
    "deb.xz": _deb(".xz", lzma.compress),
    "deb.zst": _deb(".zst", _zstd),
}
KINDS = ["zip", *TAR_KINDS]


def _make(kind: str, files: dict[str, bytes]) -> bytes:
    return _zip(files) if kind == "zip" else TAR_KINDS[kind](_tar(files))


def _leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "into"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_back_the_bytes_that_were_chosen(
    kind: str, archive: Path, into: Path
) -> None:
    archive.write_bytes(_make(kind, {f"./{name}": FILES[name] for name in FILES}))
    seen: list[str] = []

    def select(name: str) -> str | None:
        seen.append(name)
        return name.removeprefix("package/") if name != "package/a.txt" else None

    paths = extract(archive, into, select=select)

    assert seen == list(FILES)
    assert paths == [into / "deep/b.bin", into / "empty"]
    assert sorted(_leftovers(into)) == sorted(paths)
    assert (into / "deep/b.bin").read_bytes() == FILES["package/deep/b.bin"]
    assert (into / "empty").read_bytes() == b""


def test_a_file_that_was_there_is_replaced_whole(archive: Path, into: Path) -> None:
    into.mkdir()
    (into / "a.txt").write_text("an older and longer text")
    archive.write_bytes(_make("zip", FILES))

    extract(archive, into, select={"package/a.txt": "a.txt"}.get)

    assert (into / "a.txt").read_bytes() == b"first"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "C:\\evil", "a\\..\\..\\evil"]
)
def test_a_path_that_leads_out_is_refused_even_if_nobody_chose_it(
    kind: str, name: str, archive: Path, into: Path
) -> None:
    archive.write_bytes(_make(kind, {**FILES, name: b"evil"}))

    with pytest.raises(FetchError, match="leads out of it; do not trust it"):
        extract(archive, into, select=lambda name: name if "evil" not in name else None)

    assert _leftovers(into) == []
    assert not (into.parent / "evil").exists()


def test_a_target_that_leads_out_is_refused(archive: Path, into: Path) -> None:
    archive.write_bytes(_make("zip", FILES))
    with pytest.raises(FetchError, match="leads out of it"):
        extract(archive, into, select=lambda name: f"../{name}")
    assert _leftovers(into) == []


def _linked_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
        link = zipfile.ZipInfo("package/link")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def _linked_tar(kind: bytes) -> bytes:
    link = tarfile.TarInfo("package/link")
    link.type = kind
    link.linkname = "/etc/passwd"
    return _tar(FILES, link)


LINKED = {
    "zip symlink": _linked_zip,
    **{
        f"{kind} {word}": lambda compress=compress, type_=type_: compress(_linked_tar(type_))
        for kind, compress in TAR_KINDS.items()
        for word, type_ in {
            "symlink": tarfile.SYMTYPE,
            "hard link": tarfile.LNKTYPE,
            "device": tarfile.CHRTYPE,
            "pipe": tarfile.FIFOTYPE,
        }.items()
    },
}


@pytest.mark.parametrize("kind", LINKED)
def test_a_link_or_device_is_refused_when_chosen_and_left_out_otherwise(
    kind: str, archive: Path, into: Path
) -> None:
    archive.write_bytes(LINKED[kind]())

    with pytest.raises(FetchError, match=r"'package/link' in .* is a link or a device"):
        extract(archive, into, select=lambda name: name)
    assert _leftovers(into) == []

    extract(archive, into, select=lambda name: name if "link" not in name else None)
    assert len(_leftovers(into)) == len(FILES)


@pytest.mark.parametrize("kind", ["zip", "tgz", "deb.gz", "deb.bz2", "deb.xz", "deb.zst"])
def test_a_bomb_is_refused_and_leaves_nothing(kind: str, archive: Path, into: Path) -> None:
    archive.write_bytes(_make(kind, {"small": b"x", "zeros": bytes(80 << 20)}))
    assert archive.stat().st_size < 1 << 20

    with pytest.raises(FetchError, match="which no honest archive of its size does"):
        extract(archive, into, select=lambda name: name)

    assert _leftovers(into) == []


def test_a_bomb_that_nobody_chose_is_refused_where_it_must_be_unpacked(
    archive: Path, into: Path
) -> None:
    archive.write_bytes(_make("deb.xz", {"zeros": bytes(80 << 20), "small": b"x"}))
    with pytest.raises(FetchError, match="no honest archive"):
        extract(archive, into, select={"small": "small"}.get)


def test_the_caller_can_lower_the_limit(archive: Path, into: Path) -> None:
    archive.write_bytes(_make("zip", FILES))
    n_bytes = sum(map(len, FILES.values()))
    assert extract(archive, into, select=lambda name: name, max_bytes=n_bytes)
    with pytest.raises(FetchError, match=f"more than {n_bytes - 1:,} bytes"):
        extract(archive, into, select=lambda name: name, max_bytes=n_bytes - 1)


def test_two_files_for_one_place_are_refused(archive: Path, into: Path) -> None:
    archive.write_bytes(_make("tgz", FILES))
    with pytest.raises(FetchError, match="has two files for 'same'"):
        extract(archive, into, select=lambda _: "same")
    assert _leftovers(into) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_archive_is_refused_and_leaves_nothing(
    kind: str, archive: Path, into: Path
) -> None:
    content = _make(kind, FILES)
    # The last bytes of a tar are padding; losing only them loses nothing.
    for n_bytes in (0, 1, 7, 50, len(content) // 2, len(content) * 3 // 4):
        archive.write_bytes(content[:n_bytes])
        with pytest.raises(FetchError, match="is damaged or not an archive"):
            extract(archive, into, select=lambda name: name)
        assert _leftovers(into) == []


def test_what_is_no_archive_is_said_to_be_none(archive: Path, into: Path) -> None:
    archive.write_text("<html>404 Not Found</html>")
    with pytest.raises(
        FetchError, match=r"starts with b'<html>40'; a zip, .tgz or .deb was needed"
    ):
        extract(archive, into, select=lambda name: name)


def test_an_encrypted_zip_is_refused(archive: Path, into: Path) -> None:
    content = bytearray(_zip({"secret": b"x" * 50}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rindex(signature) + offset] |= 1
    archive.write_bytes(content)
    with pytest.raises(FetchError, match="encrypted"):
        extract(archive, into, select=lambda name: name if name == "secret" else None)


def test_a_deb_without_data_in_a_known_compression_is_refused(archive: Path, into: Path) -> None:
    archive.write_bytes(_ar({"debian-binary": b"2.0\n", "data.tar.br": b"?"}))
    with pytest.raises(FetchError, match=r"has no data\.tar in a known compression"):
        extract(archive, into, select=lambda name: name)


def test_a_missing_archive_and_a_place_that_cannot_be_written_are_named(
    archive: Path, into: Path
) -> None:
    with pytest.raises(FetchError, match=r"cannot unpack .*archive"):
        extract(archive, into, select=lambda name: name)
    archive.write_bytes(_make("zip", FILES))
    into.write_text("a file is in the way")
    with pytest.raises(FetchError, match=r"cannot unpack .* into .*"):
        extract(archive, into, select=lambda name: name)


def test_an_error_of_the_callers_own_passes_through(archive: Path, into: Path) -> None:
    archive.write_bytes(_make("zip", FILES))

    def select(name: str) -> str | None:
        if name == "package/deep/b.bin":
            raise InvalidInputError("a catalogue entry was needed")
        return name

    with pytest.raises(InvalidInputError, match="a catalogue entry was needed"):
        extract(archive, into, select=select)
    assert _leftovers(into) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("kind", ["zip", "deb.xz"])
def test_a_full_disk_is_named_and_nothing_stays(kind: str, archive: Path, into: Path) -> None:
    archive.write_bytes(_make(kind, FILES))
    script = (
        "import resource, sys; from pathlib import Path; from unibind.sources import extract\n"
        "from unibind.errors import FetchError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: extract(Path(sys.argv[1]), Path(sys.argv[2]), select=lambda name: name)\n"
        "except FetchError as error: print(error)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, archive, into], capture_output=True, text=True, check=True
    )
    assert f"no space left on the disk of {into}; free some and run again" in finished.stdout
    assert _leftovers(into) == []


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_flipped_bytes_give_files_or_a_clear_error_and_never_half_a_result(
    kind: str, archive: Path, into: Path, data: st.DataObject
) -> None:
    content = bytearray(_make(kind, {"a": b"alpha", "b": b"beta" * 20}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    archive.write_bytes(content)
    for path in _leftovers(into):
        path.unlink()
    try:
        paths = extract(archive, into, select=lambda name: name)
    except FetchError:
        paths = []
    assert sorted(_leftovers(into)) == sorted(paths)
