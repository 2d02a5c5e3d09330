import io
from importlib.metadata import EntryPoint

import pytest
from PIL import Image

from unibind import plugins
from unibind.errors import InvalidInputError, PluginError
from unibind.modalities import registry
from unibind.modalities.image import IMAGE
from unibind.modalities.registry import installed, modality_of, open_modality
from unibind.modalities.text import TEXT


@pytest.fixture
def declared(monkeypatch):
    """Declares further entry points for the length of a test."""
    extra = []
    real = plugins.entry_points
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [*real(group=group), *extra], raising=True
    )
    _forget()
    yield lambda name, value: extra.append(EntryPoint(name, value, "unibind.modalities"))
    _forget()


def _forget():
    registry.installed.cache_clear()
    plugins.load.cache_clear()


def a_png():
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    return buffer.getvalue()


def test_our_modalities_are_installed():
    assert installed()["image"] is IMAGE
    assert installed()["text"] is TEXT
    assert open_modality("image") is IMAGE


def test_the_ending_of_a_name_tells_whatever_is_in_the_file(tmp_path):
    assert modality_of(tmp_path / "not_there.JPG") is IMAGE
    assert modality_of(tmp_path / "not_there.txt") is TEXT


def test_the_content_tells_where_the_name_does_not(tmp_path):
    (tmp_path / "picture").write_bytes(a_png())
    (tmp_path / "words.unknown").write_text("a cat")
    assert modality_of(tmp_path / "picture") is IMAGE
    assert modality_of(tmp_path / "words.unknown") is TEXT
    assert modality_of(a_png()) is IMAGE
    assert modality_of(b"a cat") is TEXT


def test_what_nobody_reads_is_refused_with_what_is_installed(tmp_path):
    (tmp_path / "odd").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InvalidInputError, match=r"no installed modality reads .*odd.*image.*text"):
        modality_of(tmp_path / "odd")


def test_a_missing_file_without_a_telling_name_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"cannot read .*nothing"):
        modality_of(tmp_path / "nothing")


def test_two_readers_of_one_ending_ask_for_the_modality(declared, tmp_path):
    declared("diary", f"{__name__}:DIARY")
    (tmp_path / "a.txt").write_text("dear diary")
    with pytest.raises(InvalidInputError, match=r"may be diary, text; say which \(--modality\)"):
        modality_of(tmp_path / "a.txt")


def test_an_animation_is_a_video_and_a_still_of_the_same_ending_a_picture(tmp_path):
    frames = [Image.new("RGB", (4, 4), (90 * n, 0, 0)) for n in range(3)]
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
    assert modality_of(tmp_path / "still.gif") is IMAGE
    assert modality_of(tmp_path / "moving.gif").name == "video"
    assert modality_of((tmp_path / "moving.gif").read_bytes()).name == "video"


def test_a_space_without_video_takes_an_animation_for_a_picture(tmp_path):
    (tmp_path / "moving.gif").write_bytes(b"is not even read")
    assert modality_of(tmp_path / "moving.gif", preferred=["text", "image"]) is IMAGE


def test_a_modality_that_does_not_load_costs_only_itself(declared, caplog):
    declared("smell", "no_such_package:SMELL")
    assert set(installed()) >= {"image", "text"}
    assert "smell" not in installed()
    assert "does not import" in caplog.text


def test_an_entry_point_that_gives_something_else_is_refused(declared):
    declared("number", f"{__name__}:NOT_A_MODALITY")
    with pytest.raises(PluginError, match=r"'number' .*must give a unibind.types.Modality"):
        open_modality("number")


NOT_A_MODALITY = 7
DIARY = type(TEXT)("diary", "str", TEXT.read, TEXT.accept, (".txt",))
