"""The console in a real browser, on a real server: every flow, no console error, no axe fault."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from unibind.datasets import Dataset
from unibind.knowledge.base import KnowledgeBase, open_base, save_base
from unibind.sources import Package, download, extract

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Package("npm", "axe-core", "4.14.1")
ANIMALS = ("frog", "cat", "dog", "owl", "bee")
SERIOUS = {"serious", "critical"}
PATIENCE_MS = 60_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working folder with a knowledge base that may be changed, and space mini."""
    here = tmp_path_factory.mktemp("console")
    whole = open_base("everyday")
    kept = tuple(line for line in whole.lines if line.class_name in ANIMALS)
    small = KnowledgeBase("animals", ANIMALS, kept, sources=whole.sources)
    save_base(small, here / "knowledge_base" / "animals")
    return here


@pytest.fixture(scope="module")
def address(folder, stamps: Dataset) -> Iterator[str]:
    """The address of a server that has a few pictures with their content."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "unibind", "serve", "--port", str(port)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        _wait(base, server)
        for item in pictures(stamps):
            answer = httpx.put(
                f"{base}/v1/items/{item.path.name}",
                data={"type": "image", "metadata": f'{{"caption": "{item.caption}"}}'},
                files={"file": item.path.read_bytes()},
                timeout=120,
            )
            assert answer.status_code == 200, answer.text
        yield base
    finally:
        server.terminate()
        server.wait(120)


def pictures(stamps: Dataset) -> list:
    return [item for item in stamps.items if item.caption and '"' not in item.caption][::60]


def _wait(base: str, server: subprocess.Popen) -> None:
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            if httpx.get(f"{base}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError("the server never was ready")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    """A page on which no error may be logged."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    opened.goto(address)
    yield opened
    opened.close()
    assert set(errors) == getattr(opened, "expected_errors", set())


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The script of axe-core, which finds what a screen reader or a keyboard cannot use."""
    place = tmp_path_factory.mktemp("axe")
    archive = download(AXE, place)
    (script,) = extract(
        archive, place, select=lambda name: "axe.js" if name.endswith("/axe.min.js") else None
    )
    return script.read_text(encoding="utf-8")


def test_a_dropped_picture_gets_classes_reasons_and_neighbours_one_can_look_at(page, stamps):
    item = pictures(stamps)[0]
    page.locator("#formats").filter(has_text="png").wait_for()
    page.set_input_files("#file", item.path)
    expect(page.locator(".class")).to_have_count(len(ANIMALS))
    expect(page.locator(".class .reasons li").first).not_to_be_empty()
    first = page.locator(".hit").first
    expect(first).to_contain_text(item.caption)  # it is stored, and nearest to itself
    expect(first.locator("img")).to_have_js_property("complete", True)
    assert first.locator("img").evaluate("image => image.naturalWidth") > 0
    assert page.locator(".panel img").first.evaluate("image => image.naturalWidth") > 0


def test_words_find_pictures(page, address):
    page.fill("#words", "something to eat")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".hit")).to_have_count(6)
    expect(page.locator("#try-status")).to_have_text("")


def test_classes_of_ones_own_are_taken(page):
    page.fill("#words", "it purrs and hunts mice")
    page.locator("#more summary").click()
    page.fill("#classes", "a cat, a tractor")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".class")).to_have_count(2)
    expect(page.locator(".class").first).to_contain_text("a cat")


def test_a_kept_file_is_found_from_then_on(page, tmp_path):
    from PIL import Image

    red = tmp_path / "all-red.png"
    Image.new("RGB", (64, 64), (220, 0, 0)).save(red)
    page.locator("#formats").filter(has_text="png").wait_for()
    page.set_input_files("#file", red)
    page.get_by_role("button", name="Keep it in the index").click()
    expect(page.get_by_text("kept; it will be found")).to_be_visible()
    page.set_input_files("#file", red)
    expect(page.locator(".hit").first).to_contain_text("all-red.png")


def test_a_file_that_is_none_is_refused_in_words_and_the_page_goes_on(page, tmp_path):
    page.expected_errors = {
        "Failed to load resource: the server responded with a status of 400 (Bad Request)"
    }
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    page.locator("#formats").filter(has_text="png").wait_for()
    page.set_input_files("#file", broken)
    expect(page.locator("#try-status.error")).to_contain_text("not a picture")
    page.fill("#words", "a boat")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".hit").first).to_be_visible()


def test_the_map_shows_every_stored_item_and_opens_one_by_key(page, stamps):
    page.get_by_role("link", name="Map").click()
    expect(page.locator("#map-legend")).to_contain_text("image (")
    page.locator("#map-canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#map-item .hit")).to_be_visible()


def test_a_line_is_edited_and_says_what_it_moves_before_it_is_saved(page, folder):
    page.get_by_role("link", name="Knowledge").click()
    page.locator("#base").select_option("animals")
    page.locator("#class").select_option("frog")
    expect(page.locator("#knowledge-status")).to_contain_text("16 lines of animals")
    expect(page.locator("#lines tbody tr")).to_have_count(16)
    page.fill("#reviewer", "Ada")
    row = page.locator("#lines tbody tr").first
    row.get_by_role("button", name="Edit").click()
    row.get_by_role("textbox").fill("A frog sits by the pond and waits for a fly to come near.")
    row.get_by_role("button", name="What changes?").click()
    expect(row.locator("ins")).to_contain_text("waits for a fly")
    expect(row).to_contain_text("frog 0.")
    lines = folder / "knowledge_base" / "animals" / "descriptions.jsonl"
    assert "waits for a fly" not in lines.read_text()
    row.get_by_role("button", name="Save").click()
    expect(page.locator("#lines tbody tr").first).to_contain_text("edited by Ada")
    assert "waits for a fly" in lines.read_text()


def test_a_change_without_a_name_is_asked_for_it(page):
    page.get_by_role("link", name="Knowledge").click()
    page.locator("#lines tbody tr").first.get_by_role("button", name="Accept").click()
    expect(page.locator("#knowledge-status.error")).to_contain_text("Type your name first")
    expect(page.locator("#reviewer")).to_be_focused()


def test_lint_findings_are_listed_with_their_remedy(page):
    page.get_by_role("link", name="Knowledge").click()
    page.locator("#base").select_option("animals")
    expect(page.locator("#knowledge-status")).to_contain_text("lines of animals")
    page.get_by_role("button", name="Lint findings").click()
    expect(page.locator("#knowledge-status")).to_contain_text("findings in animals")


def test_an_alignment_run_is_started_watched_and_told(page, tmp_path, stamps):
    from zipfile import ZipFile

    archive = tmp_path / "labelled.zip"
    chosen = [item for item in stamps.items if item.label in ("fruit", "birds", "insects")]
    with ZipFile(archive, "w") as packed:
        for item in chosen[:45]:
            packed.write(item.path, f"{item.label}/{item.path.name}")
    page.get_by_role("link", name="Add a modality").click()
    page.get_by_role("button", name="Train").click()
    expect(page.locator("#align-status.error")).to_contain_text("Choose a zip")
    page.locator("#align-modality").select_option("image")
    page.set_input_files("#align-upload", archive)
    page.locator("#align-learn").select_option("class_names")
    page.get_by_role("button", name="Train").click()
    expect(page.locator("#runs .panel").first).to_contain_text("image")
    expect(page.locator("#runs .panel").first).to_contain_text("done: done", timeout=180_000)
    expect(page.locator("#runs table").first).to_contain_text("items45")


def test_dark_is_kept_and_light_comes_back(page):
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("name", ["try", "map", "knowledge", "align"])
def test_nothing_is_wider_than_a_phone(page, name):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{page.url.partition('#')[0]}#{name}")
    expect(page.locator(f"#page-{name}")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault_on_any_page(page, axe, theme, stamps):
    page.evaluate(f"localStorage.setItem('unibind-theme', '{theme}')")
    for name in ("map", "knowledge", "align", "try"):
        page.goto(f"{page.url.partition('#')[0]}#{name}")
        page.reload()
        page.wait_for_load_state("networkidle")
        if name == "try":
            page.set_input_files("#file", pictures(stamps)[1].path)
            expect(page.locator(".class")).to_have_count(len(ANIMALS))
        page.evaluate(axe)  # through the debugger, which the page's own policy does not bind
        faults = page.evaluate("axe.run().then(found => found.violations)")
        serious = {
            each["id"]: each["nodes"][0]["html"] for each in faults if each["impact"] in SERIOUS
        }
        assert serious == {}, (name, theme)
