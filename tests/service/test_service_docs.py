"""What docs/service.md tells people to type, typed; and that the files of deploy/ are sound."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from unibind.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = PAGE) -> list[str]:
    return [
        part.removeprefix(language).strip()
        for part in page.split("```")[1::2]
        if part.startswith(f"{language}\n")
    ]


CURL = [
    line
    for page in (PAGE, README)
    for block in blocks("sh", page)
    for line in block.splitlines()
    if line.startswith("curl")
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_line_works(served, picture, tmp_path):
    assert len(CURL) >= 8
    assert any(line in README for line in CURL)
    (tmp_path / "my.jpg").write_bytes(picture)
    for line in CURL:
        command = line.replace("http://127.0.0.1:8000", served.url).replace("curl -s", "curl -sS")
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, line
        assert "error" not in json.loads(done.stdout), f"{line}\n{done.stdout}"
    with served.client() as client:
        client.delete("/v1/items/mine")


@pytest.mark.parametrize("code", blocks("python"), ids=["openai", "client"])
def test_every_python_block_works(served, code):
    names: dict = {}
    exec(compile(code.replace("http://127.0.0.1:8000", served.url), "service.md", "exec"), names)
    if "hits" in names:
        assert names["hits"][0][0].key == "kettle"
    names["client"].close()
    with served.client() as client:
        client.delete("/v1/items/kettle")


def test_every_setting_is_documented():
    for name in ServiceSettings.model_fields:
        assert f"{name.upper()}`" in PAGE, name


def test_every_picture_of_the_console_is_there_small_and_shown():
    shown = set(re.findall(r"pictures/console/([\w-]+\.webp)", CONSOLE))
    there = {path.name: path for path in (ROOT / "docs/pictures/console").iterdir()}
    assert shown == set(there)
    for name, path in there.items():
        assert path.stat().st_size < 150_000, name
