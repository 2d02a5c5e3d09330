from collections.abc import Callable
from pathlib import Path

import pytest

from unibind import plugins
from unibind.errors import PluginError


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs a package, as pip would, for the time of the test."""

    def install(package: str, entries: dict[str, str], module: str = "", *, group: str) -> None:
        site = tmp_path / package
        about = site / f"{package}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in entries.items()]
        (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
        (site / f"{package}.py").write_text(module)
        monkeypatch.syspath_prepend(site)

    yield install
    plugins.load.cache_clear()


ENCODERS = "unibind.encoders"


def refusal(name: str, group: str = ENCODERS) -> str:
    with pytest.raises(PluginError) as caught:
        plugins.load(group, name)
    return str(caught.value)


def test_what_a_stranger_declares_is_found_and_loaded_once(install):
    module = "made = []\nclass Tower:\n    def make():\n        pass\nmade.append(1)\n"
    install("stranger", {"theirs": "stranger:Tower.make"}, module, group=ENCODERS)
    assert "theirs" in plugins.names(ENCODERS)
    (found,) = [each for each in plugins.plugins(ENCODERS) if each.name == "theirs"]
    assert found == plugins.Plugin(ENCODERS, "theirs", "stranger:Tower.make", "stranger 1.0")
    first = plugins.load(ENCODERS, "theirs")
    assert first.__qualname__ == "Tower.make"
    assert plugins.load(ENCODERS, "theirs") is first


def test_listing_imports_nothing(install):
    install("grenade", {"boom": "grenade:make"}, "raise SystemExit('imported')", group=ENCODERS)
    assert "boom" in plugins.names(ENCODERS)
    assert any(each.name == "boom" for each in plugins.plugins(ENCODERS))


def test_a_module_alone_can_be_an_entry(install):
    install("whole", {"whole": "whole"}, "here = True", group="unibind.connectors")
    assert plugins.load("unibind.connectors", "whole").here


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("unibind.modalities", "modality"),
        ("unibind.encoders", "encoder"),
        ("unibind.writers", "writer"),
        ("unibind.stores", "store"),
        ("unibind.connectors", "connector"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_installed(group, kind):
    assert group in plugins.GROUPS
    said = refusal("nobody", group)
    assert f"no {kind} is called 'nobody'" in said
    assert f"installed: {', '.join(plugins.names(group)) or 'none'}" in said
    assert group in said


def test_an_unknown_group_is_refused_with_those_there_are():
    for ask in (plugins.names, plugins.plugins, lambda group: plugins.load(group, "x")):
        with pytest.raises(PluginError, match=r"no plug-in group is called 'unibind.colours'.*"):
            ask("unibind.colours")


def test_a_name_that_two_packages_declare_is_refused_with_both(install):
    install("first", {"same": "first:make"}, "make = 1", group=ENCODERS)
    install("second", {"same": "second:make"}, "make = 2", group=ENCODERS)
    said = refusal("same")
    assert "first 1.0, second 1.0" in said
    assert "uninstall all but one" in said
    assert plugins.names(ENCODERS).count("same") == 1


def test_one_package_seen_twice_is_no_conflict(install):
    install("once", {"same": "shared:make"}, group=ENCODERS)
    install("shared", {"same": "shared:make"}, "make = 1", group=ENCODERS)
    assert plugins.load(ENCODERS, "same") == 1


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        ("import a_library_that_nobody_has", "a_library_that_nobody_has"),
        ("from json import nothing_like_this", "nothing_like_this"),
        ("def broken(:", "SyntaxError"),
        ("raise OSError('libcuda.so.1: cannot open shared object file')", "libcuda.so.1"),
        ("raise RuntimeError('operator does not exist')", "operator does not exist"),
        ("import math; math.no_longer_there", "no_longer_there"),
        ("undefined", "undefined"),
    ],
)
def test_a_plugin_that_does_not_import_says_why_and_what_to_do(install, module, cause):
    install("broken", {"broken": "broken:make"}, module, group=ENCODERS)
    said = refusal("broken")
    assert "the encoder 'broken' of broken 1.0 does not import" in said
    assert cause in said
    assert "install what is missing" in said


def test_a_broken_plugin_does_not_stand_in_the_way_of_others(install):
    install("broken", {"broken": "broken:make"}, "1 +", group=ENCODERS)
    install("sound", {"sound": "sound:make"}, "make = 1", group=ENCODERS)
    refusal("broken")
    assert plugins.load(ENCODERS, "sound") == 1


def test_a_plugin_that_works_after_a_repair_needs_no_restart(install, tmp_path):
    install("later", {"later": "later:make"}, "raise ImportError('not yet')", group=ENCODERS)
    refusal("later")
    (tmp_path / "later" / "later.py").write_text("make = 'now it is here'")
    assert plugins.load(ENCODERS, "later") == "now it is here"


def test_a_target_that_is_not_there_is_named(install):
    install("astray", {"astray": "astray:make.more"}, "make = 1", group=ENCODERS)
    said = refusal("astray")
    assert "points to 'astray:make.more', which is not there" in said
    assert "correct its entry point" in said
