"""Items that were stored from files of this machine are shown, and no other file ever is."""

from pathlib import Path

import pytest
from conftest import png
from serving import serving

import unibind


@pytest.fixture(scope="module")
def told(mini_weights, tmp_path_factory):
    """A server over a store of four items: within its folder, outside, linked outside, gone."""
    folder = tmp_path_factory.mktemp("shown")
    outside = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    outside.write_bytes(png(2))
    pictures = folder / "pictures"
    pictures.mkdir()
    (pictures / "in.png").write_bytes(png(1))
    (pictures / "link.png").symlink_to(outside)
    (pictures / "gone.png").write_bytes(png(3))
    paths = [pictures / "in.png", outside, pictures / "link.png", pictures / "gone.png"]
    with unibind.open(folder / "indexes" / "mini") as engine:
        engine.save()
        engine.add("image", paths, keys=["in", "outside", "link", "gone"])
    (pictures / "gone.png").unlink()
    with serving(folder) as running:
        yield running, paths


def test_a_file_within_the_servers_folder_is_shown(told):
    running, paths = told
    with running.client() as client:
        assert client.get("/v1/items/in/preview").content.startswith(b"\x89PNG")
        assert client.get("/v1/items/in/content").content == Path(paths[0]).read_bytes()


@pytest.mark.parametrize("key", ["outside", "link", "gone"])
def test_no_other_file_is_opened_whatever_the_store_says(told, key):
    running, _ = told
    with running.client() as client:
        for what in ("preview", "content", "inspect"):
            refused = client.get(f"/v1/items/{key}/{what}")
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_content")
        assert client.get(f"/v1/items/{key}").json()["key"] == key  # the item itself is there


def test_an_upload_cannot_name_a_file(told):
    running, paths = told
    with running.client() as client:
        item = {"type": "text", "text": "words", "metadata": {"source": Path(paths[0]).as_uri()}}
        assert client.put("/v1/items/sly", json=item).status_code == 200
        assert client.get("/v1/items/sly/content").content == b"words"
