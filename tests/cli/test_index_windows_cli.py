"""``unibind index add --windows``: a long video's moments as items of their own."""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unibind.cli import main
from unibind.engine import RECIPES, Engine


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a space that reads videos, and an animation: red for a second, then blue."""
    folder = tmp_path_factory.mktemp("windows")
    engine = Engine.from_recipe(RECIPES["mini"], folder / "indexes" / "films")
    engine.with_encoder("video", "video-frames").save()
    frames = [Image.new("RGB", (16, 16), (90 * n, 0, 255 * (n > 1))) for n in range(4)]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:], duration=500)
    frames[0].save(folder / "still.png")
    return folder


def run(place: Path, *arguments: str) -> tuple[int, str, str]:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(place),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(sys, "argv", ["unibind", "index", *arguments])
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
    return code, out.getvalue(), err.getvalue()


def test_windows_of_a_video_are_items_that_say_where_they_begin_and_end(place):
    code, out, err = run(
        place, "add", "film.gif", "--space", "films", "--windows", "1", "--stride", "0.5", "--json"
    )
    assert code == 0, err
    _, out, _ = run(place, "scan", "--space", "films", "--json")
    stored = {row["key"]: row["metadata"] for row in json.loads(out)}
    assert {key: (value["start_s"], value["end_s"]) for key, value in stored.items()} == {
        "film.gif#t=0.0-1.0": (0.0, 1.0),
        "film.gif#t=0.5-1.5": (0.5, 1.5),
        "film.gif#t=1.0-2.0": (1.0, 2.0),
    }
    assert all(value["path"] == "film.gif" for value in stored.values())


def test_what_has_no_time_has_no_windows(place):
    code, _, err = run(place, "add", "still.png", "--space", "films", "--windows", "1")
    assert code == 1
    assert "image has no windows of time; leave out --windows" in err


def test_a_window_without_length_is_refused(place):
    code, _, err = run(place, "add", "film.gif", "--space", "films", "--windows", "0")
    assert code == 1
    assert "window_s is 0.0; at least 0.1 s is needed" in err


def test_the_windows_of_array_items_are_embedded_like_clips(place):
    engine = Engine.from_recipe(RECIPES["mini"], place / "elsewhere").with_encoder(
        "video", "video-frames"
    )
    windows = list(
        engine.encoder("video").modality.cut((place / "film.gif").read_bytes(), window_s=1.0)
    )
    embedded = engine.embed("video", [window.item for window in windows])
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, rtol=1e-5)
